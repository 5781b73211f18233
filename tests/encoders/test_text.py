"""Text encoders: one state for each token, whatever else is in the batch."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from gexsent.encoders import tiny
from gexsent.encoders.text import TextEncoder, load_text_encoder
from gexsent.errors import DataError

TEXTS = [
    "what a glorious concert it was",
    "never",
    "i think this recipe was rather dull",
    "nice",
    "dreadful, utter dreadful",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as one downloads it: the tiny encoder by save_pretrained."""
    folder = tmp_path_factory.mktemp("encoder")
    model, tokenizer = tiny.text()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def alone(encoder, text):
    """The oracle: transformers called on one text, nothing to pad."""
    tokens = encoder.tokenizer(text, truncation=True, max_length=encoder.max_tokens, return_tensors="pt")
    with torch.no_grad():
        return encoder.model(**tokens).last_hidden_state[0].numpy()


def test_every_text_gets_the_states_that_it_has_alone_in_the_order_given(tiny_text):
    states = tiny_text.encode(TEXTS)
    assert [state.dtype for state in states] == [np.float16] * len(TEXTS)
    for text, state in zip(TEXTS, states, strict=True):
        np.testing.assert_allclose(state, alone(tiny_text, text), atol=4e-3)


@pytest.mark.parametrize("batch_tokens", [1, 12, 10_000])
def test_batching_changes_nothing(tiny_text, batch_tokens):
    for text, state in zip(TEXTS, tiny_text.encode(TEXTS, batch_tokens=batch_tokens), strict=True):
        np.testing.assert_allclose(state, alone(tiny_text, text), atol=4e-3)


def test_batch_tokens_bounds_a_batch_with_its_padding(monkeypatch):
    encoder = load_text_encoder("tiny-modernbert", max_tokens=32)
    shapes = []
    states = encoder.states

    def watched(texts, counts):
        depths, mask = states(texts, counts)
        shapes.append(tuple(mask.shape))
        return depths, mask

    monkeypatch.setattr(encoder, "states", watched)
    encoder.encode(TEXTS * 3, batch_tokens=24)
    assert all(rows * length <= 24 for rows, length in shapes)
    assert sum(rows for rows, _ in shapes) == len(TEXTS) * 3
    assert max(rows for rows, _ in shapes) > 1
    shapes.clear()
    encoder.encode(TEXTS * 3, batch_tokens=10_000)
    assert [rows for rows, _ in shapes] == [len(TEXTS) * 3]


def test_one_pass_gives_the_states_of_every_depth(tiny_text, monkeypatch):
    passes = []
    expected = {count: tiny_text.below(count).encode(TEXTS) for count in (1, 2)} | {0: tiny_text.encode(TEXTS)}
    forward = tiny_text.model.forward
    monkeypatch.setattr(tiny_text.model, "forward", lambda **inputs: passes.append(1) or forward(**inputs))
    found = tiny_text.encode_below((0, 2, 1), TEXTS)
    assert len(passes) == 1
    for count, arrays in zip((0, 2, 1), found, strict=True):
        for array, wanted in zip(arrays, expected[count], strict=True):
            np.testing.assert_array_equal(array, wanted)


def test_a_gpu_is_given_more_at_once_than_a_cpu():
    encoder = load_text_encoder("tiny-modernbert", max_tokens=32)
    on_a_cpu, encoder.device = encoder.batch_tokens, "cuda:0"
    assert encoder.batch_tokens > on_a_cpu


def test_a_text_longer_than_a_batch_still_gets_one(tiny_text):
    assert len(tiny_text.encode([TEXTS[2]], batch_tokens=2)[0]) > 2


def test_a_batch_is_padded_at_the_end_and_the_mask_says_where(tiny_text):
    states, mask = tiny_text.encode_batch(TEXTS[:2])
    assert states.shape == (*mask.shape, tiny_text.width)
    assert mask.sum(1).tolist() == [8, 3]  # six words and one word, each between [CLS] and [SEP]
    assert mask[1].tolist() == [True] * 3 + [False] * 5


def test_max_tokens_cuts_with_the_closing_token_kept():
    long = load_text_encoder("tiny-modernbert", max_tokens=32)
    short = load_text_encoder("tiny-modernbert", max_tokens=4)
    assert len(long.encode(TEXTS)[0]) == 8
    assert len(short.encode(TEXTS)[0]) == 4
    assert short.tokens(TEXTS[0]) == ["[CLS]", *long.tokens(TEXTS[0])[1:3], "[SEP]"]


def test_tokens_name_the_rows(tiny_text):
    assert tiny_text.tokens("Nice hotel") == ["[CLS]", "nice", "hotel", "[SEP]"]
    assert len(tiny_text.tokens(TEXTS[4])) == len(tiny_text.encode([TEXTS[4]])[0])


def test_nothing_in_nothing_out(tiny_text):
    assert tiny_text.encode([]) == []


def test_progress_draws_a_bar(tiny_text, capsys):
    tiny_text.encode(TEXTS)
    assert capsys.readouterr().err == ""
    tiny_text.encode(TEXTS, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_frozen_and_in_evaluation_mode():
    model, tokenizer = tiny.text()
    encoder = TextEncoder(model.train(), tokenizer, max_tokens=8)
    assert not encoder.model.training
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def test_dtype_is_that_asked_for_and_bf16_stays_close(tiny_text):
    half = load_text_encoder("tiny-modernbert", max_tokens=32, dtype=torch.bfloat16)
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in tiny_text.model.parameters()} == {torch.float32}
    exact, rough = tiny_text.encode(TEXTS)[2].astype(float), half.encode(TEXTS)[2].astype(float)
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_device_is_where_model_and_tokens_go():
    encoder = load_text_encoder("tiny-modernbert", max_tokens=8, device="meta")
    assert {p.device.type for p in encoder.model.parameters()} == {"meta"}


def test_the_fingerprint_follows_weights_cut_and_vocabulary(tiny_text):
    same = load_text_encoder("tiny-modernbert", max_tokens=32)
    assert same.fingerprint == tiny_text.fingerprint
    assert load_text_encoder("tiny-modernbert", max_tokens=31).fingerprint != tiny_text.fingerprint
    with torch.no_grad():
        next(same.model.parameters())[0, 0] += 1e-3
    assert same.fingerprint != tiny_text.fingerprint
    model, tokenizer = tiny.text()
    tokenizer.add_tokens("oneword")
    assert TextEncoder(model, tokenizer, max_tokens=32).fingerprint != tiny_text.fingerprint


def test_a_local_folder_gives_the_encoder_that_was_saved(saved, tiny_text):
    encoder = load_text_encoder(str(saved), max_tokens=32)
    assert encoder.fingerprint == tiny_text.fingerprint
    np.testing.assert_array_equal(encoder.encode(TEXTS)[0], tiny_text.encode(TEXTS)[0])


def test_a_name_goes_to_the_hub(saved, monkeypatch):
    asked = []

    def from_hub(original):
        def load(name, **options):
            asked.append(name)
            return original(saved, **options)

        return load

    for loader in (AutoTokenizer, AutoModel):
        monkeypatch.setattr(loader, "from_pretrained", from_hub(loader.from_pretrained))
    assert load_text_encoder("someone/encoder", max_tokens=8).width == 64
    assert asked == ["someone/encoder"] * 2


def test_an_encoder_that_is_nowhere_is_named_with_the_remedy(monkeypatch):
    def offline(name, **options):
        raise OSError(f"We couldn't connect to the Hub to load {name}.\nMore lines.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(DataError) as caught:
        load_text_encoder("someone/encoder", max_tokens=8)
    assert "text encoder 'someone/encoder'" in str(caught.value)
    assert "set encode.text to a folder that has it" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 100, -1000])
def test_weights_cut_short_are_named_with_the_remedy(saved, tmp_path, kept):
    for path in saved.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:kept] if path.suffix == ".safetensors" else content)
    with pytest.raises(DataError, match=r"^text encoder '.*set encode\.text to a folder that has it"):
        load_text_encoder(str(tmp_path), max_tokens=8)


def test_a_checkpoint_that_lacks_weights_is_not_made_up_for_at_random(saved, tmp_path):
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "layers.1" in name)
    rest = {name: value for name, value in weights.items() if name != gone}
    save_file(rest, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=f"its checkpoint lacks 1 weights, such as .*{gone.split('.')[-2]}"):
        load_text_encoder(str(tmp_path), max_tokens=8)


def test_a_folder_without_weights_is_named(saved, tmp_path):
    for path in saved.iterdir():
        if path.suffix == ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"text encoder .*model\.safetensors"):
        load_text_encoder(str(tmp_path), max_tokens=8)
