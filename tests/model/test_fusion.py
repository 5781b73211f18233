"""Tensor fusion and its low-rank version."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from gexsent.model import Batch
from gexsent.model.fusion import EMBEDDING, LMF, RANK, TFN, LowRank

OUTPUTS = {"sentiment": 3, "intensity": 1}
MODELS = (TFN, LMF)
few = settings(max_examples=10, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def small(model, seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"text_features": 6, "vision_features": 5, "outputs": OUTPUTS, "width": 8, "dropout": 0.0}
    return model(**settings | changes).eval()


@pytest.fixture
def pooled(layer_norm, gelu):
    """[1; z] of one modality of one sample, from its real tokens, written out."""

    def pooled(w, modality, tokens):
        if not len(tokens):
            return np.eye(1 + EMBEDDING)[0]
        tokens = (tokens - w[f"{modality}_in.mean"]) / w[f"{modality}_in.deviation"]
        tokens = tokens @ w[f"{modality}_in.project.weight"].T + w[f"{modality}_in.project.bias"]
        tokens = layer_norm(tokens, w[f"{modality}_in.norm.weight"], w[f"{modality}_in.norm.bias"])
        z = gelu(tokens.mean(0) @ w[f"{modality}_net.net.0.weight"].T + w[f"{modality}_net.net.0.bias"])
        return np.array([1.0, *z])

    return pooled


@pytest.mark.parametrize("kind", MODELS)
def test_scores_against_explicit_loops(make_batch, shake, arrays, layer_norm, gelu, pooled, kind):
    """TFN reads every product of two features. LMF contracts the same products with its full weight tensor."""
    model = shake(small(kind))
    model.text_in.standardise(torch.linspace(-1, 1, 6), torch.linspace(0.5, 2, 6))
    model.vision_in.standardise(torch.linspace(1, 0, 5), torch.linspace(2, 0.5, 5))
    batch = make_batch((4, 2, 0, 0), (2, 0, 3, 0), extra=2, fill=9.0)
    w = arrays(model)
    heads = model(batch).heads
    for b in range(4):
        text, vision = (
            pooled(w, m, getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy())
            for m in ("text", "vision")
        )
        if kind is TFN:
            fused = np.array([x * y for x in text for y in vision])
        else:
            fused = np.zeros(8)
            for i, x in enumerate(text):
                for j, y in enumerate(vision):
                    weight = sum(w["fusion.text"][r, i] * w["fusion.vision"][r, j] for r in range(RANK))
                    fused += weight * x * y
        hidden = layer_norm(fused, w["heads.hidden.0.weight"], w["heads.hidden.0.bias"])
        hidden = gelu(hidden @ w["heads.hidden.2.weight"].T + w["heads.hidden.2.bias"])
        for task, scores in heads.items():
            expected = hidden @ w[f"heads.tasks.{task}.weight"].T + w[f"heads.tasks.{task}.bias"]
            np.testing.assert_allclose(scores[b].detach(), expected, atol=1e-4, rtol=1e-4)


def test_low_rank_needs_fewer_weights_than_its_tensor_and_has_rank_four():
    torch.manual_seed(0)
    fusion = LowRank(33, 8)
    tensor = torch.einsum("rio,rjo->ijo", fusion.text, fusion.vision)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 2 * RANK * 33 * 8 < tensor.numel()
    assert torch.linalg.matrix_rank(tensor.permute(2, 0, 1)).tolist() == [4] * 8


@pytest.mark.parametrize("kind", MODELS)
def test_each_modality_acts_alone_and_on_the_other(make_batch, kind):
    """What vision adds depends on the text: a sum of two parts, which late pooling could give, would not."""
    seen = []
    model = small(kind)
    model.heads.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    a, b = make_batch(seed=0), make_batch(seed=1)
    for text, vision in ((a, a), (a, b), (b, a), (b, b)):
        model(Batch(text.text, text.text_mask, vision.vision, vision.vision_mask))
    aa, ab, ba, bb = seen
    for change in (aa - ab, aa - ba, aa - ab - ba + bb):
        assert change.abs().max() > 1e-3
