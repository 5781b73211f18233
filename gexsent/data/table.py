"""The common table of a data set, the checks on it, and the list of rows that could not be used."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from gexsent import datasets
from gexsent.data.arrays import Ragged
from gexsent.errors import DataError

SAMPLE_COLUMNS = ["id", "group", "split", "text", "media", "kind"]
OFFICIAL = ("train", "valid", "test")
BLOCKS = tuple(f"block{index}" for index in range(10))
LEFT_OUT = "left out"
WITHOUT = "kept without"  # followed by what is lacking


@dataclass
class Quarantine:
    """Rows with a fault: each is a line in a report, and reading goes on while few enough are left out."""

    rows: list[dict] = field(default_factory=list)

    def add(self, file: Path | str, row: int | None, id_: str, problem: str, action: str = LEFT_OUT) -> None:
        """Note a fault. `row` counts as a spreadsheet shows it: the header is 1. Files are named, not located.

        Rows with the actions LEFT_OUT and WITHOUT count against the limit; any other action is a note.
        """
        self.rows.append({"file": Path(file).name, "row": row, "id": id_, "problem": problem, "action": action})

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=["file", "row", "id", "problem", "action"]).astype({"row": "Int64"})

    def summary(self, kinds: int = 8) -> str:
        """Counts by problem and action, commonest first; beyond `kinds` of them, how many more there are."""
        counts = Counter((row["problem"], row["action"]) for row in self.rows).most_common()
        told = [f"{count} x {problem} ({action})" for (problem, action), count in counts[:kinds]]
        rest = [f"{len(counts) - kinds} more kinds of problem"] if len(counts) > kinds else []
        return "; ".join(told + rest) or "none"

    def enforce(self, total: int, limit: float) -> None:
        """Stop when more than `limit` (a share) of `total` rows were left out, or were kept without something.

        Raises:
            DataError: naming the files, the share and the problems.
        """
        for fault, verdict in ((LEFT_OUT, "cannot be used"), (WITHOUT, "lack something")):
            bad = [row for row in self.rows if row["action"].startswith(fault)]
            # A row left out may share its id with another one; a row kept is one row however much it lacks.
            count = len(bad) if fault == LEFT_OUT else len({row["id"] for row in bad})
            if count > limit * total:
                files = sorted({row["file"] for row in bad})
                named = ", ".join(files[:3]) + (f" and {len(files) - 3} more files" if len(files) > 3 else "")
                raise DataError(
                    f"{named}: {count} of {total} rows {verdict}, more than {limit:.0%}: {Quarantine(bad).summary()}; "
                    "mend the files, or raise data.max_bad_rows in params.yaml"
                )


@dataclass(frozen=True)
class Dataset:
    """One data set as read.

    samples: id, group, split, text, media (path relative to root, "" for none), kind ("none", "image" or "clip").
    labels: id and some of the labels of the data set's tasks, missing ones NaN or <NA>.
    features: features found beside the data, {modality: Ragged}.
    """

    name: str
    layout: str
    root: Path
    samples: pd.DataFrame
    labels: pd.DataFrame
    features: dict[str, Ragged]
    quarantine: Quarantine


def check(dataset: Dataset) -> None:
    """What must hold before anything is trained on a table.

    Raises:
        DataError: no rows, an id twice, a group in two splits, an unknown split, or a label out of range.
    """
    name, samples, labels = dataset.name, dataset.samples, dataset.labels
    if samples.empty:
        raise DataError(f"{name}: no usable row in {dataset.root}; quarantined: {dataset.quarantine.summary()}")
    if samples["id"].duplicated().any():
        raise DataError(f"{name}: id {samples.loc[samples['id'].duplicated(), 'id'].iloc[0]!r} occurs twice")
    if list(samples["id"]) != list(labels["id"]):
        raise DataError(f"{name}: samples and labels do not have the same ids in the same order")
    splits = set(samples["split"])
    if not (splits <= set(OFFICIAL) or splits <= set(BLOCKS)):
        raise DataError(f"{name}: unknown split {sorted(splits - set(OFFICIAL) - set(BLOCKS))!r}")
    missing = set(OFFICIAL if splits <= set(OFFICIAL) else BLOCKS) - splits
    if missing and splits <= set(BLOCKS):
        raise DataError(
            f"{name}: {len(samples)} rows in {samples['group'].nunique()} groups are too few, or too alike, for five "
            "folds; ten groups and ten rows of the commonest class are the least"
        )
    if missing:
        raise DataError(
            f"{name}: no row in split {', '.join(sorted(missing))}; training, validation and test are needed"
        )
    homes = samples.groupby("group")["split"].nunique()
    if (homes > 1).any():
        shared = list(homes.index[homes > 1])
        raise DataError(
            f"{name}: {len(shared)} groups lie in more than one split, such as {', '.join(shared[:3])}: "
            "training would see what it is tested on; use the official split"
        )
    for column, (low, high) in datasets.spec(name).limits.items():
        if column not in labels:
            continue
        known = labels[column].dropna()
        if not known.between(low, high).all():
            raise DataError(f"{name}: {column} outside [{low}, {high}]")


def make(samples: list[dict], labels: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to frames with fixed columns and types, so that the files are the same bytes each time."""
    table = pd.DataFrame(samples, columns=SAMPLE_COLUMNS).astype("str")
    frame = pd.DataFrame(labels)
    if frame.empty:
        frame = pd.DataFrame({"id": []})
    types = {c: "float32" if c == "intensity" else "Int8" for c in frame.columns if c != "id"}
    return table, frame.astype({"id": "str", **types})
