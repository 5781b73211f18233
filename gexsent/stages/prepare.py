"""Second stage: from whatever layout the user has to one checked table, with the test labels in a file of their own."""

import json
from pathlib import Path

import pandas as pd

from gexsent.data import sources, splits
from gexsent.data.table import Dataset
from gexsent.digest import write_atomically
from gexsent.workspace import Workspace


def run(workspace: Workspace) -> Dataset:
    """Read, check and write one data set.

    Leaves table.parquet (no labels), labels/fit.parquet (training and validation labels of every partition),
    labels/test.parquet, quarantine.csv, data.json and found/<modality>.npz.

    Raises:
        DataError: what is wrong with the raw files, and what to do.
    """
    data = workspace.params.data
    dataset = sources.read(
        workspace.dataset, workspace.raw, seed=data.seed, max_bad=data.max_bad_rows, verify_media=data.verify_media
    )
    workspace.derived.mkdir(parents=True, exist_ok=True)
    dataset.samples.to_parquet(workspace.table, index=False)
    labels = partition_labels(dataset.samples, dataset.labels)
    workspace.fit_labels.parent.mkdir(exist_ok=True)
    is_test = labels["role"] == "test"
    labels[~is_test].to_parquet(workspace.fit_labels, index=False)
    labels[is_test].drop(columns="role").to_parquet(workspace.test_labels, index=False)
    workspace.found.mkdir(exist_ok=True)
    for modality in ("text", "vision"):
        (workspace.found / f"{modality}.npz").unlink(missing_ok=True)
        if modality in dataset.features:
            dataset.features[modality].save_npz(workspace.found / f"{modality}.npz")
    dataset.quarantine.write(workspace.derived / "quarantine.csv")
    summary = json.dumps(sources.summary(dataset), indent=2) + "\n"
    write_atomically(workspace.derived / "data.json", summary.encode())
    return dataset


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
