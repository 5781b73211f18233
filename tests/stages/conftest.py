"""A project in a scratch folder whose sample is small, prepared, and has features: ready to be trained on."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gexsent.encoders.record import EncoderRecord
from gexsent.features import Output, extract
from gexsent.stages import fits, prepare, source
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[2]
WIDTH = 5
# What the scratch project's params.yaml changes in the project's own: small, few, quick.
EDITION = {
    "data": {"rows": 45, "verify_media": False},
    "model": {"width": 8, "experts": 2, "expert_width": 4, "top_k": 1, "attention_heads": 2},
    "train": {
        "systems": ["gexsent", "text_only"],
        "seeds": 2,
        "fold_seeds": 1,
        "epochs": 2,
        "patience": 2,
        "batch": 8,
        "lr": 0.003,
        "dropout_systems": [],
    },
}


def _vectors(ids):
    """Features that depend on the id alone: three to five tokens a sample, none for one in eight."""
    arrays = []
    for id_ in ids:
        rng = np.random.default_rng(list(id_.encode()))
        arrays.append(rng.normal(size=(int(rng.integers(3, 6)) * (rng.random() > 0.125), WIDTH)))
    return arrays


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Root of a project with MOSI's sample generated and prepared, and random features in place of encoded ones."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, values in EDITION.items():
        params["editions"]["sample"][section] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    workspace = open_workspace("sample", "mosi", root)
    source.run(workspace)
    prepare.run(workspace)
    ids = pd.read_parquet(workspace.table)["id"].tolist()
    for modality in ("text", "vision"):
        extract([Output(workspace.features / modality, WIDTH, modality)], ids, lambda part: [_vectors(part)])
    EncoderRecord.of(workspace.params.encode, "text", "vision").write(workspace.features)
    return root


@pytest.fixture
def open_project(prepared, tmp_path):
    """Open a copy of the prepared project; keyword arguments change its training settings."""
    root = tmp_path / "project"
    shutil.copytree(prepared, root)

    def open_(**changes):
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["editions"]["sample"]["train"] |= changes
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        return open_workspace("sample", "mosi", root)

    return open_


@pytest.fixture
def one_process(monkeypatch, fit_here):
    """Train on the CPU, here and now, rather than in a process a core."""
    monkeypatch.setattr(fits, "pick_device", lambda: "cpu")
    monkeypatch.setattr(fits, "_on_cores", fit_here)


@pytest.fixture(scope="session")
def files_under():
    """{relative path: content} of every file under a folder."""

    def read(folder):
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read


@pytest.fixture(scope="session")
def in_folds():
    """Replace the official split of a project by two folds that test on one half of the test rows each."""

    def split(workspace):
        fit, test = pd.read_parquet(workspace.fit_labels), pd.read_parquet(workspace.test_labels)
        pd.concat([fit.assign(partition=f"fold{k}") for k in range(2)]).to_parquet(workspace.fit_labels)
        halves = np.where(np.arange(len(test)) < len(test) // 2, "fold0", "fold1")
        test.assign(partition=halves).to_parquet(workspace.test_labels)

    return split
