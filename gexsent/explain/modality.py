"""What each modality is worth to a prediction, and who guides whom."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gexsent.explain.target import Target, real, scores_with, split
from gexsent.explain.trace import OTHER
from gexsent.model import Batch, GEXSent


def left_out(model: GEXSent, batch: Batch, target: Target) -> dict[str, Tensor]:
    """{modality: (B,) fall of the score when all its tokens are hidden}; 0 where it is absent.

    The score is support for the prediction from everything, so a fall beyond that score turns the prediction round.
    """
    keep = torch.ones_like(real(batch)).repeat(
        1 + len(OTHER), 1, 1
    )  # (3, B, T): all tokens, then without each modality
    for place, m in enumerate(OTHER, 1):
        split(keep[place], batch)[m][:] = False
    rows = torch.arange(len(batch.text)).repeat(len(keep))
    whole, *without = scores_with(model, batch, target, rows, keep.flatten(0, 1)).view(len(keep), -1)
    return {m: whole - score for m, score in zip(OTHER, without, strict=True)}


def guided(model: GEXSent, batch: Batch, target: Target) -> dict[str, Tensor]:
    """{modality: (B,) fall of the score when its tokens cannot read the other modality}.

    "text" is what vision-guided text is worth, "vision" what text-guided vision is. Nothing is hidden: the
    cross-attention of that one modality is shown the learned token that stands for an absent modality.
    """
    every, all_tokens = torch.arange(len(batch.text)), torch.ones_like(real(batch))
    whole = scores_with(model, batch, target, every, all_tokens)
    result = {}
    for m in OTHER:
        with _unguided(model, m):
            result[m] = whole - scores_with(model, batch, target, every, all_tokens)
    return result


@contextmanager
def _unguided(model: GEXSent, modality: str) -> Iterator[None]:
    def blind(module, inputs):
        tokens, other, other_mask = inputs
        return tokens, other, torch.zeros_like(other_mask)

    hook = model.attention[modality].cross.register_forward_pre_hook(blind)
    try:
        yield
    finally:
        hook.remove()
