"""Tensor fusion and its low-rank version."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
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


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("modality", ["text", "vision"])
def test_contents_of_an_absent_modality_change_nothing(make_batch, kind, modality):
    model, batch = small(kind), make_batch()
    hidden = batch._replace(**{f"{modality}_mask": torch.zeros_like(getattr(batch, f"{modality}_mask"))})
    ruined = hidden._replace(**{modality: torch.full_like(getattr(batch, modality), float("nan"))})
    for task, scores in model(hidden).heads.items():
        assert torch.equal(model(ruined).heads[task], scores)
        assert scores.isfinite().all()
        assert not torch.allclose(model(batch).heads[task], scores, atol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_scores_do_not_depend_on_padding_order_or_neighbours(make_batch, kind):
    model = small(kind)

    @few
    @given(lengths=lengths, extra=st.integers(0, 3), seed=st.integers(0, 99))
    def check(lengths, extra, seed):
        sizes = list(zip(*lengths, strict=True))
        together = model(make_batch(*sizes, seed=seed)).heads
        padded = make_batch(*sizes, seed=seed, extra=extra, fill=float("nan"))
        backwards = model(Batch(*(tensor.flip(0) for tensor in padded))).heads
        for task, scores in together.items():
            assert scores.isfinite().all()
            torch.testing.assert_close(backwards[task].flip(0), scores, atol=1e-5, rtol=1e-4)
            for row in range(len(lengths)):
                alone = model(Batch(*(tensor[row : row + 1] for tensor in padded))).heads[task]
                torch.testing.assert_close(alone, scores[row : row + 1], atol=1e-5, rtol=1e-4)

    check()


@pytest.mark.parametrize("kind", MODELS)
def test_dropout_acts_in_training_only(make_batch, kind):
    batch = make_batch()
    for dropout, still in ((0.0, True), (0.5, False)):
        model = small(kind, dropout=dropout).train()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"]) is still
        model.eval()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"])
    drops = [module.p for module in small(kind, dropout=0.3).modules() if isinstance(module, torch.nn.Dropout)]
    assert drops == [0.3] * 6  # two inputs, two nets, twice in the heads


@pytest.mark.parametrize("kind", MODELS)
def test_outputs_and_width_set_the_shapes(make_batch, kind):
    model = small(kind, outputs={"a": 4, "b": 2}, width=12)
    heads = model(make_batch()).heads
    assert {task: tuple(scores.shape) for task, scores in heads.items()} == {"a": (3, 4), "b": (3, 2)}
    assert model.heads.tasks["a"].weight.shape == (4, 12)


@pytest.mark.parametrize("kind", MODELS)
def test_every_parameter_gets_gradient(make_batch, kind):
    model = small(kind)
    sum(scores.square().sum() for scores in model(make_batch((4, 2, 0), (2, 0, 3))).heads.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
