"""Parts that GEXSent and the baselines share: token input and heads."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gexsent.model.batch import masked_mean


class TokenInput(nn.Module):
    """Standardise, project to the model's width and, for frames of a clip, read them in order.

    The mean and deviation are buffers, set once from the training tokens (`standardise`) and saved with the weights.

    Args:
        features: width D of the incoming token features.
        width: width d of the model.
        dropout: on the projected tokens.
        temporal: add a bidirectional GRU over the true length: for frames of a clip, whose order means something.
    """

    def __init__(self, features: int, width: int, *, dropout: float, temporal: bool = False):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.project = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.order = nn.GRU(width, width // 2, batch_first=True, bidirectional=True) if temporal else None

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics (D,) of the training tokens. A constant feature keeps deviation 1."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D), (B, L) -> (B, L, d), zeros at padding."""
        tokens = torch.where(mask.unsqueeze(-1), (tokens - self.mean) / self.deviation, 0)  # (B, L, D)
        hidden = self.dropout(self.norm(self.project(tokens)))  # (B, L, d)
        if self.order is not None:
            hidden = hidden + self._in_order(hidden, mask)
        return torch.where(mask.unsqueeze(-1), hidden, 0)

    def _in_order(self, hidden: Tensor, mask: Tensor) -> Tensor:
        # Real frames first, in their order: a mask has holes where training hides frames; packing knows lengths only.
        # An absent clip has length 0, which packing refuses: it is read as one padded step and zeroed by the caller.
        order = (~mask).long().argsort(dim=1, stable=True).unsqueeze(-1)  # (B, L, 1)
        lengths = mask.sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(hidden.take_along_dim(order, 1), lengths, batch_first=True, enforce_sorted=False)
        read = pad_packed_sequence(self.order(packed)[0], batch_first=True, total_length=hidden.shape[1])[0]
        return read.take_along_dim(order.argsort(1), 1)


class AttentionPool(nn.Module):
    """One learned query, and gates that say how loudly each token may answer it."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)  # softmax would not see a bias

    def forward(self, tokens: Tensor, mask: Tensor, gates: Tensor | None = None) -> Tensor:
        """(B, L, d), (B, L), gates (B, L) or none -> (B, d); zeros where there is no token."""
        weights = self.score(tokens).squeeze(-1).masked_fill(~mask, -1e4).softmax(1)  # (B, L)
        return masked_mean(tokens, mask, weights if gates is None else weights * gates)


class Heads(nn.Module):
    """A shared hidden layer, then one linear layer a task.

    Args:
        features: width of the fused representation.
        width: of the hidden layer.
        outputs: {task: number of outputs}, any subset of the tasks.
        dropout: before and after the hidden layer.
    """

    def __init__(self, features: int, width: int, outputs: Mapping[str, int], *, dropout: float):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.LayerNorm(features), nn.Dropout(dropout), nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout)
        )
        self.tasks = nn.ModuleDict({task: nn.Linear(width, count) for task, count in outputs.items()})

    def forward(self, fused: Tensor) -> dict[str, Tensor]:
        """(B, features) -> {task: (B, outputs)}."""
        hidden = self.hidden(fused)
        return {task: head(hidden) for task, head in self.tasks.items()}

    @torch.no_grad()
    def shift(self, shifts: Mapping[str, Tensor]) -> None:
        """Add {task: (outputs,)} to what these heads give from now on."""
        for task, value in shifts.items():
            self.tasks[task].bias += value.to(self.tasks[task].bias)
