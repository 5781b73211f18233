"""Numbers that others published, from data/published/: read as text, so that they keep the digits of their source."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gexsent.errors import DataError

# Where a number was read: the file's column `read`.
READ = {"own table": "the source's own table", "quoted": "at second hand", "abstract": "its abstract alone"}
DETAILS = {
    "year": "Year",
    "modalities": "Modalities",
    "text_encoder": "Text encoder",
    "seeds": "Seeds",
    "split": "Test rows",
}
MEMOTION_METRICS = {"A": "macro_f1_a", "B": "macro_f1_b", "C": "macro_f1_c"}


@dataclass(frozen=True)
class Quoted:
    """`rows` has system, the details that the file records, one column a metric, and `source`, which counts from 1 into
    `sources`. Everything is text; what a source does not report is empty."""

    rows: pd.DataFrame
    details: tuple[str, ...]
    sources: tuple[str, ...]


def read(path: Path) -> Quoted:
    """Read a file of published numbers: a row a system with a column a metric, or (with the columns `task` and `value`)
    a row a system and Memotion task.

    Raises:
        DataError: a missing file or column, an unknown task, or two values for one system, task and source.
    """
    if not path.exists():
        raise DataError(f"{path}: not there; it belongs to the project: `git checkout {path.name}` in its folder")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    lacking = {"system", "source", "read"} - set(frame.columns)
    if lacking:
        raise DataError(f"{path}: no column {sorted(lacking)[0]!r}")
    if "task" in frame:
        frame = _one_row_a_system(frame, path)
    sources = (frame["source"] + " (" + frame["read"].map(lambda kind: READ.get(kind, kind)) + ")").tolist()
    unique = tuple(dict.fromkeys(sources))
    rows = frame.drop(columns="read").assign(source=[str(unique.index(source) + 1) for source in sources])
    return Quoted(rows, tuple(name for name in DETAILS if name in rows), unique)


def _one_row_a_system(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    unknown = set(frame["task"]) - set(MEMOTION_METRICS)
    if unknown:
        raise DataError(f"{path}: unknown task {sorted(unknown)[0]!r}; tasks are {', '.join(MEMOTION_METRICS)}")
    # The same system from two sources stays two rows, so that each number keeps its source.
    keys = ["system", "year", "split", "source", "read"]
    rows: dict[tuple, dict[str, str]] = {}
    for record in frame.to_dict("records"):
        row = rows.setdefault(tuple(record[key] for key in keys), {key: record[key] for key in keys})
        metric = MEMOTION_METRICS[record["task"]]
        if metric in row:
            raise DataError(f"{path}: two values for {record['system']!r}, task {record['task']}, from one source")
        row[metric] = record["value"]
    return pd.DataFrame(rows.values()).reindex(columns=[*keys, *MEMOTION_METRICS.values()]).fillna("")
