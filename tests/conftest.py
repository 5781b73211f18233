"""Projects to test in: a copy as a fresh clone would have it, and a bare one."""

from gexsent import machine

machine.pin()  # before torch and numpy, which read the settings when they load

import os
import re
import shutil
import subprocess
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).parents[1]
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def clone(tmp_path):
    """(folder, environment): the files that Git tracks, without data or history, and no real data in sight."""
    folder = tmp_path / "clone"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    environment = {k: v for k, v in os.environ.items() if k != "GEXSENT_DATA"}
    return folder, environment | {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def fit_here():
    """In place of `fits._on_cores`: every fit on the CPU, in this process, rather than in a process a core."""

    def run(plan, workspace, count, progress, fit):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a process of its own: with more, sums are taken in another order
        try:
            for one in plan(workspace):
                fit(one, "cpu")
        finally:
            torch.set_num_threads(threads)

    return run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with params.yaml and dvc.yaml, to stand in; its raw data come from data/raw."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    path = root / "params.yaml"  # whichever edition the user works on
    path.write_text(re.sub(r"^edition: \w+", "edition: sample", path.read_text(), flags=re.MULTILINE))
    monkeypatch.chdir(root)
    monkeypatch.delenv("GEXSENT_DATA", raising=False)
    return root
