"""An explanation of one sample: the same numbers as in a batch, and shapes that a figure can rely on."""

from types import SimpleNamespace

import pytest
import torch

from gexsent.errors import DataError
from gexsent.explain.post import explain, explained
from gexsent.explain.relevance import METHODS, integrated_gradients
from gexsent.explain.target import target_of
from gexsent.explain.trace import trace
from gexsent.model import Batch


def only(batch, row):
    """One sample without its padding."""
    text, vision = batch.text_mask[row], batch.vision_mask[row]
    return Batch(batch.text[[row]][:, text], batch.text_mask[[row]][:, text],
                 batch.vision[[row]][:, vision], batch.vision_mask[[row]][:, vision])  # fmt: skip


def test_one_sample_has_the_relevance_that_it_has_in_a_batch(model, batch):
    together = integrated_gradients(model, batch, target_of(model, batch))
    found = explained(model, only(batch, 0), list("abcd"))
    assert found.text["gradients"] == pytest.approx(together[0, :4].numpy(), abs=1e-5)
    assert found.vision["gradients"] == pytest.approx(together[0, 5:8].numpy(), abs=1e-5)
    assert set(found.text) == set(found.vision) == set(METHODS)
    with torch.no_grad():
        heads = model(only(batch, 0)).heads
    assert found.score == pytest.approx(abs(heads["intensity"].item()))
    assert found.says == f"{heads['intensity'].item():+.2f}".replace("-", "−")
    assert found.shares.sum() == pytest.approx(1)
    assert found.experts["shared"].shape == (7, 3)
    assert {m: rows.shape for m, rows in found.cross.items()} == {"text": (4, 3), "vision": (3, 4)}
    for m, rows in trace(model, batch).cross.items():
        rows = rows[0][(batch.text_mask if m == "text" else batch.vision_mask)[0]]
        rows = rows[:, (batch.vision_mask if m == "text" else batch.text_mask)[0]]
        assert found.cross[m] == pytest.approx(rows.numpy(), abs=1e-6)
        assert found.cross[m].sum(1) == pytest.approx(1)


def test_kinds_of_visual_tokens(make_model):
    def kind(count, **changes):
        vision = torch.ones(1, max(1, count), 5)
        there = torch.arange(max(1, count))[None] < count
        batch = Batch(torch.ones(1, 2, 6), torch.ones(1, 2, dtype=torch.bool), vision, there)
        return explained(make_model(**changes), batch, ["a", "b"])

    assert [kind(count).kind for count in (0, 3, 17)] == ["none", "features", "image"]
    assert kind(4, temporal=True).kind == "clip"
    image = kind(17)
    assert image.heat("gates").shape == (4, 4)
    assert image.heat("gates").ravel() == pytest.approx(image.vision["gates"][1:])
    with pytest.raises(ValueError, match="no heat map"):
        kind(3).heat("gates")


def test_a_class_is_named(make_model):
    model = make_model(outputs={"sentiment": 3})
    there = torch.ones(1, 2, dtype=torch.bool)
    batch = Batch(torch.ones(1, 2, 6), there, torch.ones(1, 2, 5), there)
    with torch.no_grad():
        best = model(batch).heads["sentiment"].argmax().item()
    assert explained(model, batch, ["a", "b"]).says == ("negative", "neutral", "positive")[best]


def test_other_systems_are_refused():
    with pytest.raises(DataError, match="'text_only': only `gexsent`"):
        explain(SimpleNamespace(config=SimpleNamespace(system="text_only")), "so")
