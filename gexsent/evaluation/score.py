"""From predictions to scores: one row a system and seed, then mean and deviation over seeds."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from gexsent import datasets
from gexsent.datasets import LEVEL, PRESENT
from gexsent.digest import write_atomically
from gexsent.evaluation import metrics
from gexsent.tasks import Task


def dataset_metrics(rows: pd.DataFrame, dataset: str | datasets.DatasetSpec) -> dict[str, float]:
    """All metrics of one data set for rows that hold predictions and labels side by side.

    Rows without a label are left out of that metric alone. A metric without any label, or without predictions, is left
    out whole, and with it the mean that it would be part of.
    """
    spec = datasets.spec(dataset)
    scores: dict[str, float] = {}
    for task in spec.tasks:
        if task in (*PRESENT, *LEVEL):
            continue
        known, names = _known(rows, task), spec.score_names(task)
        if known is None:
            continue
        if task.kind != "regression":
            scores |= _macro_f1(known, task, names)
        elif task == datasets.INTENSITY:
            scores |= metrics.intensity(known["pred_intensity"].to_numpy(), known["intensity"].to_numpy())
        else:
            pred, true = (known[name].to_numpy(np.float64) for name in (f"pred_{task.name}", task.label))
            scores |= dict(
                zip(names, (float(np.abs(pred - true).mean()), metrics.correlation(pred, true)), strict=True)
            )
    return scores | (_categories(rows) if spec.has_categories else {})


def _categories(rows: pd.DataFrame) -> dict[str, float]:
    """SemEval's tasks B (present or absent) and C (levels): the mean over the four categories, then each of them."""
    scores: dict[str, float] = {}
    present = rows.assign(**{task.label: rows[task.label].clip(upper=1) for task in PRESENT if task.label in rows})
    for letter, frame, tasks in (("b", present, PRESENT), ("c", rows, LEVEL)):
        by_category: dict[str, float] = {}
        for task in tasks:
            if (known := _known(frame, task)) is not None:
                name = f"macro_f1_{letter}_{task.label}"
                by_category[name] = _macro_f1(known, task, (name, "accuracy"))[name]
        if len(by_category) == len(tasks):
            scores[f"macro_f1_{letter}"] = float(np.mean(list(by_category.values())))
        scores |= by_category
    return scores


def _macro_f1(known: pd.DataFrame, task: Task, names: tuple[str, str]) -> dict[str, float]:
    """Macro-F1 and accuracy by these names, over rows with a label."""
    predicted, labels = (known[column].to_numpy(np.int64) for column in (f"pred_{task.name}", task.label))
    classes = list(range(task.first, task.first + len(task.classes)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", metrics.MetricWarning)
        score = metrics.macro_f1(predicted, labels, classes)
    for warning in caught:  # one data set has up to nine of these: say which
        warnings.warn(f"{names[0]}: {warning.message}", warning.category, stacklevel=2)
    return dict(zip(names, (score, metrics.accuracy(predicted, labels)), strict=True))


def _known(rows: pd.DataFrame, task: Task) -> pd.DataFrame | None:
    """The rows with a label; None where there is none, or no prediction."""
    if f"pred_{task.name}" not in rows or task.label not in rows or rows[task.label].isna().all():
        return None
    return rows[rows[task.label].notna()]


def seed_scores(predictions: pd.DataFrame, labels: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row a system and seed: system, seed, partitions, rows, and the metrics over the test rows of all partitions.

    What the metrics have to say of undefined values and of classes never predicted comes in one warning a system.

    Raises:
        ValueError: a test row without a prediction, or with two.
    """
    result = []
    said: dict[str, dict[str, None]] = {}  # a dict keeps the order and drops what another seed has said
    for (system, seed), part in predictions.groupby(["system", "seed"], sort=False):
        rows = labels.merge(part, on=["partition", "id"], how="inner", validate="one_to_one")
        if len(rows) != len(labels):
            raise ValueError(f"{system}, seed {seed}: {len(labels) - len(rows)} test rows have no prediction")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", metrics.MetricWarning)
            scores = dataset_metrics(rows, dataset)
        said.setdefault(str(system), {}).update({str(warning.message): None for warning in caught})
        counts = {"partitions": rows["partition"].nunique(), "rows": len(rows)}
        result.append({"system": system, "seed": seed, **counts, **scores})
    for system, messages in said.items():
        if messages:
            warnings.warn(f"{dataset}, {system}: {'; '.join(messages)}", metrics.MetricWarning, stacklevel=2)
    return pd.DataFrame(result)


def summarise(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """{system: {metric: {mean, sd, n}}} over seeds; sd with n - 1; undefined values are None."""
    names = [c for c in scores.columns if c not in ("system", "seed", "partitions", "rows")]

    def cell(values: pd.Series) -> dict[str, float | int | None]:
        mean, sd = values.mean(skipna=False), values.std(ddof=1, skipna=False)
        return {"mean": _number(mean), "sd": _number(sd), "n": len(values)}

    groups = scores.groupby("system", sort=False)
    return {str(system): {name: cell(part[name]) for name in names} for system, part in groups}


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def write_metrics(path: Path, summary: dict) -> None:
    """results/<edition>/metrics/<dataset>.json."""
    write_atomically(path, (json.dumps(summary, indent=2) + "\n").encode())
