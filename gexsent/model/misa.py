"""MISA: each modality as what it shares with the other and what it alone says.

Source: Hazarika et al. 2020, MISA: Modality-Invariant and -Specific Representations (arXiv 2005.03545), with its losses
and weights. The four vectors are fused by one pre-norm block (the paper's is post-norm), and pooled tokens take the
place of the paper's BERT mean and LSTM states.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexsent.model.batch import Batch, Output, masked_mean
from gexsent.model.mult import Block
from gexsent.model.parts import Heads, TokenInput

WEIGHTS = {"similarity": 1.0, "difference": 0.3, "reconstruction": 1.0}  # the defaults of the authors' code
MOMENTS = 5
FUSION_HEADS = 2  # of the attention over the four vectors, as published


class MISA(nn.Module):
    """Private encoders, one shared encoder, attention over the four vectors, heads.

    Output.losses holds `similarity`, `difference` and `reconstruction`, weighted. Each is over the samples that have the
    modalities it speaks of, and 0 where there are none.

    Args:
        text_features, vision_features, outputs, temporal: as in GEXSent.
        width: d, an even number.
        dropout: on the projected tokens, in the attention block and in the heads.
    """

    def __init__(
        self,
        *,
        text_features: int,
        vision_features: int,
        outputs: Mapping[str, int],
        width: int,
        dropout: float,
        temporal: bool,
    ):
        super().__init__()
        self.text_in = TokenInput(text_features, width, dropout=dropout)
        self.vision_in = TokenInput(vision_features, width, dropout=dropout, temporal=temporal)
        # The norm fixes the scale of what is to be reconstructed: shrinking it to nothing is no way out.
        self.text_net = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width))
        self.vision_net = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width))
        self.text_private = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.vision_private = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.shared = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.text_decoder, self.vision_decoder = nn.Linear(width, width), nn.Linear(width, width)
        self.fusion = Block(width, heads=FUSION_HEADS, dropout=dropout)
        self.heads = Heads(4 * width, width, outputs, dropout=dropout)

    def forward(self, batch: Batch) -> Output:
        text = masked_mean(self.text_in(batch.text, batch.text_mask), batch.text_mask)  # (B, d)
        vision = masked_mean(self.vision_in(batch.vision, batch.vision_mask), batch.vision_mask)  # (B, d)
        text, vision = self.text_net(text), self.vision_net(vision)
        text_private, vision_private = self.text_private(text), self.vision_private(vision)
        text_shared, vision_shared = self.shared(text), self.shared(vision)

        has_text, has_vision = batch.text_mask.any(1), batch.vision_mask.any(1)  # (B,)
        vectors = torch.stack([text_private, vision_private, text_shared, vision_shared], 1)  # (B, 4, d)
        present = torch.stack([has_text, has_vision, has_text, has_vision], 1)  # (B, 4)
        fused = torch.where(present.unsqueeze(-1), self.fusion(vectors, vectors, present), 0)

        both = has_text & has_vision
        text_again = self.text_decoder(text_private + text_shared)
        vision_again = self.vision_decoder(vision_private + vision_shared)
        losses = {
            "similarity": moment_discrepancy(text_shared, vision_shared, both),
            "difference": difference(text_private, text_shared, has_text)
            + difference(vision_private, vision_shared, has_vision)
            + difference(text_private, vision_private, both),
            "reconstruction": (
                _squared_error(text_again, text, has_text) + _squared_error(vision_again, vision, has_vision)
            )
            / 2,
        }
        return Output(
            heads=self.heads(fused.flatten(1)), losses={name: WEIGHTS[name] * loss for name, loss in losses.items()}
        )


def moment_discrepancy(first: Tensor, second: Tensor, there: Tensor) -> Tensor:
    """CMD of two samples (N, d) of vectors in [0, 1]: distance of the means and of the central moments up to the fifth.

    Only the vectors that are `there` (N,) count. Source: Zellinger et al. 2017, Central Moment Discrepancy (arXiv
    1702.08811). No samples: 0.
    """
    first, second = first.float(), second.float()
    first_mean, second_mean = _mean(first, there), _mean(second, there)
    result = torch.linalg.vector_norm(first_mean - second_mean)
    for k in range(2, MOMENTS + 1):
        moments = _mean((first - first_mean) ** k, there), _mean((second - second_mean) ** k, there)
        result = result + torch.linalg.vector_norm(moments[0] - moments[1])  # its gradient at 0 is 0, a root's is NaN
    return result


def difference(first: Tensor, second: Tensor, there: Tensor) -> Tensor:
    """|A'B|² / d² (squared Frobenius norm) of those of (N, d), (N, d) that are `there` (N,): columns centred over the
    samples, rows of unit length.

    The paper writes the plain norm; its code takes the mean over the d² entries, which its weight belongs to.
    """
    # One sample alone, or several alike, centre to rounding noise: eps keeps that from being blown up to unit length.
    first, second = (F.normalize(x - _mean(x, there), dim=1, eps=1e-4) for x in (first.float(), second.float()))
    first = torch.where(there.unsqueeze(1), first, 0)
    return (first.T @ second).float().square().mean()  # a product under autocast comes back as bfloat16


def _squared_error(values: Tensor, targets: Tensor, there: Tensor) -> Tensor:
    return _mean((values.float() - targets.float()).square(), there).mean()


def _mean(values: Tensor, there: Tensor) -> Tensor:
    # (N, d), (N,) -> (d,): over no samples at all the mean is 0, not NaN. What is not there is multiplied away and not
    # left out, or the host would have to wait for a GPU to know how many there are.
    return torch.where(there.unsqueeze(1), values, 0).sum(0) / there.sum().clamp_min(1)
