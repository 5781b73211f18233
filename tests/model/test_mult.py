"""The multimodal transformer for two modalities."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from gexsent.model.mult import Block, MulT

OUTPUTS = {"sentiment": 3, "intensity": 1}
HEADS = 2
few = settings(max_examples=10, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def mult(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"text_features": 6, "vision_features": 5, "outputs": OUTPUTS, "width": 8, "dropout": 0.0}
    return MulT(**settings | {"attention_heads": HEADS, "temporal": False} | changes).eval()


@pytest.fixture
def plain_block(layer_norm, softmax):
    """The block for one sample, (L, d) and (M, d), one token and one head at a time."""

    def plain_block(w, name, tokens, source, heads=HEADS):
        def linear(part, x):
            return x @ w[f"{name}.{part}.weight"].T + w[f"{name}.{part}.bias"]

        def norm(part, x):
            return layer_norm(x, w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

        width = w[f"{name}.out.weight"].shape[0]
        size = width // heads
        result = []
        for token in tokens:
            if len(source):
                query = linear("query", norm("norm", token))
                key_value = linear("key_value", norm("norm", source))
                heard = []
                for h in range(heads):
                    part = slice(h * size, (h + 1) * size)
                    weight = softmax(key_value[:, :width][:, part] @ query[part] / size**0.5)
                    heard.append(weight @ key_value[:, width:][:, part])
                token = token + linear("out", np.concatenate(heard))
            hidden = np.maximum(linear("feed_forward.1", norm("feed_forward.0", token)), 0)
            result.append(token + linear("feed_forward.3", hidden))
        return np.array(result).reshape(-1, width)

    return plain_block


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_block_against_plain_numpy(make_batch, shake, arrays, plain_block, heads):
    block = shake(Block(8, heads=heads, dropout=0.0).eval())
    batch = make_batch((3, 2, 1), (2, 4, 0), widths=(8, 8))
    result = block(batch.text, batch.vision, batch.vision_mask)
    w = {f"block.{name}": value for name, value in arrays(block).items()}
    for b, (text, vision) in enumerate(((3, 2), (2, 4), (1, 0))):
        tokens, source = batch.text[b, :text].double().numpy(), batch.vision[b, :vision].double().numpy()
        expected = plain_block(w, "block", tokens, source, heads)
        np.testing.assert_allclose(result[b, :text].detach(), expected, atol=1e-4, rtol=1e-4)


def test_scores_against_plain_numpy(make_batch, shake, arrays, layer_norm, softmax, gelu, plain_block):
    model = shake(mult())
    model.text_in.standardise(torch.linspace(-1, 1, 6), torch.linspace(0.5, 2, 6))
    model.vision_in.standardise(torch.linspace(1, 0, 5), torch.linspace(2, 0.5, 5))
    batch = make_batch((4, 2, 0, 0), (2, 0, 3, 0), extra=2, fill=9.0)
    w = arrays(model)

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    heads = model(batch).heads
    for b in range(4):
        given = {}
        for m in ("text", "vision"):
            tokens = getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy()
            tokens = (tokens - w[f"{m}_in.mean"]) / w[f"{m}_in.deviation"]
            given[m] = norm(f"{m}_in.norm", linear(f"{m}_in.project", tokens))
        sides = []
        for m, other in (("text", "vision"), ("vision", "text")):
            tokens = plain_block(w, f"{m}_from_{other}", given[m], given[other])
            tokens = plain_block(w, f"{m}_self", tokens, tokens)
            weight = softmax(tokens @ w[f"{m}_pool.score.weight"][0]) if len(tokens) else np.zeros(0)
            sides.append(weight @ tokens)
        hidden = gelu(linear("heads.hidden.2", norm("heads.hidden.0", np.concatenate(sides))))
        for task, scores in heads.items():
            np.testing.assert_allclose(scores[b].detach(), linear(f"heads.tasks.{task}", hidden), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("modality", ["text", "vision"])
def test_each_side_hears_the_other(make_batch, modality):
    """Changing one modality changes the pooled vector of the other."""
    other = "vision" if modality == "text" else "text"
    model, seen = mult(), []
    getattr(model, f"{other}_pool").register_forward_hook(lambda _, args, result: seen.append(result))
    batch = make_batch()
    model(batch)
    model(batch._replace(**{modality: -getattr(batch, modality)}))
    assert (seen[0] - seen[1]).abs().amax(1).min() > 1e-3


def test_absence_is_safe_where_a_softmax_over_nothing_is_nan(make_batch, monkeypatch):
    """Attention kernels differ in what they give for a row without a visible key; this one gives NaN."""

    def attention(query, key, value, attn_mask):
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return logits.masked_fill(~attn_mask, float("-inf")).softmax(-1) @ value

    model, batch = mult(), make_batch((4, 2, 0, 0), (2, 0, 3, 0))
    expected = model(batch).heads["sentiment"]
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    scores = model(batch).heads["sentiment"]
    torch.testing.assert_close(scores, expected)
    scores.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"attention heads \(3\) must divide the width \(8\)"):
        mult(attention_heads=3)


def test_number_of_heads_changes_the_scores(make_batch):
    one, two = mult(attention_heads=1), mult(attention_heads=2)
    two.load_state_dict(one.state_dict())
    batch = make_batch()
    assert not torch.allclose(one(batch).heads["sentiment"], two(batch).heads["sentiment"], atol=1e-4)


def test_dropout_of_a_block_falls_on_both_halves(make_batch):
    """At 1 every addition is dropped, and the block hands its tokens on."""
    batch = make_batch(widths=(8, 8))
    block = Block(8, heads=HEADS, dropout=1.0).train()
    assert torch.equal(block(batch.text, batch.vision, batch.vision_mask), batch.text)
    assert not torch.allclose(block.eval()(batch.text, batch.vision, batch.vision_mask), batch.text, atol=1e-2)
