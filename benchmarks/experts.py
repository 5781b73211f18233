"""The experts of one group, computed in four ways that give the same result.

"every token" is the baseline: every expert computes every token, and where it was not chosen its result counts for 0. It
is what a first implementation does, and the oracle of the tests. "stacked" does the same work as one product over the
weights of all experts. "chosen tokens" goes through the experts one by one and picks out the tokens that chose each, as
many published mixtures do. "sorted" is what `ExpertGroup` does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import timing
from gexsent.model.experts import ExpertGroup
from gexsent.training.device import pick_device

BASELINE, OURS = "every token", "sorted"
TOKENS, WIDTH, HIDDEN = 1536, 128, 128  # 64 texts of 24 words, and the sizes of params.yaml


def routing(group: ExpertGroup, tokens: Tensor) -> Tensor:
    """(N, d) -> weights (N, E), 0 for the experts that were not chosen."""
    top, chosen = group.router(tokens).float().softmax(-1).topk(group.top_k, -1)
    weights = torch.zeros(len(tokens), group.count, device=tokens.device)
    return weights.scatter(1, chosen, top / top.sum(-1, keepdim=True)).to(tokens.dtype)


def every_token(group: ExpertGroup, tokens: Tensor) -> Tensor:
    weights = routing(group, tokens)
    return sum(weights[:, i, None] * group.expert(i, tokens) for i in range(group.count))


def stacked(group: ExpertGroup, tokens: Tensor) -> Tensor:
    value, gate = (torch.einsum("nd,edh->enh", tokens, group.w_in) + group.b_in[:, None]).chunk(2, -1)
    results = torch.einsum("enh,ehd->end", value * F.gelu(gate), group.w_out) + group.b_out[:, None]
    return torch.einsum("ne,end->nd", routing(group, tokens), results)


def chosen_tokens(group: ExpertGroup, tokens: Tensor) -> Tensor:
    weights, result = routing(group, tokens), torch.zeros_like(tokens)
    for i in range(group.count):
        rows = weights[:, i].nonzero()[:, 0]
        result = result.index_add(0, rows, weights[rows, i, None] * group.expert(i, tokens[rows]))
    return result


def in_sorted_rows(group: ExpertGroup, tokens: Tensor) -> Tensor:
    return group(tokens).tokens


WAYS = {BASELINE: every_token, "stacked": stacked, "chosen tokens": chosen_tokens, OURS: in_sorted_rows}


def step(compute, group: ExpertGroup, tokens: Tensor) -> None:
    """Forward and backward, as in training."""
    group.zero_grad()
    compute(group, tokens).square().mean().backward()


def group_of(count: int, top_k: int, *, tokens: int = TOKENS) -> tuple[ExpertGroup, Tensor]:
    """A fresh group, and tokens for it."""
    torch.manual_seed(0)
    group = ExpertGroup(WIDTH, hidden=HIDDEN, count=count, top_k=top_k).to(pick_device())
    return group, torch.randn(tokens, WIDTH, device=pick_device())


def measure(*, counts: Sequence[int], top_k: int, rounds: int, at_least: float) -> dict[str, dict[str, list[float]]]:
    """{number of experts: {way: seconds of one step, a round each}}."""
    found = {}
    for count in counts:
        group, tokens = group_of(count, top_k)
        calls = {name: lambda way=way, g=group, t=tokens: step(way, g, t) for name, way in WAYS.items()}
        found[str(count)] = timing.times(calls, rounds, at_least)
    return found
