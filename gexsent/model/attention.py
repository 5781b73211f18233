"""Gated attention (GAM): what the other modality says decides how loudly each token speaks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gexsent.model.rows import Rows, readable

SHORT = (
    64  # keys up to which the plain products of a CPU beat its kernel for long sequences (measured: by 2 at 24 keys)
)


class CrossAttention(nn.Module):
    """Attention from the tokens of one modality to those of the other.

    Where the other modality is absent there is one learned "nothing there" token to look at, so that absence is
    something the model knows rather than a division by zero.
    """

    def __init__(self, width: int, *, heads: int):
        super().__init__()
        self.heads = heads
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rows: Rows, other: Tensor, other_mask: Tensor) -> Tensor:
        """Tokens (N, d) of a batch (B, L), the other's (B, M, d), (B, M) -> context (N, d)."""
        absent = ~other_mask.any(1, keepdim=True)  # (B, 1)
        there = Rows(other_mask)
        key, value = self.first_nothing(self.key_value(self.after_nothing(there.pack(other))), there).chunk(2, -1)
        mask = torch.cat([absent, other_mask], 1)  # (B, 1 + M)
        return self.out(rows.pack(attend(rows.pad(self.query(tokens)), key, value, mask, self.heads)))

    def after_nothing(self, other: Tensor) -> Tensor:
        """(N, d) -> (1 + N, d)."""
        return torch.cat([self.nothing.unsqueeze(0).to(other.dtype), other])

    @staticmethod
    def first_nothing(values: Tensor, rows: Rows) -> Tensor:
        """What was computed of `after_nothing`, (1 + N, D) -> (B, 1 + M, D)."""
        return torch.cat([values[:1].expand(len(rows.mask), 1, -1), rows.pad(values[1:])], 1)


class GatedAttention(nn.Module):
    """One block of the GAM for one modality.

    c_t = cross-attention from token t to the other modality; g_t = sigmoid(w . LN(h_t + c_t) + b) in (0, 1);
    self-attention over LN(h + c) whose queries and keys are scaled by g; residual; feed-forward with residual.

    Args:
        width: d of the tokens.
        heads: attention heads, a divisor of d.
        live: gates follow the tokens; else every gate is 1, which is what the gates are worth to the block.
    """

    def __init__(self, width: int, *, heads: int, live: bool = True):
        super().__init__()
        if width % heads:
            raise ValueError(f"attention heads ({heads}) must divide the width ({width})")
        self.heads = heads
        self.norm_in = nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads=heads)
        self.norm_gate = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 1) if live else None
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, d), (B, L), (B, M, d), (B, M) -> tokens (B, L, d) and gates (B, L), 0 at padding."""
        rows = Rows(mask)
        tokens = rows.pack(tokens)  # (N, d)
        tokens = tokens + self.cross(self.norm_in(tokens), rows, other, other_mask)  # h + c
        normed = self.norm_gate(tokens)
        gate = self.gate(normed).sigmoid() if self.gate is not None else torch.ones_like(normed[:, :1])  # (N, 1)
        padded, gate = rows.pad(self.query_key_value(normed)), rows.pad(gate)
        query, key, value = padded.chunk(3, -1)  # (B, L, d)
        # A sample without this modality has nothing to attend to; let it see its own padding, and drop it below.
        visible = mask | ~mask.any(1, keepdim=True)
        tokens = tokens + self.out(rows.pack(attend(query * gate, key * gate, value, visible, self.heads)))
        tokens = tokens + self.feed_forward(tokens)
        return rows.pad(tokens), gate.squeeze(-1)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Multi-head softmax(q k' / sqrt(d_head)) v: (B, L, d), (B, M, d), (B, M, d), keys visible (B, M) -> (B, L, d)."""
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]  # (B, heads, ., d_head)
    if readable(query) and key.shape[1] <= SHORT:
        hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, -torch.inf)  # (B, M)
        flat = [x.flatten(0, 1) for x in split]
        mixed = ShortAttention.apply(*flat, hidden.repeat_interleave(heads, 0).unsqueeze(1)).unflatten(0, (-1, heads))
    else:
        mixed = F.scaled_dot_product_attention(*split, attn_mask=mask[:, None, None, :])
    return mixed.transpose(1, 2).flatten(2)


class ShortAttention(torch.autograd.Function):
    """softmax(q k' / sqrt(d) + hidden) v for one head a row: (R, L, d), (R, M, d), (R, M, d), (R, 1, M) -> (R, L, d).

    The weights are kept for the backward pass and not computed again, as a kernel for long sequences does.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5
        weights = torch.baddbmm(hidden, query, key.transpose(1, 2), alpha=scale).softmax(-1)  # (R, L, M)
        ctx.save_for_backward(query, key, value, weights)
        return torch.bmm(weights, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, weights = ctx.saved_tensors
        to_weights = torch.bmm(grad, value.transpose(1, 2))
        to_scores = (to_weights - (to_weights * weights).sum(-1, keepdim=True)) * weights * query.shape[-1] ** -0.5
        to_value = torch.bmm(weights.transpose(1, 2), grad)
        return torch.bmm(to_scores, key), torch.bmm(to_scores.transpose(1, 2), query), to_value, None
