"""One modality alone, and late fusion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model import Batch
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


def test_temporal_reads_the_order_of_frames(make_batch):
    """Of frames alone: the encoder's text tokens know their order."""
    batch = make_batch((1, 1), (4, 4))
    backwards = batch._replace(vision=batch.vision.flip(1))
    for temporal in (False, True):
        model = unimodal("vision", temporal=temporal)
        change = (model(batch).heads["sentiment"] - model(backwards).heads["sentiment"]).abs().max()
        assert bool(change > 1e-4) is temporal
        assert unimodal("text", temporal=temporal).tokens_in.order is None


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


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_padding_or_neighbours(make_batch, name):
    model = MODELS[name]()

    @few
    @given(lengths=lengths, extra=st.integers(0, 3), seed=st.integers(0, 99))
    def check(lengths, extra, seed):
        sizes = list(zip(*lengths, strict=True))
        together = model(make_batch(*sizes, seed=seed)).heads
        padded = make_batch(*sizes, seed=seed, extra=extra, fill=float("nan"))
        for row in range(len(lengths)):
            alone = model(Batch(*(tensor[row : row + 1] for tensor in padded))).heads
            for task, scores in alone.items():
                torch.testing.assert_close(together[task][row : row + 1], scores, atol=1e-5, rtol=1e-4)

    check()


@pytest.mark.parametrize("name", MODELS)
def test_dropout_acts_in_training_only(make_batch, name):
    batch = make_batch()
    for dropout, still in ((0.0, True), (0.5, False)):
        model = MODELS[name](dropout=dropout).train()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"]) is still
        model.eval()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"])


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_width_set_the_shapes(make_batch, name):
    model = MODELS[name](outputs={"a": 4, "b": 2}, width=12)
    heads = model(make_batch()).heads
    assert {task: tuple(scores.shape) for task, scores in heads.items()} == {"a": (3, 4), "b": (3, 2)}
    assert model.heads.tasks["a"].weight.shape == (4, 12)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_gradient(make_batch, name):
    model = MODELS[name]()
    sum(scores.square().sum() for scores in model(make_batch()).heads.values()).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, parameter_name
