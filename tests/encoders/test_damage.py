"""Texts damaged before the encoder: masks against ids put there by hand, typos by count."""

import numpy as np
import pytest
import torch

from gexsent.encoders import damage
from gexsent.encoders.text import load_text_encoder
from gexsent.errors import DataError

TEXTS = ["what a glorious soup", "", "awful", "the seller was rude to me today"]


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder("tiny-modernbert", max_tokens=16)


def test_without_a_choice_the_features_are_those_of_the_encoder(encoder):
    found = damage.encode(encoder, TEXTS, batch_tokens=32)
    expected = encoder.encode([text for text in TEXTS if text])
    assert found[1].shape == (0, encoder.width)
    for ours, theirs in zip([found[0], *found[2:]], expected, strict=True):
        np.testing.assert_allclose(ours.astype(float), theirs.astype(float), atol=2e-3)


def test_chosen_tokens_are_masked_and_special_ones_never(encoder):
    """Against the model called with the ids, the mask put in by hand."""
    text = TEXTS[0]
    ids = encoder.tokenizer(text)["input_ids"]
    for place in (0, 2):
        found = damage.encode(encoder, [text], lambda n, p=place: torch.arange(int(n.max()))[None] == p)[0]
        by_hand = list(ids)
        by_hand[1 + place] = encoder.tokenizer.mask_token_id  # behind [CLS]
        states = encoder.model(
            input_ids=torch.tensor([by_hand]), attention_mask=torch.ones(1, len(ids))
        ).last_hidden_state
        np.testing.assert_allclose(found.astype(float), states[0].numpy().astype(float), atol=2e-3)
    counted = []
    damage.encode(encoder, TEXTS, lambda n: counted.append(n.tolist()) or torch.zeros(len(n), int(n.max())).bool())
    whole = [len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert max(whole) > 14  # one is cut: 16 tokens, two of them special
    assert counted == [[min(count, 14) for count in whole]]


def test_a_tokenizer_without_a_mask_uses_the_unknown_token_and_without_both_says_so(encoder, monkeypatch):
    everything = lambda n: torch.ones(len(n), int(n.max()), dtype=torch.bool)  # noqa: E731
    masked = damage.encode(encoder, ["awful"], everything)[0]
    unknown = encoder.tokenizer.unk_token
    monkeypatch.setattr(
        encoder.tokenizer, "_special_tokens_map", {**encoder.tokenizer._special_tokens_map, "mask_token": None}
    )
    assert not np.array_equal(damage.encode(encoder, ["awful"], everything)[0], masked)
    assert unknown is not None
    monkeypatch.setattr(encoder.tokenizer, "_special_tokens_map", {})
    with pytest.raises(DataError, match="no mask and no unknown token"):
        damage.encode(encoder, ["awful"], everything)


def test_typos_hit_that_share_of_the_letters_and_nothing_else():
    text = "lorem ipsum, 123 dolor! " * 400
    assert damage.mistype([text], 0.0, 0) == [text]
    typed = damage.mistype([text], 0.1, 0)[0]
    letters = sum(character.isalpha() for character in text)
    # A third of the errors leaves a letter out, and only those change the length.
    assert len(text) - len(typed) == pytest.approx(letters * 0.1 / 3, rel=0.2)
    assert [c for c in typed if not c.isalpha()] == [c for c in text if not c.isalpha()]
    pairs = zip(text.split(), typed.split(), strict=True)
    assert (
        0.6 < sum(before == after for before, after in pairs) / len(text.split()) < 0.8
    )  # 0.25 + 0.75 * 0.9**5 = 0.69


def test_typos_follow_their_seed():
    texts = ["a long enough sentence to be hit somewhere"] * 2
    first = damage.mistype(texts, 0.2, 1)
    assert first == damage.mistype(texts, 0.2, 1) != damage.mistype(texts, 0.2, 2)
    assert first[0] != first[1]
