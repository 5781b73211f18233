"""A small GEXSent whose weights are noise, so that nothing in it is zero, one or even by chance of its first values."""

import pytest
import torch
from torch import nn

from gexsent.model import Batch, ModelConfig, Output, build

SMALL = {
    "text_features": 6,
    "vision_features": 5,
    "outputs": {"sentiment": 3, "intensity": 1},
    "width": 8,
    "experts": 3,
    "expert_width": 4,
    "top_k": 2,
    "attention_heads": 2,
    "dropout": 0.0,
    "balance_weight": 1.0,
    "z_weight": 1.0,
    "group_weight": 1.0,
    "temporal": False,
    "frames": 4,
}


class Linear(nn.Module):
    """Intensity: the sum over real tokens of w . x. Everything about it is known."""

    def __init__(self):
        super().__init__()
        self.text_in, self.vision_in = nn.Module(), nn.Module()
        self.text_in.mean, self.vision_in.mean = torch.full((6,), 0.2), torch.zeros(5)
        self.text_weight, self.vision_weight = torch.arange(6.0) - 1, torch.arange(5.0)

    def parts(self, batch):
        text = (batch.text @ self.text_weight) * batch.text_mask
        return torch.cat([text, (batch.vision @ self.vision_weight) * batch.vision_mask], 1)

    def forward(self, batch):
        return Output(heads={"intensity": self.parts(batch).sum(1, keepdim=True)}, losses={})


@pytest.fixture
def linear():
    return Linear()


@pytest.fixture
def config():
    return ModelConfig(system="gexsent", **SMALL)


@pytest.fixture
def make_model():
    def make(**changes):
        model = build(ModelConfig(system="gexsent", **SMALL | changes)).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
            model.text_in.mean.copy_(torch.randn(model.text_in.mean.shape, generator=generator) * 0.3)
        return model

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def batch():
    """Three samples: of both modalities, of text alone, and of vision alone."""
    generator = torch.Generator().manual_seed(1)
    masks = [torch.arange(5) < torch.tensor(lengths)[:, None] for lengths in ([4, 5, 0], [3, 0, 5])]
    text, vision = torch.randn(3, 5, 6, generator=generator), torch.randn(3, 5, 5, generator=generator)
    return Batch(text, masks[0], vision, masks[1])
