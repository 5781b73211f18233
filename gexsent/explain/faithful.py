"""Is an explanation true of the model? Hide or show tokens in its order, compare methods, and randomise the weights."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from gexsent.explain.target import Target, real, scores_with
from gexsent.model import Batch, ModelConfig, build

FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of a sample's tokens
DRAWS = 3  # random orders a sample
# From the output down, as Adebayo et al. randomise.
PARTS = ("heads", "pools", "attention", "experts", "inputs")
# Fits are seeded 0, 1, 2, …, and training moves weights so little that a model drawn anew from the seed of a fit is
# almost that model: on the sample their weights correlate by 0.96. Random weights come from seeds that no fit has.
UNUSED = 1_000_000


def curve(model: nn.Module, batch: Batch, target: Target, relevance: Tensor, *, insert: bool = False) -> Tensor:
    """Scores (B, FRACTIONS) as tokens of highest relevance (B, T) are hidden first; or, with `insert`, shown first.

    The more relevant tokens an order takes first, the faster deletion falls and the faster insertion rises (Petsiuk et
    al. 2018, arXiv 1806.07421). Equal relevance is taken in the order of the tokens.
    """
    return curves(model, batch, target, [(relevance, insert)])[0]


def curves(model: nn.Module, batch: Batch, target: Target, orders: Sequence[tuple[Tensor, bool]]) -> Tensor:
    """`curve` of each (relevance, insert), (orders, B, FRACTIONS): all at once, since the orders share many variants."""
    keep = torch.stack([_kept(real(batch), relevance, insert) for relevance, insert in orders])  # (O, B, F, T)
    rows = torch.arange(len(batch.text))[None, :, None].expand(keep.shape[:3])
    return scores_with(model, batch, target, rows.flatten(), keep.flatten(0, 2)).view(keep.shape[:3])


def _kept(there: Tensor, relevance: Tensor, insert: bool) -> Tensor:
    """Tokens (B, FRACTIONS, T) that are shown at each point of a curve."""
    order = torch.where(there, relevance.double(), -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(1)  # (B, T): 0 for the most relevant; padding comes last
    taken = (torch.tensor(FRACTIONS)[None] * there.sum(1, keepdim=True)).round()  # (B, F)
    first = rank[:, None] < taken[..., None]  # (B, F, T)
    return first if insert else ~first


def random_curve(
    model: nn.Module, batch: Batch, target: Target, generator: torch.Generator, *, insert: bool = False
) -> Tensor:
    """The same in random orders: (B, FRACTIONS), the mean over DRAWS orders."""
    orders = [(draw, insert) for draw in random_orders(batch, generator)]
    return curves(model, batch, target, orders).mean(0)


def random_orders(batch: Batch, generator: torch.Generator) -> list[Tensor]:
    """DRAWS times a relevance (B, T) that means nothing.

    Insertion is drawn by itself. A deletion curve read from its end will not do: a fraction of few tokens is rounded,
    and a quarter of fifteen and three quarters of fifteen need not be fifteen.
    """
    return [torch.rand(real(batch).shape, generator=generator) for _ in range(DRAWS)]


def area(curves: Tensor) -> Tensor:
    """(..., FRACTIONS) -> (...): the mean height of a curve, by the trapezoidal rule."""
    return torch.trapezoid(curves, torch.tensor(FRACTIONS), dim=-1)


def agreement(first: Tensor, second: Tensor, there: Tensor) -> np.ndarray:
    """Spearman's correlation of the sizes |relevance| of two methods, for each sample: (B, T) each -> (B,).

    NaN where a sample has fewer than three tokens, or one of the two says the same of all of them.
    """
    mask = there.numpy()
    count = mask.sum(1)
    centred = []
    for values in (first, second):
        ranks = rankdata(np.where(mask, values.abs().numpy(), np.inf), axis=1)  # padding last: it moves no other rank
        mean = (ranks * mask).sum(1, keepdims=True) / np.maximum(count, 1)[:, None]
        centred.append(np.where(mask, ranks - mean, 0))
    product, *squares = ((a * b).sum(1) for a, b in (centred, [centred[0]] * 2, [centred[1]] * 2))
    known = (count > 2) & (squares[0] > 0) & (squares[1] > 0)
    return np.divide(product, np.sqrt(squares[0] * squares[1]), out=np.full(len(mask), np.nan), where=known)


def randomised(model: nn.Module, config: ModelConfig, part: str, *, seed: int) -> nn.Module:
    """A copy whose weights are drawn anew, from the output down to `part` and including it.

    An explanation that stays the same does not depend on what the model has learned (Adebayo et al. 2018, arXiv
    1810.03292). The statistics that tokens are standardised by are kept.
    """
    names = PARTS[: PARTS.index(part) + 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNUSED + seed)
        fresh = dict(build(config).named_parameters())
    result = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in result.named_parameters():
            top = name.split(".")[0]
            if ("inputs" if top in ("text_in", "vision_in") else top) in names:
                weight.copy_(fresh[name])
    return result.eval()
