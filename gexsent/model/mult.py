"""MulT for two modalities: each reads the other token by token, without alignment, then itself.

Source: Tsai et al. 2019, Multimodal Transformer for Unaligned Multimodal Language Sequences (arXiv 1906.00295). One
block each way instead of several, and a learned pooling in place of the last token, which is padding in most samples. No
positions are added: the encoders' tokens carry theirs, and frames pass the temporal encoder.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gexsent.model.attention import attend
from gexsent.model.batch import Batch, Output
from gexsent.model.parts import AttentionPool, Heads, TokenInput


class Block(nn.Module):
    """A pre-norm transformer block: x + attention(LN(x) to LN(source)), then x + FFN(LN(x)).

    Crossmodal when the source is the other modality, self-attention when it is the tokens themselves. Where a sample has
    no source, the attention adds nothing.

    Args:
        width: d of tokens and source.
        heads: attention heads, a divisor of d.
        dropout: on what each half adds.
    """

    def __init__(self, width: int, *, heads: int, dropout: float):
        super().__init__()
        if width % heads:
            raise ValueError(f"attention heads ({heads}) must divide the width ({width})")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """(B, L, d), (B, M, d), (B, M) -> (B, L, d)."""
        present = source_mask.any(1, keepdim=True)  # (B, 1)
        key, value = self.key_value(self.norm(source)).chunk(2, -1)
        # A softmax over nothing is NaN in some kernels: an absent source is seen here and dropped in the next line.
        heard = self.out(attend(self.query(self.norm(tokens)), key, value, source_mask | ~present, self.heads))
        tokens = tokens + self.dropout(torch.where(present.unsqueeze(-1), heard, 0))
        return tokens + self.feed_forward(tokens)


class MulT(nn.Module):
    """Crossmodal block, self-attention block and pooling for each modality; the heads read both.

    Args:
        text_features, vision_features, outputs, width, attention_heads, temporal: as in GEXSent.
        dropout: on the projected tokens, in the blocks and in the heads.
    """

    def __init__(
        self,
        *,
        text_features: int,
        vision_features: int,
        outputs: Mapping[str, int],
        width: int,
        attention_heads: int,
        dropout: float,
        temporal: bool,
    ):
        super().__init__()
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout, temporal=temporal)
        self.text_from_vision = Block(width, heads=attention_heads, dropout=dropout)
        self.vision_from_text = Block(width, heads=attention_heads, dropout=dropout)
        self.text_self = Block(width, heads=attention_heads, dropout=dropout)
        self.vision_self = Block(width, heads=attention_heads, dropout=dropout)
        self.text_pool, self.vision_pool = AttentionPool(width), AttentionPool(width)
        self.heads = Heads(2 * width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text_in = self.text_in(batch.text, batch.text_mask)  # (B, Lt, d)
        vision_in = self.vision_in(batch.vision, batch.vision_mask)  # (B, Lv, d)
        text = self.text_from_vision(text_in, vision_in, batch.vision_mask)
        vision = self.vision_from_text(vision_in, text_in, batch.text_mask)
        text = self.text_pool(self.text_self(text, text, batch.text_mask), batch.text_mask)  # (B, d)
        vision = self.vision_pool(self.vision_self(vision, vision, batch.vision_mask), batch.vision_mask)  # (B, d)
        return Output(heads=self.heads(torch.cat([text, vision], 1)))
