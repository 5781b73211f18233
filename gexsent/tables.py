"""The section `tables` of params.yaml: data sets of one's own, a table each."""

import dataclasses
from typing import Any

from gexsent import datasets
from gexsent.datasets import SENTIMENTS, LabelColumn, TableSpec
from gexsent.errors import DataError

KEYS = ("title", "groups", "file", "id", "text", "image", "clip", "group", "split", "labels")
CODES = dict(zip(SENTIMENTS, (-1, 0, 1), strict=True))


def register(section: Any, where: str) -> None:
    """Make every table of the section a data set.

    Raises:
        DataError: naming the key that is unknown, lacking or cannot be used.
    """
    if not isinstance(section, dict):
        raise DataError(f"{where}: expected a mapping of names to tables ({{}} for none), found {section!r}")
    for name in [name for name, known in datasets.SPECS.items() if known.table is not None]:
        del datasets.SPECS[name]  # of another file
    for name, entry in section.items():
        place = f"{where}.{name}"
        if not isinstance(name, str) or not name.isidentifier():
            raise DataError(f"{place}: the name becomes part of file names; use letters, digits and _")
        if not isinstance(entry, dict) or set(entry) != set(KEYS):
            raise DataError(f"{place}: expected the keys {', '.join(KEYS)} (null for a column that there is not)")
        for key in ("title", "groups", "file"):
            if not isinstance(entry[key], str) or not entry[key].strip():
                raise DataError(f"{place}.{key}: expected a text, found {entry[key]!r}")
        for key in ("id", "text", "image", "clip", "group", "split"):
            if entry[key] is not None and not isinstance(entry[key], str):
                raise DataError(f"{place}.{key}: expected the name of a column or null, found {entry[key]!r}")
        if entry["image"] and entry["clip"]:
            raise DataError(f"{place}: image and clip are both named; a table has one kind of visual input")
        if not (entry["text"] or entry["image"] or entry["clip"]):
            raise DataError(f"{place}: name the column of the texts, of the pictures or of the clips")
        labels = _labels(entry["labels"], f"{place}.labels")
        columns = {field.name: entry[field.name] for field in dataclasses.fields(TableSpec) if field.name != "labels"}
        datasets.register(name, entry["title"], entry["groups"], TableSpec(**columns, labels=labels))


def _labels(section: Any, where: str) -> dict[str, LabelColumn]:
    if not isinstance(section, dict) or not section or not set(section) <= {"intensity", "sentiment"}:
        raise DataError(f"{where}: expected intensity, sentiment or both, found {section!r}")
    found = {}
    for name in [name for name, known in datasets.SPECS.items() if known.table is not None]:
        del datasets.SPECS[name]  # of another file
    for name, entry in section.items():
        place = f"{where}.{name}"
        keys = {"column", "low", "high"} if name == "intensity" else {"column", "values"}
        if not isinstance(entry, dict) or set(entry) != keys:
            raise DataError(f"{place}: expected the keys {', '.join(sorted(keys))}, found {entry!r}")
        if not isinstance(entry["column"], str):
            raise DataError(f"{place}.column: expected the name of a column, found {entry['column']!r}")
        found[name] = LabelColumn(**{**entry, **(_values(entry["values"], place) if name == "sentiment" else {})})
        ends = (found[name].low, found[name].high)
        if (
            not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
            or not ends[0] < ends[1]
        ):
            raise DataError(f"{place}: expected numbers low below high, found {ends[0]!r} and {ends[1]!r}")
    return found


def _values(entry: Any, where: str) -> dict[str, dict[str, int]]:
    if not isinstance(entry, dict) or not all(isinstance(cell, str) and name in CODES for cell, name in entry.items()):
        raise DataError(f"{where}.values: expected what a cell says: {', '.join(SENTIMENTS)}, found {entry!r}")
    if len(set(entry.values())) < 2:
        raise DataError(f"{where}.values: expected two different sentiments at least, found {entry!r}")
    return {"values": {cell: CODES[name] for cell, name in entry.items()}}
