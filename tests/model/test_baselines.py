"""One modality alone, and late fusion."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from gexsent.model.baselines import LateFusion, Unimodal

OUTPUTS = {"sentiment": 3, "intensity": 1}
few = settings(max_examples=10, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def unimodal(modality="text", seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"text_features": 6, "vision_features": 5, "outputs": OUTPUTS, "width": 8, "dropout": 0.0}
    return Unimodal(modality=modality, **settings | {"temporal": False} | changes).eval()


def late_fusion(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"text_features": 6, "vision_features": 5, "outputs": OUTPUTS, "width": 8, "dropout": 0.0}
    return LateFusion(**settings | changes).eval()


MODELS = {"text": unimodal, "vision": lambda **changes: unimodal("vision", **changes), "late fusion": late_fusion}


@pytest.mark.parametrize(("modality", "other"), [("text", "vision"), ("vision", "text")])
def test_unimodal_ignores_the_other_modality(make_batch, modality, other):
    model = unimodal(modality)
    batch = make_batch()
    plain = model(batch).heads["sentiment"]
    ruined = batch._replace(**{other: torch.full_like(getattr(batch, other), float("nan"))})
    hidden = batch._replace(**{f"{other}_mask": torch.zeros_like(getattr(batch, f"{other}_mask"))})
    assert torch.equal(model(ruined).heads["sentiment"], plain)
    assert torch.equal(model(hidden).heads["sentiment"], plain)
    changed = batch._replace(**{modality: -getattr(batch, modality)})
    assert not torch.allclose(model(changed).heads["sentiment"], plain, atol=1e-4)


def test_unimodal_pools_by_attention(make_batch, arrays, softmax):
    """Project, score, softmax over the real tokens: the vector that reaches the heads."""
    model, seen = unimodal(), {}
    model.tokens_in.register_forward_hook(lambda _, args, result: seen.__setitem__("tokens", result))
    model.heads.register_forward_pre_hook(lambda _, args: seen.__setitem__("fused", args[0]))
    model(make_batch((3, 1, 0), (1, 1, 1)))
    w = arrays(model.pool)
    for b, length in enumerate((3, 1, 0)):
        tokens = seen["tokens"][b, :length].detach().double().numpy()
        expected = softmax(tokens @ w["score.weight"][0]) @ tokens if length else np.zeros(8)
        np.testing.assert_allclose(seen["fused"][b].detach(), expected, atol=1e-5)


def test_late_fusion_against_plain_numpy(make_batch, shake, arrays, layer_norm, gelu):
    model = shake(late_fusion())
    model.text_in.standardise(torch.linspace(-1, 1, 6), torch.linspace(0.5, 2, 6))
    batch = make_batch((4, 2, 0), (2, 0, 3), extra=2, fill=9.0)
    w = arrays(model)

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    heads = model(batch).heads
    for b in range(3):
        sides = []
        for m in ("text", "vision"):
            tokens = getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy()
            tokens = (tokens - w[f"{m}_in.mean"]) / w[f"{m}_in.deviation"]
            tokens = norm(f"{m}_in.norm", linear(f"{m}_in.project", tokens))
            sides.append(gelu(linear(f"{m}_net.0", tokens.mean(0) if len(tokens) else np.zeros(8))))
        hidden = gelu(linear("heads.hidden.2", norm("heads.hidden.0", np.concatenate(sides))))
        for task, scores in heads.items():
            np.testing.assert_allclose(scores[b].detach(), linear(f"heads.tasks.{task}", hidden), atol=1e-5)


@pytest.mark.parametrize("temporal", [False, True])
def test_only_frames_have_an_order_to_be_read(temporal):
    """The encoder's text tokens know theirs."""
    assert unimodal("text", temporal=temporal).tokens_in.order is None
    assert (unimodal("vision", temporal=temporal).tokens_in.order is not None) is temporal
