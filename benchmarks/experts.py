"""How fast the experts are, as ratios to a named baseline in the same run. Run with `make bench`.

Baseline, "loop": every expert computes every token, and the tokens that did not choose it are multiplied by 0. It is what
a first implementation does, and the oracle of the tests.
Others: "batched", one product over the stacked weights of all experts, still E / k times too much work; "sorted", what
`ExpertGroup` does: tokens sorted by expert, each computed k times.
"""

import argparse

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.benchmark import Timer

from gexsent.model.experts import ExpertGroup
from gexsent.training.device import pick_device

SIZES = (
    (1024, 128, 128, 4, 2),
    (1024, 256, 256, 8, 2),
    (4096, 256, 256, 16, 2),
)  # tokens, width, hidden, experts, top-k


def routing(group: ExpertGroup, tokens: Tensor) -> Tensor:
    """(N, d) -> weights (N, E), 0 for the experts that were not chosen."""
    top, chosen = group.router(tokens).float().softmax(-1).topk(group.top_k, -1)
    weights = torch.zeros(len(tokens), group.count, device=tokens.device)
    return weights.scatter(1, chosen, top / top.sum(-1, keepdim=True)).to(tokens.dtype)


def loop(group: ExpertGroup, tokens: Tensor) -> Tensor:
    weights = routing(group, tokens)
    return sum(weights[:, i, None] * group.expert(i, tokens) for i in range(group.count))


def batched(group: ExpertGroup, tokens: Tensor) -> Tensor:
    value, gate = (torch.einsum("nd,edh->enh", tokens, group.w_in) + group.b_in[:, None]).chunk(2, -1)
    results = torch.einsum("enh,ehd->end", value * F.gelu(gate), group.w_out) + group.b_out[:, None]
    return torch.einsum("ne,end->nd", routing(group, tokens), results)


def by_sorting(group: ExpertGroup, tokens: Tensor) -> Tensor:
    return group(tokens).tokens


def step(compute, group: ExpertGroup, tokens: Tensor) -> None:
    """Forward and backward, as in training."""
    group.zero_grad()
    compute(group, tokens).square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each measurement")
    seconds = parser.parse_args().seconds
    device = pick_device()
    torch.set_num_threads(1)  # as the training processes do
    name = torch.cuda.get_device_name() if device == "cuda" else "one CPU thread"
    print(f"forward and backward of one expert group on {name}, torch {torch.__version__}")
    for count, width, hidden, experts, top_k in SIZES:
        torch.manual_seed(0)
        group = ExpertGroup(width, hidden=hidden, count=experts, top_k=top_k).to(device)
        tokens = torch.randn(count, width, device=device)
        print(f"\n{count} tokens, width {width}, {experts} experts of {hidden}, top {top_k}")
        expected, base = loop(group, tokens), None
        for compute in (loop, batched, by_sorting):
            torch.testing.assert_close(compute(group, tokens), expected, atol=1e-3, rtol=1e-3)  # the same result
            timer = Timer(
                "step(compute, group, tokens)", globals={**globals(), **locals()}, num_threads=torch.get_num_threads()
            )
            median = timer.blocked_autorange(min_run_time=seconds).median
            base = base or median
            label = {"loop": "loop (baseline)", "by_sorting": "sorted (ours)"}.get(compute.__name__, compute.__name__)
            print(f"  {label:16} {1000 * median:9.2f} ms   {base / median:5.2f} x the baseline's speed")


if __name__ == "__main__":
    main()
