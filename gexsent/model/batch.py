"""What goes into every model and what comes out."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Padded token features of both modalities. B samples, Lt text tokens, Lv visual tokens (patches or frames).

    A sample without a modality has an all-False row in its mask; what stands in the features there is never used.
    A data set without vision has vision of shape (B, 1, 1) and an all-False mask.
    """

    text: Tensor  # (B, Lt, Dt)
    text_mask: Tensor  # (B, Lt) bool, True at real tokens
    vision: Tensor  # (B, Lv, Dv)
    vision_mask: Tensor  # (B, Lv) bool

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


@dataclass(frozen=True)
class Output:
    """The named result of a forward pass.

    heads: {task: (B, outputs)}.
    losses: auxiliary losses, already weighted; add them to the task losses.
    gates: {modality: (B, L)} token gates of the gated attention, 0 at padding (the released model: 0.1 everywhere, over
        its own fixed lengths).
    shares: (B, 3) weights of the text, vision and shared expert groups.
    usage: {group: (E,)} share of the token-to-expert assignments that each expert received.
    """

    heads: dict[str, Tensor]
    losses: dict[str, Tensor] = field(default_factory=dict)
    gates: dict[str, Tensor] = field(default_factory=dict)
    shares: Tensor | None = None
    usage: dict[str, Tensor] = field(default_factory=dict)


def masked_mean(tokens: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of (B, L, d) over the tokens of mask (B, L), weighted by `weights` (B, L); zeros where there is none."""
    weights = mask.to(tokens.dtype) if weights is None else weights * mask
    total = weights.sum(1, keepdim=True).clamp_min(1e-6)
    return torch.einsum("bl,bld->bd", weights, torch.where(mask.unsqueeze(-1), tokens, 0)) / total


def best(probability: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of (..., E) in each row and their places, (..., count) each. Of equals the first, on any processor."""
    values, places = probability.sort(dim=-1, descending=True, stable=True)
    return values[..., :count], places[..., :count]
