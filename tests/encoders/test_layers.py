"""An encoder taken apart gives what it gives whole, and its upper half can be trained, saved and built again."""

import json

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertModel, ModernBertConfig, ModernBertModel

from gexsent.encoders.layers import DESCRIPTION, WEIGHTS, LowerLayers, TopLayers
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.weights import seeded
from gexsent.errors import DataError

DEPTH, LONG, SHORT = 5, 19, 6
SIZES = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": DEPTH}
SIZES |= {"num_attention_heads": 2, "pad_token_id": 0}
NO_TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))
MAKE = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    # Layers 0 and 3 attend to all tokens; the others to two on each side, which is less than the text is long.
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**SIZES, **NO_TOKENS, local_attention=4, global_attn_every_n_layers=3)
    ),
}
every_kind = pytest.mark.parametrize("kind", MAKE)


@pytest.fixture
def make_encoder():
    """A random encoder of five layers whose norms and biases are no longer what they begin as."""

    def make(kind):
        with seeded(3):
            model = MAKE[kind]().eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model.requires_grad_(False)

    return make


@pytest.fixture
def tokens():
    """A long text and a short one, padded."""
    ids = torch.arange(2 * LONG).reshape(2, LONG) + 1
    mask = torch.ones_like(ids)
    mask[1, SHORT:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def run(top, model, tokens):
    below = LowerLayers(model, top.description["count"])(**tokens).last_hidden_state
    return top(below, tokens["attention_mask"].bool())


@every_kind
@pytest.mark.parametrize("count", range(1, DEPTH + 1))
def test_lower_then_upper_is_the_whole(make_encoder, tokens, kind, count):
    model, real = make_encoder(kind), tokens["attention_mask"].bool()
    top = TopLayers.of(model, count).eval()
    whole = model(**tokens).last_hidden_state
    torch.testing.assert_close(run(top, model, tokens)[real], whole[real], atol=1e-4, rtol=0)
    below = LowerLayers(model, count)(**tokens).last_hidden_state
    assert (below - whole)[real].abs().max() > 0.1  # the upper half has something to do
    if count < DEPTH:
        assert len(top.state_dict()) < len(TopLayers.of(model, count + 1).state_dict())


@every_kind
def test_the_mask_is_heeded(make_encoder, tokens, kind):
    """What stands at padding changes nothing."""
    model = make_encoder(kind)
    top = TopLayers.of(model, 2).eval()
    below, mask = LowerLayers(model, 2)(**tokens).last_hidden_state, tokens["attention_mask"].bool()
    other = torch.where(mask[..., None], below, 7.0)
    torch.testing.assert_close(top(other, mask)[mask], top(below, mask)[mask])
    assert not torch.allclose(top(below, torch.ones_like(mask))[mask], top(below, mask)[mask])


@every_kind
def test_gradients_reach_the_upper_half_and_the_encoder_stays_as_it_is(make_encoder, tokens, kind):
    model = make_encoder(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = model(**tokens).last_hidden_state
    top = TopLayers.of(model, 2)
    optimizer = torch.optim.SGD(top.parameters(), lr=0.1)
    weights = torch.linspace(-1, 1, 16)  # a plain sum is blind to what a norm lets through
    (run(top, model, tokens) * weights).square().sum().backward()
    silent = {name for name, p in top.named_parameters() if not p.grad.any()}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in silent} <= {"key"}  # softmax does not see its bias
    optimizer.step()
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(**tokens).last_hidden_state, whole)
    assert not torch.allclose(run(top.eval(), model, tokens), whole)


@every_kind
def test_saved_layers_load_to_the_same_bits(make_encoder, tokens, tmp_path, kind):
    model = make_encoder(kind)
    top = TopLayers.of(model, 3).eval()
    top.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {DESCRIPTION, WEIGHTS}
    loaded = TopLayers.load(tmp_path).eval()
    assert torch.equal(run(loaded, model, tokens), run(top, model, tokens))
    fresh = TopLayers.described(tmp_path).eval()
    assert fresh.description == top.description
    assert not torch.allclose(run(fresh, model, tokens), run(top, model, tokens))


def test_building_draws_no_number_and_the_description_names_no_folder(make_encoder, tmp_path):
    make_encoder("bert").save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    top = TopLayers.of(model, 1)
    assert torch.rand(1) == expected
    assert str(tmp_path) not in json.dumps(top.description)


@pytest.mark.parametrize("count", [-1, 0, DEPTH + 1])
def test_a_number_of_layers_that_there_is_not(make_encoder, count):
    with pytest.raises(
        DataError, match=f"encode.tuned_layers: expected 1 to 5, the text encoder's depth, found {count}"
    ):
        TopLayers.of(make_encoder("bert"), count)


def test_an_encoder_without_a_stack_of_layers_is_named(make_encoder):
    class Odd(nn.Module):
        config = BertConfig(**SIZES)

    with pytest.raises(DataError, match="Odd has no layers that can be trained apart"):
        TopLayers.of(Odd(), 1)


@pytest.mark.parametrize(
    "content", [None, "{", "[1]", '{"count": 1}', '{"count": 1, "config": {"model_type": "none"}}']
)
def test_a_bad_description_is_named(make_encoder, tmp_path, content):
    TopLayers.of(make_encoder("bert"), 1).save(tmp_path)
    path = tmp_path / DESCRIPTION
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=f"{DESCRIPTION}: does not describe the layers of a text encoder"):
        TopLayers.load(tmp_path)


@pytest.mark.parametrize("kept", [None, 100, -100])
def test_bad_weights_are_named(make_encoder, tmp_path, kept):
    TopLayers.of(make_encoder("bert"), 1).save(tmp_path)
    path = tmp_path / WEIGHTS
    path.unlink() if kept is None else path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=WEIGHTS):
        TopLayers.load(tmp_path)


def test_an_encoder_below_gives_the_states_that_enter(tiny_text):
    lower, top = tiny_text.split(1)
    text = "what a glorious concert it was"
    (states,), (whole,) = lower.encode([text]), tiny_text.encode([text])
    again = top.eval()(torch.from_numpy(states).float()[None], torch.ones(1, len(states), dtype=torch.bool))
    torch.testing.assert_close(again[0], torch.from_numpy(whole).float(), atol=4e-3, rtol=4e-3)


def test_an_encoder_whose_halves_do_not_make_the_whole_is_refused(monkeypatch):
    """Such as one whose layers need more than states and a mask."""
    of = TopLayers.of

    def spoilt(model, count):
        top = of(model, count)
        with torch.no_grad():
            for parameter in top.parameters():
                parameter.mul_(1.5)
        return top

    monkeypatch.setattr(TopLayers, "of", spoilt)
    with pytest.raises(DataError, match=r"gives other states when its top layers run by themselves.*set it to 0"):
        load_text_encoder("tiny-modernbert", max_tokens=32).split(1)
