"""What a column of labels is: a number, classes, levels, or yes and no. Found out from its cells, or told."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gexsent.errors import DataError
from gexsent.posts.files import missing
from gexsent.tasks import Task

KINDS = {"number": "regression", "classes": "classes", "levels": "ordinal", "yes/no": "binary"}
MOST_CLASSES = 100  # more are no classes but texts, ids or dates
LEAST_ROWS = 3  # of a class: one to learn from, one to choose by, one to test on
YES_NO = ({"no", "yes"}, {"false", "true"}, {"n", "y"}, {"0", "1"})  # in the order of absent and present
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")  # not 0_1, nan or inf, which float() takes


def infer(column: pd.Series, number: int, kind: str | None = None) -> Task:
    """The task that a column of labels is.

    Without `kind`: truth values, and the words or digits of YES_NO, are yes/no; numbers are a number; an ordered category
    of pandas is levels, in its order; all else is classes, in the order of the alphabet.

    Args:
        column: cells as read, by row number; a missing one is no label.
        number: of the label among those of the table; the task is called label0, label1, …
        kind: "number", "classes", "levels" or "yes/no". Levels that are no ordered category are numbers, in their order.

    Raises:
        DataError: nothing is labelled, all labels are the same, a class has too few rows, too many classes, or cells
            that are not of that kind, with their row.
    """
    name = str(column.name)
    if kind is not None and kind not in KINDS:
        raise DataError(f"column {name!r}: unknown kind {kind!r}; choose from {', '.join(KINDS)}")
    known = column[~column.map(missing).astype(bool)]
    if known.empty:
        raise DataError(f"column {name!r}: no row has a label")
    kind = kind or _kind(known)
    if kind == "number":
        values = _numbers(known)
        if np.ptp(values) == 0:
            raise DataError(f"column {name!r}: every label is {written(known.iloc[0])}; there is nothing to learn")
        return Task(f"label{number}", "regression", 1, name)
    classes = _classes(known, kind)
    _check_classes(known, classes, kind)
    outputs = {"classes": len(classes), "levels": len(classes) - 1, "yes/no": 1}[kind]
    return Task(f"label{number}", KINDS[kind], outputs, name, classes)


def codes(column: pd.Series, task: Task) -> np.ndarray:
    """The labels of a column (N,) as numbers, NaN where there is none: classes and levels from 0 upwards.

    Raises:
        DataError: a cell that is no label of the task, with its row.
    """
    there = ~column.map(missing).to_numpy(bool)
    values = np.full(len(column), np.nan)
    known = column[there]
    if task.kind == "regression":
        values[there] = _numbers(known)
        return values
    place = {name: float(index) for index, name in enumerate(task.classes)}
    folded = {name.casefold(): code for name, code in place.items()} if task.kind == "binary" else place
    for position, (row, cell) in zip(np.flatnonzero(there), known.items(), strict=True):
        name = written(cell)
        code = folded.get(name.casefold() if task.kind == "binary" else name)
        if code is None:
            raise DataError(
                f"column {column.name!r}, row {row}: {name!r} is none of the labels {', '.join(task.classes[:10])}"
            )
        values[position] = code
    return values


def in_units_of(task: Task, values: np.ndarray) -> Task:
    """A regression told in deviations from the mean of these labels (N,), NaN left out; any other task as it is."""
    if task.kind != "regression":
        return task
    known = values[~np.isnan(values)]
    return replace(task, centre=float(known.mean()), scale=float(known.std()) or 1.0)


def describe(task: Task, values: np.ndarray) -> str:
    """One line on what was found in a column."""
    known = values[~np.isnan(values)]
    of = f"{len(known):,} of {len(values):,} rows labelled"
    if task.kind == "regression":
        return f"{task.label}: a number from {known.min():g} to {known.max():g}; {of}"
    counts = np.bincount(known.astype(int), minlength=len(task.classes))
    kind = {"classes": f"{len(task.classes)} classes", "ordinal": f"{len(task.classes)} levels", "binary": "yes or no"}
    shown = ", ".join(f"{name} {count:,}" for name, count in zip(task.classes, counts, strict=True))
    return f"{task.label}: {kind[task.kind]} ({shown}); {of}"


def _kind(known: pd.Series) -> str:
    if isinstance(known.dtype, pd.CategoricalDtype):
        return "levels" if known.cat.ordered else "classes"
    words = {written(cell).casefold() for cell in known}
    if pd.api.types.is_bool_dtype(known.dtype) or any(words == pair for pair in YES_NO):
        return "yes/no"
    numeric = [is_number(cell) for cell in known]
    if all(numeric):
        return "number"
    if np.mean(numeric) > 0.5:  # classes that happen to be numbers are none, or nearly all of them
        row = known.index[numeric.index(False)]
        raise DataError(
            f"column {known.name!r}, row {row}: {written(known.loc[row])!r} is no number, and most labels are; mend it, "
            "leave the cell empty, or say that the labels are classes"
        )
    return "classes"


def is_number(cell: Any) -> bool:
    """Whether a cell is a finite number, or a text that writes one as people do."""
    if isinstance(cell, (bool, np.bool_)):
        return False
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell.strip()) is not None
    return isinstance(cell, (int, float, np.integer, np.floating)) and bool(np.isfinite(cell))


def _numbers(known: pd.Series) -> np.ndarray:
    for row, cell in known.items():
        if not is_number(cell):
            raise DataError(f"column {known.name!r}, row {row}: {written(cell)!r} is no number")
    values = np.array([float(cell) for cell in known])
    if not np.isfinite(values).all():
        raise DataError(f"column {known.name!r}: a label is too large to be a number")
    return values


def _classes(known: pd.Series, kind: str) -> tuple[str, ...]:
    if isinstance(known.dtype, pd.CategoricalDtype):
        used = set(known)
        return tuple(written(category) for category in known.cat.categories if category in used)
    words = sorted({written(cell) for cell in known})
    if kind == "levels":
        if not all(map(is_number, words)):
            raise DataError(
                f"column {known.name!r}: levels need an order: give numbers, or an ordered category of pandas; found "
                f"{', '.join(words[:5])}"
            )
        return tuple(sorted(words, key=float))
    if kind == "yes/no":
        for pair in YES_NO:
            if {word.casefold() for word in words} <= pair:
                return tuple(sorted(pair))
        if len(words) == 2:
            return tuple(words)
        raise DataError(f"column {known.name!r}: yes/no needs two different labels, found {', '.join(words[:5])}")
    return tuple(words)


def _check_classes(known: pd.Series, classes: Sequence[str], kind: str) -> None:
    name = known.name
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"column {name!r}: {len(classes):,} different labels in {len(known):,} rows, and {MOST_CLASSES} classes are "
            "the most; is it the column of the labels?"
        )
    names = pd.Series([written(cell).casefold() if kind == "yes/no" else written(cell) for cell in known], known.index)
    counts = names.value_counts().reindex(classes, fill_value=0)
    if (counts > 0).sum() == 1:
        raise DataError(f"column {name!r}: every label is {counts.idxmax()!r}; there is nothing to learn")
    few = counts[counts < LEAST_ROWS]
    if len(few):
        rows = ", ".join(map(str, known.index[(names == few.index[0]).to_numpy()]))
        raise DataError(
            f"column {name!r}: only row {rows} has the label {few.index[0]!r}, and {LEAST_ROWS} rows are the least to learn "
            "from, choose by and test on; merge it with another label or empty those cells"
        )


def written(cell: Any) -> str:
    """A label as text, without spaces around it: 2.0 of a column of whole numbers with gaps is 2."""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()
