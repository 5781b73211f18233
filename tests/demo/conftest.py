"""Untrained models with the tiny encoders."""

import pytest
import torch
from PIL import Image

from gexsent.datasets import SPOKEN
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.model import ModelConfig, build
from gexsent.predictor import Predictor


@pytest.fixture(scope="session")
def make_model():
    """A predictor whose weights are noise, so that each word and each picture moves its answers."""
    text, vision = load_text_encoder("tiny-modernbert", max_tokens=64), load_vision_encoder("tiny-clip")

    def make(tasks=SPOKEN, *, system="gexsent", temporal=False, text=text, vision=vision):
        config = ModelConfig(
            system=system, text_features=64, vision_features=64, outputs={task.name: task.outputs for task in tasks},
            width=8, experts=2, expert_width=8, top_k=1, attention_heads=2, dropout=0.0, balance_weight=0.0,
            z_weight=0.0, group_weight=0.0, temporal=temporal, frames=2,
        )  # fmt: skip
        model, generator = build(config), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        return Predictor(model, config, tasks, text, vision, 2)

    return make


@pytest.fixture(scope="session")
def model(make_model):
    return make_model()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "orange.png"
    Image.new("RGB", (64, 48), "orange").save(path)
    return str(path)
