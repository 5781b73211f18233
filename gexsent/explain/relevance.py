"""Four ways to say how much each token matters. All take a model, a batch and a target, and give (B, T), 0 at padding.

* occlusion: the fall of the score when one token alone is hidden (Zeiler and Fergus 2014, arXiv 1311.2901). It is the
  plain reference: it asks the model itself, and cannot see what two tokens say only together.
* gradients: integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365).
* rollout: attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928) through pooling, gated self-attention and
  cross-attention. It does not know which output is explained, and has no sign.
* gates: the gates of the gated attention, as the model gives them. Not a method of explanation: what one is tempted to
  read as one.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gexsent.explain.target import Target, real, scores_with
from gexsent.explain.trace import OTHER, trace
from gexsent.model import Batch, GEXSent

STEPS = 16  # of the path of integrated gradients
TOKENS = 2**14  # in one pass with gradients, padding included: more gain nothing on a core, and cost memory


def occlusion(model: nn.Module, batch: Batch, target: Target) -> Tensor:
    """score(all tokens) - score(all but this one): signed, in units of the score."""
    there = real(batch)
    rows, places = there.nonzero(as_tuple=True)  # (N,): one variant a real token
    keep = torch.ones(len(rows), there.shape[1], dtype=torch.bool)
    keep[torch.arange(len(rows)), places] = False
    every = torch.arange(len(there))
    whole = scores_with(model, batch, target, every, torch.ones_like(there))
    result = torch.zeros(there.shape)
    result[rows, places] = whole[rows] - scores_with(model, batch, target, rows, keep)
    return result


def integrated_gradients(model: nn.Module, batch: Batch, target: Target, *, steps: int = STEPS) -> Tensor:
    """Sum over features of (x - x0) times the mean gradient from x0 to x: signed, in units of the score.

    x0 is the mean token of training, which is 0 after standardisation, at every real position. The mean gradient is
    taken by Gauss-Legendre quadrature. Relevance sums to score(x) - score(x0) where the score is continuous along the
    path; top-k routing jumps where a token changes its experts, and gradients do not see that (`completeness`).
    """
    moves = [(batch.text - model.text_in.mean).detach(), (batch.vision - model.vision_in.mean).detach()]  # x - x0
    places, weights = _quadrature(steps)
    means = [torch.zeros_like(move) for move in moves]
    size = max(1, TOKENS // real(batch).numel())  # steps of all samples that share a pass
    for place, weight in zip(places.split(size), weights.split(size), strict=True):
        rows = torch.arange(len(batch.text)).repeat(len(place))  # (S B,)
        back = 1 - place.repeat_interleave(len(batch.text))[:, None, None]  # how far each lies from x
        variant = Batch(*(tensor[rows] for tensor in batch))
        inputs = [variant.text - back * moves[0][rows], variant.vision - back * moves[1][rows]]
        inputs = [x.requires_grad_() for x in inputs]
        heads = model(variant._replace(text=inputs[0], vision=inputs[1])).heads
        # Vision that is masked everywhere takes no part in the score.
        found = torch.autograd.grad(target.score(heads, rows).sum(), inputs, allow_unused=True, materialize_grads=True)
        for mean, gradient in zip(means, found, strict=True):
            mean += torch.einsum("s,sbld->bld", weight, gradient.view(len(place), *mean.shape))
    relevance = torch.cat([(mean * move).sum(-1) for mean, move in zip(means, moves, strict=True)], 1)
    return torch.where(real(batch), relevance, 0)


@torch.no_grad()
def completeness(model: nn.Module, batch: Batch, target: Target, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """What integrated gradients should sum to, score(x) - score(x0) (B,), and what they lack of it (B,)."""
    baseline = batch._replace(
        text=model.text_in.mean.expand_as(batch.text), vision=model.vision_in.mean.expand_as(batch.vision)
    )
    change = target.score(model(batch).heads) - target.score(model(baseline).heads)
    return change, change - relevance.sum(1)


def rollout(model: GEXSent, batch: Batch, target: Target | None = None) -> Tensor:
    """Where pooled vectors come from, if every residual sum is half of each side: positive, summing to 1.

    For one modality m, with pool weights p (L,), gated self-attention A (L, L) and cross-attention C (L, M):
    q = p (I + A) / 2 reaches its own tokens by half, and by half, through q C, the tokens of the other modality. Both
    modalities count alike. The experts and the layer that reads a clip's frames in order are taken as passing each token on.
    """
    seen = trace(model, batch)
    own = {m: (seen.pool[m] + torch.einsum("bl,blk->bk", seen.pool[m], seen.attention[m])) / 2 for m in OTHER}
    result = {m: torch.zeros_like(seen.pool[m]) for m in OTHER}
    for m, other in OTHER.items():
        looks = seen.cross[m].sum(-1) > 0  # (B, L): false where the other modality is absent
        result[m] = result[m] + own[m] * torch.where(looks, 0.5, 1.0)
        result[other] = result[other] + torch.einsum("bl,blm->bm", own[m] * 0.5, seen.cross[m])
    both = torch.cat(list(result.values()), 1)
    return both / both.sum(1, keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def gates(model: GEXSent, batch: Batch, target: Target | None = None) -> Tensor:
    """The gates, in (0, 1)."""
    return torch.cat(list(model(batch).gates.values()), 1)


METHODS: dict[str, Callable[..., Tensor]] = {
    "occlusion": occlusion,
    "gradients": integrated_gradients,
    "rollout": rollout,
    "gates": gates,
}


def _quadrature(steps: int) -> tuple[Tensor, Tensor]:
    """Places in (0, 1) and weights that sum to 1, (steps,) each."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return torch.tensor((places + 1) / 2, dtype=torch.float32), torch.tensor(weights / 2, dtype=torch.float32)
