"""Files that are no checkpoint of the released model."""

import os
import pickle
import zipfile

import pytest
import torch

from gexsent.errors import DataError
from gexsent.model import load_released


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def save_pickled_code(path, state):
    torch.save({**state, "extra": Bomb()}, path)


def save_bare_pickle(path, state):
    path.write_bytes(pickle.dumps(Bomb()))


def save_half(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:5000])


def save_zip(path, state):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "not a checkpoint")


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


BAD = {
    "pickled code": (save_pickled_code, "plain tensors"),
    "bare pickle": (save_bare_pickle, "plain tensors"),
    "truncated": (save_half, "plain tensors"),
    "another zip file": (save_zip, "plain tensors"),
    "text": (lambda path, state: path.write_text("hello"), "plain tensors"),
    "empty": (lambda path, state: path.write_bytes(b""), "plain tensors"),
    "missing file": (lambda path, state: None, "No such file"),
    "a tensor": (lambda path, state: torch.save(torch.ones(3), path), "state dict"),
    "a list": (lambda path, state: torch.save([1, 2], path), "state dict"),
    "a training checkpoint": (lambda path, state: torch.save({"epoch": 3, "model": {}}, path), "state dict"),
    "keys that are numbers": (lambda path, state: torch.save({0: torch.ones(3)}, path), "state dict"),
    "an empty dict": (lambda path, state: torch.save({}, path), "experts_text.gate.weight"),
    "a missing size": (
        lambda path, state: torch.save(without(state, "classifier.weight"), path),
        "classifier.weight",
    ),
    "a missing weight": (
        lambda path, state: torch.save(without(state, "experts_image.expert_nets.7.bias"), path),
        "experts_image.expert_nets.7.bias",
    ),
    "an unknown weight": (
        lambda path, state: torch.save({**state, "adapter.weight": torch.ones(2)}, path),
        "adapter.weight",
    ),
    "a wrong shape": (
        lambda path, state: torch.save({**state, "mha.out_proj.bias": torch.ones(256)}, path),
        "mha.out_proj.bias",
    ),
    "a vector for a matrix": (
        lambda path, state: torch.save({**state, "classifier.weight": torch.tensor(1.0)}, path),
        "classifier.weight",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_checkpoint_is_an_error_that_names_the_file_and_the_fault(case, tmp_path, monkeypatch, released_state):
    monkeypatch.chdir(tmp_path)
    write, message = BAD[case]
    path = tmp_path / "bad.pt"
    # The large weights stand for nothing here; broadcasting one number keeps the files small and the shapes right.
    write(path, {name: torch.zeros(()).expand(value.shape) for name, value in released_state.items()})
    with pytest.raises(DataError, match=message) as error:
        load_released(path)
    assert "bad.pt" in str(error.value)
    assert not (tmp_path / "exploded").exists()
