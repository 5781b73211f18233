"""First baselines: one modality alone, and late fusion of pooled features."""

from collections.abc import Mapping

import torch
from torch import nn

from gexsent.model.batch import Batch, Output, masked_mean
from gexsent.model.parts import AttentionPool, Heads, TokenInput


class Unimodal(nn.Module):
    """Text alone or vision alone: project, pool by one learned query, predict.

    Args:
        modality: "text" or "vision".
        text_features, vision_features, outputs, width, dropout, temporal: as in GEXSent.
    """

    def __init__(
        self,
        *,
        modality: str,
        text_features: int,
        vision_features: int,
        outputs: Mapping[str, int],
        width: int,
        dropout: float,
        temporal: bool,
    ):
        super().__init__()
        self.modality = modality
        features = text_features if modality == "text" else vision_features
        self.tokens_in = TokenInput(features, width, dropout=dropout, temporal=temporal and modality == "vision")
        self.pool = AttentionPool(width)
        self.heads = Heads(width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        tokens, mask = getattr(batch, self.modality), getattr(batch, f"{self.modality}_mask")
        return Output(heads=self.heads(self.pool(self.tokens_in(tokens, mask), mask)))


class LateFusion(nn.Module):
    """LF-DNN: the mean of each modality's tokens through its own network, concatenated, then a joint one.

    Args:
        text_features, vision_features, outputs, width, dropout: as in GEXSent.
    """

    def __init__(
        self, *, text_features: int, vision_features: int, outputs: Mapping[str, int], width: int, dropout: float
    ):
        super().__init__()
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout)
        self.text_net = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout))
        self.vision_net = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout))
        self.heads = Heads(2 * width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text = masked_mean(self.text_in(batch.text, batch.text_mask), batch.text_mask)  # (B, d)
        vision = masked_mean(self.vision_in(batch.vision, batch.vision_mask), batch.vision_mask)  # (B, d)
        return Output(heads=self.heads(torch.cat([self.text_net(text), self.vision_net(vision)], 1)))
