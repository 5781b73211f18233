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
    every = torch.arange(len(batch.text))
    whole = scores_with(model, batch, target, every, torch.ones_like(real(batch)))
    result = {}
    for m in OTHER:
        keep = torch.ones_like(real(batch))
        split(keep, batch)[m][:] = False
        result[m] = whole - scores_with(model, batch, target, every, keep)
    return result


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
        tokens, rows, other, other_mask = inputs
        return tokens, rows, other, torch.zeros_like(other_mask)

    hook = model.attention[modality].cross.register_forward_pre_hook(blind)
    try:
        yield
    finally:
        hook.remove()
