"""GEXSent: project both modalities, let the experts work on them, join them by gated attention, predict."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gexsent.model.attention import GatedAttention
from gexsent.model.batch import Batch, Output
from gexsent.model.experts import FlatMixture, HierarchicalMixture
from gexsent.model.parts import AttentionPool, Heads, TokenInput

MIXTURES = ("hierarchical", "flat", "dense")


class GEXSent(nn.Module):
    """Hierarchical gated experts over text and vision, joined by gated attention.

    The keyword arguments from `mixture` on take one part away at a time; with their defaults the model is whole.

    Args:
        text_features, vision_features: widths Dt, Dv of the incoming token features.
        outputs: {task: number of outputs}.
        width: d of the model.
        experts, expert_width, top_k: of each expert group.
        attention_heads: a divisor of d.
        dropout: on the projected tokens and in the heads.
        temporal: the visual tokens are frames of a clip.
        balance_weight, z_weight, group_weight: of the auxiliary losses.
        mixture: "hierarchical"; "flat", all experts of the three groups in one, of which a token gets as many as there,
            2 top_k; "dense", one feed-forward network with the weights of them all.
        learned_router, sample_level, shared_group: of the hierarchical mixture, see HierarchicalMixture.
        live_gates: of the gated attention, see GatedAttention.
        attention: else no gated attention at all: the experts' tokens are pooled as they are.
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
        mixture: str = "hierarchical",
        learned_router: bool = True,
        sample_level: bool = True,
        shared_group: bool = True,
        live_gates: bool = True,
        attention: bool = True,
    ):
        super().__init__()
        self.weights = {"balance": balance_weight, "z": z_weight, "group": group_weight}
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout, temporal=temporal)
        match mixture:
            case "hierarchical":
                self.experts = HierarchicalMixture(
                    width,
                    hidden=expert_width,
                    count=experts,
                    top_k=top_k,
                    learned_router=learned_router,
                    sample_level=sample_level,
                    shared_group=shared_group,
                )
            case "flat":
                self.experts = FlatMixture(width, hidden=expert_width, count=3 * experts, top_k=2 * top_k)
            case "dense":
                self.experts = FlatMixture(width, hidden=3 * experts * expert_width, count=1, top_k=1)
            case _:
                raise ValueError(f"mixture must be one of {', '.join(MIXTURES)}, found {mixture!r}")
        modalities = ("text", "vision")
        self.attention = nn.ModuleDict(
            {m: GatedAttention(width, heads=attention_heads, live=live_gates) for m in modalities if attention}
        )
        self.pools = nn.ModuleDict({m: AttentionPool(width) for m in modalities})
        self.heads = Heads(2 * width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        masks = {"text": batch.text_mask, "vision": batch.vision_mask}
        text = self.text_in(batch.text, batch.text_mask)  # (B, Lt, d)
        vision = self.vision_in(batch.vision, batch.vision_mask)  # (B, Lv, d)
        mixed = self.experts(text, batch.text_mask, vision, batch.vision_mask)
        tokens = {"text": mixed.text, "vision": mixed.vision}
        tokens, gates = self._attend(tokens, masks)
        fused = torch.cat([pool(tokens[m], masks[m], gates[m]) for m, pool in self.pools.items()], 1)  # (B, 2d)
        return Output(
            heads=self.heads(fused),
            losses={name: self.weights[name] * loss for name, loss in mixed.losses.items()},
            gates=gates,
            shares=mixed.shares,
            usage=mixed.usage,
        )

    def _attend(self, tokens: dict[str, Tensor], masks: dict[str, Tensor]) -> tuple[dict, dict]:
        if not self.attention:
            return tokens, {m: mask.to(tokens[m].dtype) for m, mask in masks.items()}
        # Each side reads the other as it left the experts, so that neither modality comes first.
        both = {
            m: self.attention[m](tokens[m], masks[m], tokens[other], masks[other])
            for m, other in (("text", "vision"), ("vision", "text"))
        }
        return {m: result for m, (result, _) in both.items()}, {m: gate for m, (_, gate) in both.items()}
