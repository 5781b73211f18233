"""Models trained in a moment, their folders and what they were trained on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gexsent.data.arrays import Ragged
from gexsent.model import build, load_model, save_model
from gexsent.predictor import Predictor
from gexsent.stages import evaluate, extract, fits, prepare, source, train
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[2]
EDITION = {
    "data": {"rows": 40, "verify_media": False},
    "encode": {"frames": 3},
    "model": {"width": 8, "experts": 2, "expert_width": 4, "top_k": 1, "attention_heads": 2},
    "train": {"systems": ["gexsent"], "seeds": 1, "fold_seeds": 1, "epochs": 1},
}


@pytest.fixture(scope="session")
def train_on(tmp_path_factory, fit_here):
    """Run the pipeline to its stored predictions; give the workspace and the fit's folder. Brought: no encoders."""

    def run(dataset, *, brought=False, system="gexsent"):
        root = tmp_path_factory.mktemp(dataset)
        shutil.copy(PROJECT / "dvc.yaml", root)
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        for section, values in EDITION.items():
            params["editions"]["sample"][section] |= values
        params["editions"]["sample"]["encode"] |= {"tuned_layers": int(system == "gexsent_finetuned")}
        params["editions"]["sample"]["train"] |= {"systems": [system]}
        if brought:
            params["editions"]["sample"]["encode"] |= {"text": "features", "vision": "features"}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        workspace = open_workspace("sample", dataset, root)
        source.run(workspace)
        prepare.run(workspace)
        if brought:
            ids = pd.read_parquet(workspace.table)["id"].tolist()
            for modality, width in (("text", 5), ("vision", 3)):
                values = np.random.default_rng(width).normal(size=(2 * len(ids), width)).astype(np.float32)
                Ragged(ids, values, np.full(len(ids), 2)).save_npz(workspace.found / f"{modality}.npz")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fits, "_on_cores", fit_here)
            for stage in (extract, fits, evaluate):
                patch.setattr(stage, "pick_device", lambda: "cpu")
            extract.run(workspace)
            train.run(workspace)
            evaluate.predict(workspace, pd.read_parquet(workspace.test_labels)).to_parquet(
                workspace.root / "stored.parquet"
            )
        (partition,) = pd.read_parquet(workspace.test_labels)["partition"].unique()
        return workspace, workspace.fit(system, partition, 0)

    return run


@pytest.fixture(scope="session")
def clips(train_on):
    return train_on("mosi")


@pytest.fixture(scope="session")
def tuned(train_on):
    return train_on("mosi", system="gexsent_finetuned")


@pytest.fixture(scope="session")
def memes(train_on):
    return train_on("memotion")


@pytest.fixture(scope="session")
def alone(memes, tmp_path_factory):
    """Load an untrained model of images that uses one modality alone."""

    def load(system):
        _, config = load_model(memes[1])
        folder = tmp_path_factory.mktemp(system)
        for name in ("encoders.json", "tasks.json"):
            shutil.copy(memes[1] / name, folder)
        config = replace(config, system=system)
        save_model(build(config), config, folder)
        return Predictor.from_pretrained(folder)

    return load


@pytest.fixture(scope="session")
def without_encoders(train_on):
    return train_on("mosi", brought=True)


@pytest.fixture(scope="session")
def scores_clips(clips):
    return Predictor.from_pretrained(clips[1])


@pytest.fixture(scope="session")
def scores_memes(memes):
    return Predictor.from_pretrained(memes[1])


@pytest.fixture
def copy(memes, tmp_path):
    """A copy of a fit's folder, to be damaged."""
    return Path(shutil.copytree(memes[1], tmp_path / "fit"))
