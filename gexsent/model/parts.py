"""Parts that GEXSent and the baselines share: token input and heads."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gexsent.model.batch import masked_mean
from gexsent.model.rows import Rows


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
        rows = Rows(mask)
        hidden = self.norm(self.project((rows.pack(tokens) - self.mean) / self.deviation))  # (N, d)
        hidden = self.dropout(rows.pad(hidden))
        return hidden if self.order is None else hidden + self._in_order(hidden, mask)

    def _in_order(self, hidden: Tensor, mask: Tensor) -> Tensor:
        # Real frames first, in their order: a mask has holes where training hides frames. A pass forwards then reads
        # padding last, where it changes nothing; the pass backwards does too, as one forwards over turned frames. So
        # no length has to be known, as it would to pack them, for which a GPU would have to be waited for.
        order = (~mask).long().argsort(dim=1, stable=True).unsqueeze(-1)  # (B, L, 1)
        place = torch.arange(mask.shape[1], device=mask.device)
        turned = (mask.sum(1, keepdim=True) - 1 - place).unsqueeze(-1)  # (B, L, 1), negative at padding
        turned = torch.where(turned < 0, place.unsqueeze(-1), turned)
        first = hidden.take_along_dim(order, 1)
        forwards, backwards = self.order.all_weights
        read = [self._read(first, forwards), self._read(first.take_along_dim(turned, 1), backwards)]
        read = torch.cat([read[0], read[1].take_along_dim(turned, 1)], -1)
        return torch.where(mask.unsqueeze(-1), read.take_along_dim(order.argsort(dim=1, stable=True), 1), 0)

    def _read(self, tokens: Tensor, weights: list[Tensor]) -> Tensor:
        """(B, L, d) -> (B, L, d / 2): one direction of the GRU."""
        start = tokens.new_zeros(1, len(tokens), self.order.hidden_size)
        return torch.gru(tokens, start, weights, True, 1, 0.0, self.training, False, True)[0]


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
