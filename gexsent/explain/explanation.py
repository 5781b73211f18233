"""What is known of one sample's prediction. Arrays and pictures alone, so that figures need no model."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Explanation:
    """Relevance is support for `says`: positive speaks for it, negative against it. L text tokens, V visual ones.

    says: the prediction: an intensity or the name of a class. score: its size: the intensity, or the log-odds of
        the class against the next one.
    tokens: L words or word pieces. text, vision: {method: (L,)} and {method: (V,)} relevance.
    kind: what the visual tokens are: "image" (a class token, then g x g patches), "clip" (frames), "features", "none".
    pictures: PIL images that were encoded: one, or the V frames.
    cross: {"text": (L, V), "vision": (V, L)} attention of its tokens to those of the other modality, mean over heads;
        rows sum to 1.
    gates: {modality: (L,) or (V,)}. shares: (3,) of the text, vision and shared experts.
    experts: {group: (positions, E)} gate of each expert for each token, 0 where it did not fire; shared: text first.
    left_out: {modality: fall of the score without it}. guided: {modality: fall without its view of the other one}.
    """

    says: str
    score: float
    tokens: tuple[str, ...]
    text: dict[str, np.ndarray]
    vision: dict[str, np.ndarray]
    kind: str
    cross: dict[str, np.ndarray]
    gates: dict[str, np.ndarray]
    shares: np.ndarray
    experts: dict[str, np.ndarray]
    left_out: dict[str, float]
    guided: dict[str, float]
    pictures: tuple[Any, ...] = field(default=(), repr=False)

    def heat(self, method: str) -> np.ndarray:
        """(g, g) relevance of the patches of an image, without the class token.

        Raises:
            ValueError: the visual tokens are not the patches of an image.
        """
        if self.kind != "image":
            raise ValueError(f"there is no heat map of visual tokens of the kind {self.kind!r}")
        patches = self.vision[method][1:]
        side = round(len(patches) ** 0.5)
        return patches.reshape(side, side)
