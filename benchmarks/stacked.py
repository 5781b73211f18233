"""Are seeds faster side by side? The same network for several seeds, one after another or in one stacked computation.

The network has the sizes of text only, without what depends on the data (the packing of tokens), which cannot be stacked.
Every seed has its own weights and its own batch, as in training.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from benchmarks import timing

BASELINE, STACKED = "one after another", "side by side"
SAMPLES, TOKENS, FEATURES, WIDTH, OUTPUTS = 64, 24, 384, 128, 4


class Network(nn.Module):
    """(B, L, D) -> (B, outputs): tokens to a width, their mean, a hidden layer."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.GELU())
        self.heads = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, OUTPUTS))

    def forward(self, batch: Tensor) -> Tensor:
        return self.heads(self.tokens(batch).mean(1))


def steps(seeds: int) -> dict[str, Callable[[], Tensor]]:
    """One training step of all seeds in both ways; each returns the loss of every seed before it."""
    torch.manual_seed(0)
    networks = [Network() for _ in range(seeds)]
    batches = torch.randn(seeds, SAMPLES, TOKENS, FEATURES)
    weights, _ = stack_module_state(networks)
    weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    apart = [torch.optim.AdamW(network.parameters(), fused=True) for network in networks]
    together = torch.optim.AdamW(weights.values(), fused=True)
    stacked = torch.vmap(lambda own, batch: functional_call(networks[0], own, (batch,)), randomness="different")

    def one_after_another() -> Tensor:
        losses = []
        for network, batch, optimizer in zip(networks, batches, apart, strict=True):
            losses.append(network(batch).square().mean())
            optimizer.zero_grad(set_to_none=True)
            losses[-1].backward()
            optimizer.step()
        return torch.stack(losses).detach()

    def side_by_side() -> Tensor:
        losses = stacked(weights, batches).square().mean((1, 2))
        together.zero_grad(set_to_none=True)
        losses.sum().backward()
        together.step()
        return losses.detach()

    return {BASELINE: one_after_another, STACKED: side_by_side}


def measure(*, seeds: Sequence[int], rounds: int, at_least: float) -> dict[str, dict[str, list[float]]]:
    """{number of seeds: {way: seconds of one step of all seeds, a round each}}."""
    return {str(count): timing.times(steps(count), rounds, at_least) for count in seeds}
