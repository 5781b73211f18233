"""Second stage: from whatever layout the user has to one checked table, with the test labels in a file of their own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.data import sources, splits
from gexsent.data.arrays import Ragged
from gexsent.data.table import Dataset
from gexsent.digest import full_disk_explained, write_atomically
from gexsent.workspace import Workspace

NOTHING = Ragged([], np.zeros((0, 1), np.float16), np.zeros(0, np.int64))


def run(workspace: Workspace) -> Dataset:
    """Read, check and write one data set.

    Leaves table.parquet (no labels), labels/fit.parquet (training and validation labels of every partition),
    labels/test.parquet, quarantine.csv, data.json and, without any sample where none was found, found/<modality>.npz.

    Raises:
        DataError: what is wrong with the raw files, and what to do; or the disk is full.
    """
    data = workspace.params.data
    dataset = sources.read(
        workspace.dataset, workspace.raw, seed=data.seed, max_bad=data.max_bad_rows, verify_media=data.verify_media
    )
    with full_disk_explained(workspace.derived):
        _write(workspace, dataset)
    return dataset


def _write(workspace: Workspace, dataset: Dataset) -> None:
    labels = partition_labels(dataset.samples, dataset.labels)
    is_test = labels["role"] == "test"
    for path, frame in (
        (workspace.table, dataset.samples),
        (workspace.fit_labels, labels[~is_test]),
        (workspace.test_labels, labels[is_test].drop(columns="role")),
    ):
        write_atomically(path, frame.to_parquet(index=False))
    workspace.found.mkdir(exist_ok=True)
    for modality in ("text", "vision"):
        dataset.features.get(modality, NOTHING).save_npz(workspace.found / f"{modality}.npz")
    write_atomically(workspace.derived / "quarantine.csv", dataset.quarantine.frame().to_csv(index=False).encode())
    summary = json.dumps(sources.summary(dataset), indent=2) + "\n"
    write_atomically(workspace.derived / "data.json", summary.encode())


def partition_labels(samples: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """One row a partition and sample: partition, role (train, valid or test), id and the labels."""
    parts = []
    for name, roles in splits.partitions(samples).items():
        frame = labels.set_index("id").loc[roles.index].reset_index()
        frame.insert(0, "partition", name)
        frame.insert(1, "role", roles.to_numpy())
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet file that an earlier stage wrote.

    Raises:
        FileNotFoundError: naming the command that makes it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet; run `dvc repro`, or open the earlier notebooks first")
    return pd.read_parquet(path)
