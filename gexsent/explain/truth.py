"""The generated sample alone: which tokens carry the label, and how much of the relevance lies on them.

In the words it is the adjective; in a picture, the patches that change when the face changes and nothing else does.
"""

import random

import numpy as np
import torch
from torch import Tensor

from gexsent.sample import faces, scripts
from gexsent.sample.generate import MEME_SIDE

FACE = MEME_SIDE - 44  # pixels a side, in the middle of a meme's upper edge
POLAR = frozenset(word for polarity, words in scripts.ADJECTIVES.items() for word in words if polarity)


def polar_words(tokens: list[str]) -> np.ndarray:
    """(L,) True at adjectives with a polarity. The sample's tokenizer has each of its words as one token."""
    return np.array([token in POLAR for token in tokens], bool)


def face_patches(side: int) -> np.ndarray:
    """(1 + side * side,) True at the patches of a meme that hold most of what changes between the two ends of the scale.

    The same person is drawn unhappy and happy. Patches are taken from the one that changes most, until they hold 95 %
    of the change; the class token, which comes first, is not a place.
    """
    person = faces.Person.draw_lots(random.Random(0))
    unhappy, happy = (np.asarray(faces.draw(person, expression, FACE), float) for expression in (-1, 1))
    left = (MEME_SIDE - FACE) // 2
    changed = np.pad(
        np.abs(happy - unhappy).sum(-1), ((0, MEME_SIDE - FACE), (left, MEME_SIDE - FACE - left))
    )  # (H, W)
    height, width = (size // side for size in changed.shape)
    blocks = changed[: side * height, : side * width].reshape(side, height, side, width).sum((1, 3)).ravel()
    order = np.argsort(-blocks, kind="stable")
    needed = 1 + np.searchsorted(np.cumsum(blocks[order]), 0.95 * blocks.sum())
    right = np.zeros(1 + side * side, bool)
    right[1 + order[:needed]] = True
    return right


def on_target(relevance: Tensor, right: Tensor, there: Tensor) -> dict[str, Tensor]:
    """How much of the size of relevance lies on the right tokens: (B, L) each -> (B,) each, NaN without a right token.

    mass: its share. chance: the share of the tokens that are right. hit: 1 where the largest is a right one.
    """
    size, right = relevance.abs() * there, right & there
    known = right.any(1)
    mass = (size * right).sum(1) / size.sum(1).clamp_min(1e-12)
    chance = right.sum(1) / there.sum(1).clamp_min(1)
    hit = right.gather(1, size.argmax(1, keepdim=True))[:, 0].float()
    return {k: torch.where(known, v, torch.nan) for k, v in {"mass": mass, "chance": chance, "hit": hit}.items()}
