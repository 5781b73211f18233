"""Fingerprints, number formats and seeded building."""

import pytest
import torch
from torch import nn

from gexsent.encoders.weights import fingerprint, first_line, pick_dtype, seeded


def layer(value=1.0):
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, value)
    nn.init.zeros_(module.bias)
    return module


def test_equal_weights_have_equal_fingerprints_in_another_object():
    assert fingerprint(layer()) == fingerprint(layer())


@pytest.mark.parametrize(
    "other", [layer(1.0001), nn.Sequential(layer()), nn.Linear(2, 3)], ids=["value", "name", "shape"]
)
def test_values_names_and_shapes_change_the_fingerprint(other):
    assert fingerprint(other) != fingerprint(layer())


def test_what_else_is_given_changes_the_fingerprint():
    assert len({fingerprint(layer()), fingerprint(layer(), 1), fingerprint(layer(), 2), fingerprint(layer(), "1")}) == 4


def test_weights_rounded_to_bf16_are_other_weights():
    assert fingerprint(layer(1.0001).to(torch.bfloat16)) == fingerprint(layer(1.0))
    assert fingerprint(layer(1.0001).to(torch.bfloat16)) != fingerprint(layer(1.0001))


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("one\ntwo"), "one"), (ValueError("\n x "), "x"), (AssertionError(), "AssertionError")],
)
def test_the_first_line_of_an_error_or_else_its_kind(error, said):
    assert first_line(error) == said


@pytest.mark.parametrize(
    ("device", "supported", "wanted"),
    [("cpu", True, torch.float32), ("cuda", True, torch.bfloat16), ("cuda", False, torch.float32)],
)
def test_bf16_is_for_gpus_that_have_it(monkeypatch, device, supported, wanted):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert pick_dtype(device) == wanted


def test_seeded_building_repeats_itself_and_restores_the_generator():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(5):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(5):
        assert torch.equal(torch.rand(3), first)
    with seeded(6):
        assert not torch.equal(torch.rand(3), first)
