"""What carries the label in generated data, held against memes and texts as the generator makes them."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from gexsent.explain import truth
from gexsent.sample import generate, scripts


@pytest.mark.parametrize("side", [4, 7])
def test_patches_hold_what_changes_when_the_face_does(tmp_path, side):
    """The same person and words drawn as a meme with either face: what differs lies in these patches, and few do."""
    script = scripts.write(random.Random(0))
    for face in (-2, 2):
        own = scripts.Script(**vars(script) | {"face": face})
        generate.draw_meme(tmp_path / f"{face}.png", own, random.Random(5))
    one, two = (np.asarray(Image.open(tmp_path / f"{face}.png").convert("RGB"), float) for face in (-2, 2))
    changed = np.abs(one - two).sum(-1)
    right = truth.face_patches(side)
    assert right.shape == (1 + side * side,) and not right[0]
    assert right.mean() < 0.5
    edge = len(changed) // side
    inside = sum(
        changed[row * edge : (row + 1) * edge, column * edge : (column + 1) * edge].sum()
        for row, column in zip(*right[1:].reshape(side, side).nonzero(), strict=True)
    )
    assert inside > 0.85 * changed.sum()


def test_polar_words_are_the_adjectives_that_are_not_neutral():
    assert truth.polar_words(["[CLS]", "the", "dull", "soup", "usual", "glorious"]).tolist() == [
        False, False, True, False, False, True,
    ]  # fmt: skip


def test_mass_chance_and_hit_by_hand():
    relevance = torch.tensor([[1.0, -3.0, 0.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    right = torch.tensor([[False, True, False, True], [False] * 4])
    there = torch.tensor([[True, True, True, False], [True] * 4])
    found = truth.on_target(relevance, right, there)
    assert [found[key][0].item() for key in ("mass", "chance", "hit")] == pytest.approx([0.75, 1 / 3, 1.0])
    assert all(found[key][1].isnan() for key in found)
