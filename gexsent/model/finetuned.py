"""GEXSent on a text encoder whose top layers learn with it."""

from typing import Any

import torch
from torch import nn

from gexsent.model.batch import Batch, Output
from gexsent.model.gexsent import GEXSent


class FineTuned(GEXSent):
    """GEXSent, with layers between it and the incoming text tokens that are trained along.

    Before the first step it computes what GEXSent computes on the frozen encoder's states.

    Args:
        text_layers: states (B, L, D) and mask (B, L) with at least one True a row -> states (B, L, D); its `description`
            is what JSON can hold and says how to build it again. The batch's text is what enters it.
        sizes: as in GEXSent.
    """

    def __init__(self, *, text_layers: nn.Module, **sizes: Any):
        super().__init__(**sizes)
        self.text_layers = text_layers

    def forward(self, batch: Batch) -> Output:
        # A sample without text has nothing to attend to; one padded position keeps its softmax finite, and is not read.
        first = torch.arange(batch.text_mask.shape[1], device=batch.text_mask.device) == 0
        mask = batch.text_mask | (first & ~batch.text_mask.any(1, keepdim=True))  # (B, L)
        return super().forward(batch._replace(text=self.text_layers(batch.text, mask)))
