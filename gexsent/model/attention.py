"""Gated attention (GAM): what the other modality says decides how loudly each token speaks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def forward(self, tokens: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """(B, L, d), (B, M, d), (B, M) -> context (B, L, d)."""
        absent = ~other_mask.any(1, keepdim=True)  # (B, 1)
        nothing = self.nothing.expand(len(other), 1, -1).to(other.dtype)
        other = torch.cat([nothing, other], 1)  # (B, 1 + M, d)
        mask = torch.cat([absent, other_mask], 1)  # (B, 1 + M)
        key, value = self.key_value(other).chunk(2, -1)
        return self.out(attend(self.query(tokens), key, value, mask, self.heads))


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
        tokens = tokens + self.cross(self.norm_in(tokens), other, other_mask)  # h + c
        normed = self.norm_gate(tokens)
        gate = self.gate(normed).sigmoid() if self.gate is not None else torch.ones_like(normed[..., :1])  # (B, L, 1)
        query, key, value = self.query_key_value(normed).chunk(3, -1)
        # A sample without this modality has nothing to attend to; let it see its own padding, and drop it below.
        visible = mask | ~mask.any(1, keepdim=True)
        mixed = attend(query * gate, key * gate, value, visible, self.heads)
        tokens = tokens + self.out(mixed)
        tokens = tokens + self.feed_forward(tokens)
        return torch.where(mask.unsqueeze(-1), tokens, 0), gate.squeeze(-1) * mask


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Multi-head softmax(q k' / sqrt(d_head)) v: (B, L, d), (B, M, d), (B, M, d), keys visible (B, M) -> (B, L, d)."""
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]  # (B, heads, ., d_head)
    mixed = F.scaled_dot_product_attention(*split, attn_mask=mask[:, None, None, :])
    return mixed.transpose(1, 2).flatten(2)
