"""GEXSent as its description promises: projected tokens -> H-GMoE -> GAM -> gate-weighted pooling -> heads."""

from collections.abc import Mapping

import torch
from torch import nn

from gexsent.model.attention import GatedAttention
from gexsent.model.batch import Batch, Output, masked_mean
from gexsent.model.experts import HierarchicalMixture
from gexsent.model.parts import Heads, TokenInput


class GEXSent(nn.Module):
    """Hierarchical gated experts over text and vision, joined by gated attention.

    Args:
        text_features, vision_features: widths Dt, Dv of the incoming token features.
        outputs: {task: number of outputs}.
        width: d of the model.
        experts, expert_width, top_k: of each expert group.
        attention_heads: a divisor of d.
        dropout: on the projected tokens and in the heads.
        temporal: the visual tokens are frames of a clip.
        balance_weight, z_weight, group_weight: of the auxiliary losses.
    """

    def __init__(
        self,
        *,
        text_features: int,
        vision_features: int,
        outputs: Mapping[str, int],
        width: int,
        experts: int,
        expert_width: int,
        top_k: int,
        attention_heads: int,
        dropout: float,
        temporal: bool,
        balance_weight: float,
        z_weight: float,
        group_weight: float,
    ):
        super().__init__()
        self.weights = {"balance": balance_weight, "z": z_weight, "group": group_weight}
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout, temporal=temporal)
        self.experts = HierarchicalMixture(width, hidden=expert_width, count=experts, top_k=top_k)
        self.text_attention = GatedAttention(width, heads=attention_heads)
        self.vision_attention = GatedAttention(width, heads=attention_heads)
        self.heads = Heads(2 * width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text = self.text_in(batch.text, batch.text_mask)  # (B, Lt, d)
        vision = self.vision_in(batch.vision, batch.vision_mask)  # (B, Lv, d)
        mixed = self.experts(text, batch.text_mask, vision, batch.vision_mask)
        # Each side reads the other as it left the experts, so that neither modality comes first.
        text, text_gate = self.text_attention(mixed.text, batch.text_mask, mixed.vision, batch.vision_mask)
        vision, vision_gate = self.vision_attention(mixed.vision, batch.vision_mask, mixed.text, batch.text_mask)
        fused = torch.cat(
            [masked_mean(text, batch.text_mask, text_gate), masked_mean(vision, batch.vision_mask, vision_gate)], 1
        )  # (B, 2d)
        return Output(
            heads=self.heads(fused),
            losses={name: self.weights[name] * loss for name, loss in mixed.losses.items()},
            gates={"text": text_gate, "vision": vision_gate},
            shares=mixed.shares,
            usage=mixed.usage,
        )
