"""Small batches and small models, shared by the tests of the models.

The fixtures hand out plain functions, so that property-based tests may call them once per example.
"""

import numpy as np
import pytest
import torch

from gexsent.model import Batch, ModelConfig, attention, build, experts, rows

TEXT_WIDTH, VISION_WIDTH = 6, 5

# Auxiliary losses weigh 1, so that a test reads them as they are.
SMALL = {
    "text_features": TEXT_WIDTH,
    "vision_features": VISION_WIDTH,
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

# Names and shapes as the released training script writes them: 35 FACET features, ModernBERT's 768, three classes.
RELEASED_SHAPES = {
    "image_encoder.lstm.weight_ih_l0": (512, 35),
    "image_encoder.lstm.weight_hh_l0": (512, 128),
    "image_encoder.lstm.bias_ih_l0": (512,),
    "image_encoder.lstm.bias_hh_l0": (512,),
    "image_encoder.lstm.weight_ih_l1": (512, 128),
    "image_encoder.lstm.weight_hh_l1": (512, 128),
    "image_encoder.lstm.bias_ih_l1": (512,),
    "image_encoder.lstm.bias_hh_l1": (512,),
    "image_encoder.fc.weight": (768, 128),
    "image_encoder.fc.bias": (768,),
    **{
        f"experts_{modality}.{layer}.{kind}": shape if kind == "weight" else shape[:1]
        for modality in ("image", "text")
        for layer, shape in {"gate": (10, 768), **{f"expert_nets.{i}": (512, 768) for i in range(10)}}.items()
        for kind in ("weight", "bias")
    },
    "mha.in_proj_weight": (1536, 512),
    "mha.in_proj_bias": (1536,),
    "mha.out_proj.weight": (512, 512),
    "mha.out_proj.bias": (512,),
    "cross_attention.enhance_layer_tg.weight": (512,),
    "cross_attention.enhance_layer_tg.bias": (512,),
    "cross_attention.enhance_layer_ig.weight": (512,),
    "cross_attention.enhance_layer_ig.bias": (512,),
    "cross_attention.mlp_e1.weight": (10, 512),
    "cross_attention.mlp_e1.bias": (10,),
    "cross_attention.mlp_e2.weight": (10, 512),
    "cross_attention.mlp_e2.bias": (10,),
    **{
        f"modified_attn_block.linear_{letter}.{kind}": (512, 512) if kind == "weight" else (512,)
        for letter in "qkv"
        for kind in ("weight", "bias")
    },
    "classifier.weight": (3, 512),
    "classifier.bias": (3,),
}
TEXT_ENCODER = {
    "text_encoder.model.embeddings.tok_embeddings.weight": (11, 768),
    "text_encoder.model.layers.0.attn.Wqkv.weight": (6, 768),
    "text_encoder.model.final_norm.weight": (768,),
}


@pytest.fixture(scope="session")
def make_batch():
    """make(text lengths, vision lengths, seed, extra, fill) -> Batch; length 0 means that the modality is absent.

    `extra` positions of padding are added to both modalities and every padded position holds `fill`. The real tokens
    depend on the seed and the lengths alone.
    """

    def padded(lengths, width, extra, fill, generator):
        longest = max(1, *lengths) + extra
        tokens = torch.full((len(lengths), longest, width), float(fill))
        for row, length in zip(tokens, lengths, strict=True):
            row[:length] = torch.randn(length, width, generator=generator)
        return tokens, torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)

    def make(text=(4, 2, 3), vision=(2, 5, 1), *, seed=0, extra=0, fill=0.0, widths=(TEXT_WIDTH, VISION_WIDTH)):
        generator = torch.Generator().manual_seed(seed)
        sides = [
            padded(lengths, width, extra, fill, generator)
            for lengths, width in zip((text, vision), widths, strict=True)
        ]
        return Batch(*sides[0], *sides[1])

    return make


@pytest.fixture(scope="session")
def shake():
    """Replace every parameter by noise, so that no bias is zero and no scale is one."""

    def shake(module, seed=0, scale=0.5):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        return module

    return shake


@pytest.fixture
def unread(monkeypatch):
    """As on a GPU: no value of a tensor may be looked at."""
    for module in (rows, experts, attention):
        monkeypatch.setattr(module, "readable", lambda tensor: False)


@pytest.fixture(scope="session")
def make_config():
    """A small configuration of any system; keyword arguments replace its values."""

    def make(system="gexsent", **changes):
        return ModelConfig(system=system, **SMALL | changes)

    return make


@pytest.fixture(scope="session")
def make_system(make_config):
    """A small model of any system in evaluation mode; keyword arguments replace its settings."""

    def make(system, seed=0, **changes):
        torch.manual_seed(seed)
        return build(make_config(system, **changes)).eval()

    return make


@pytest.fixture(scope="session")
def make_gexsent(make_system):
    """A small GEXSent, or one of its variants."""

    def make(seed=0, system="gexsent", **changes):
        return make_system(system, seed, **changes)

    return make


@pytest.fixture(scope="session")
def arrays():
    """A module's parameters and buffers as a dict of float64 arrays."""

    def arrays(module):
        return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}

    return arrays


@pytest.fixture(scope="session")
def layer_norm():
    """Layer normalisation over the last axis, written out."""

    def layer_norm(x, weight, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias

    return layer_norm


@pytest.fixture(scope="session")
def softmax():
    """Softmax over the last axis, written out."""

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return softmax


@pytest.fixture(scope="session")
def gelu():
    """x times the standard normal distribution function, written out."""

    def gelu(x):
        return x * 0.5 * (1 + torch.erf(torch.as_tensor(x) / 2**0.5).numpy())

    return gelu


@pytest.fixture(scope="session")
def released_shapes():
    """{name: shape} of the trainable weights in a checkpoint of the released code."""
    return RELEASED_SHAPES


@pytest.fixture(scope="session")
def released_state():
    """Random weights under the released names, the frozen text encoder's among them."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * 1.5 / shape[-1] ** 0.5
        for name, shape in {**RELEASED_SHAPES, **TEXT_ENCODER}.items()
    }
