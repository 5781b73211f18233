"""A table of one's own, as params.yaml describes it: CSV, TSV, JSON lines or Parquet, with pictures or clips beside it."""

from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.data import media
from gexsent.data.splits import SYNONYMS, blocks, duplicate_groups
from gexsent.data.table import OFFICIAL, WITHOUT, Quarantine, make
from gexsent.datasets import LabelColumn, TableSpec
from gexsent.posts import files, labels
from gexsent.posts.columns import Columns, posts, require

# What columns.posts says of one file, and the report of all such files.
REASONS = {"is not fetched": "is on the web: download it", "lies outside": "lies outside the data set's folder"}
KINDS = 5  # of intensities, from low to high: each fold has its share of all


def read(root: Path, table: TableSpec, quarantine: Quarantine, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Samples, labels and the number of rows. Rows with the same text, picture or value of the group column stay together.

    Raises:
        DataError: as files.frames, or a column is lacking.
    """
    path = root / table.file
    frame = files.read(path)
    columns = Columns(text=table.text, image=table.image, clip=table.clip)
    others = [name for name in (table.id, table.group, table.split) if name]
    require(frame, [*columns.named().values(), *others, *(label.column for label in table.labels.values())], str(path))
    samples, kept, owners, seen = [], [], [], set()
    for post, (number, row) in zip(posts(frame, columns, root), frame.iterrows(), strict=True):
        id_ = labels.written(row[table.id]) if table.id else f"row{number}"
        values = {name: _label(row[label.column], label) for name, label in table.labels.items()}
        split = "" if table.split is None else str(row[table.split]).strip().casefold()
        split = SYNONYMS.get(split, split)
        problem = ""
        if not id_ or (table.id and files.missing(row[table.id])):
            problem = f"{table.id} is blank"
        elif id_ in seen:
            problem = "id occurs a second time"
        elif all(value is None or isinstance(value, str) for value in values.values()):
            problem = next((value for value in values.values() if isinstance(value, str)), "no label")
        elif not post.text.strip() and post.media is None:
            problem = post.problem or "neither a text nor anything to see"
        elif table.split and split not in OFFICIAL:
            problem = f"{table.split} is none of train, valid and test"
        if problem:
            quarantine.add(path, number, id_, problem)
            continue
        seen.add(id_)
        for value in values.values():
            if isinstance(value, str):
                quarantine.add(path, number, id_, value, "label dropped")
        if post.problem:
            reason = next((said for sign, said in REASONS.items() if sign in post.problem), "cannot be found")
            quarantine.add(path, number, id_, f"{columns.visual} {reason}", f"{WITHOUT} {columns.visual}")
        owners.append(
            "" if table.group is None or files.missing(row[table.group]) else labels.written(row[table.group])
        )
        place = "" if post.media is None else post.media.relative_to(root).as_posix()
        kind = "none" if post.media is None else columns.visual
        samples.append({"id": id_, "group": id_, "split": split, "text": post.text, "media": place, "kind": kind})
        kept.append({"id": id_} | {name: None if isinstance(value, str) else value for name, value in values.items()})
    digests = [media.digest(root / row["media"]) if row["media"] else "" for row in samples]
    groups = duplicate_groups([row["id"] for row in samples], [row["text"] for row in samples], digests, owners)
    names = [row["split"] for row in samples]
    if samples and table.split is None:
        names = blocks(groups, _strata(kept), seed)
    for row, group, name in zip(samples, groups, names, strict=True):
        row |= {"group": group, "split": name}
    return *make(samples, kept), len(frame)


def _label(cell: object, label: LabelColumn) -> float | int | str | None:
    """The label that a cell holds, None for none, or what is wrong with it."""
    if files.missing(cell):
        return None
    if label.values is not None:
        code = label.values.get(labels.written(cell))
        return f"{label.column} is no known class" if code is None else code
    if not labels.is_number(cell):
        return f"{label.column} is no number"
    if not label.low <= float(cell) <= label.high:
        return f"{label.column} is outside {label.low:g} to {label.high:g}"
    return 6 * (float(cell) - label.low) / (label.high - label.low) - 3


def _strata(kept: list[dict]) -> list[int]:
    """What each fold is to have its share of: sentiments, or intensities in a few steps."""
    name = "sentiment" if any(row.get("sentiment") is not None for row in kept) else "intensity"
    values = np.array([np.nan if row.get(name) is None else row[name] for row in kept], float)
    steps = np.floor((values + 3) / 6 * KINDS).clip(0, KINDS - 1) if name == "intensity" else values
    return np.where(np.isnan(values), KINDS, steps).astype(int).tolist()
