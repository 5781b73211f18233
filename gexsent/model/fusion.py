"""Fusion by products: TFN multiplies every feature of one modality with every one of the other, LMF does it cheaply.

Sources: Zadeh et al. 2017, Tensor Fusion Network (arXiv 1707.07250); Liu et al. 2018, Efficient Low-rank Multimodal
Fusion (1806.00064). Both pool a modality to one vector first, and both put a 1 before it: the product then holds each
modality's own features beside the pairs. Where a modality is absent its vector is 0, which leaves the other's features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gexsent.model.batch import Batch, Output, masked_mean
from gexsent.model.parts import Heads, TokenInput

# The product has (1 + 32)^2 = 1,089 entries; at the model's own width, 128 or 256, the layer that reads them would hold
# most of the weights. The published models choose such sizes too. LMF keeps it, so that only the fusion differs.
EMBEDDING = 32
RANK = 4  # of LMF's factors; the paper reports that so low a rank suffices


class OneAndPooled(nn.Module):
    """The mean of a modality's tokens through a small net, after a 1: (B, L, d), (B, L) -> (B, 1 + 32)."""

    def __init__(self, width: int, *, dropout: float):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, EMBEDDING), nn.GELU(), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        pooled = self.net(masked_mean(tokens, mask)) * mask.any(1, keepdim=True)  # (B, 32)
        return torch.cat([torch.ones_like(pooled[:, :1]), pooled], 1)


class LowRank(nn.Module):
    """A linear layer on the outer product, without bias, its weights a sum of `RANK` products of two factors.

    W[i, j, o] = sum over r of text[r, i, o] * vision[r, j, o]; the ones before the vectors make W[0, 0] the bias.
    """

    def __init__(self, features: int, width: int):
        super().__init__()
        self.text = nn.Parameter(torch.randn(RANK, features, width) * features**-0.5)
        self.vision = nn.Parameter(torch.randn(RANK, features, width) * features**-0.5)

    def forward(self, text: Tensor, vision: Tensor) -> Tensor:
        """(B, features), (B, features) -> (B, width)."""
        return (torch.einsum("bi,rio->rbo", text, self.text) * torch.einsum("bj,rjo->rbo", vision, self.vision)).sum(0)


class TFN(nn.Module):
    """Tensor fusion: the heads read the whole outer product of [1; text] and [1; vision].

    Args:
        text_features, vision_features, outputs, width, dropout: as in LateFusion.
    """

    def __init__(
        self, *, text_features: int, vision_features: int, outputs: Mapping[str, int], width: int, dropout: float
    ):
        super().__init__()
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout)
        self.text_net = OneAndPooled(width, dropout=dropout)
        self.vision_net = OneAndPooled(width, dropout=dropout)
        self.heads = Heads((1 + EMBEDDING) ** 2, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text = self.text_net(self.text_in(batch.text, batch.text_mask), batch.text_mask)  # (B, 33)
        vision = self.vision_net(self.vision_in(batch.vision, batch.vision_mask), batch.vision_mask)  # (B, 33)
        product = torch.einsum("bi,bj->bij", text, vision)  # (B, 33, 33)
        return Output(heads=self.heads(product.flatten(1)))


class LMF(nn.Module):
    """Low-rank fusion: a linear layer on TFN's outer product, computed from its factors, then the heads.

    Args:
        text_features, vision_features, outputs, width, dropout: as in LateFusion.
    """

    def __init__(
        self, *, text_features: int, vision_features: int, outputs: Mapping[str, int], width: int, dropout: float
    ):
        super().__init__()
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout)
        self.text_net = OneAndPooled(width, dropout=dropout)
        self.vision_net = OneAndPooled(width, dropout=dropout)
        self.fusion = LowRank(1 + EMBEDDING, width)
        self.heads = Heads(width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text = self.text_net(self.text_in(batch.text, batch.text_mask), batch.text_mask)  # (B, 33)
        vision = self.vision_net(self.vision_in(batch.vision, batch.vision_mask), batch.vision_mask)  # (B, 33)
        return Output(heads=self.heads(self.fusion(text, vision)))
