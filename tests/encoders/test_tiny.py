"""The sample's encoders: the architectures of the full edition, the same on every machine."""

import numpy as np
import torch
from open_clip.transformer import VisionTransformer
from PIL import Image
from transformers import ModernBertModel

from gexsent.encoders import tiny
from gexsent.encoders.vision import VisionEncoder


def test_they_are_a_modernbert_and_a_clip_tower():
    assert isinstance(tiny.text()[0], ModernBertModel)
    assert isinstance(tiny.vision()[0], VisionTransformer)


def test_building_them_twice_gives_the_same_weights_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = ({**tiny.text()[0].state_dict(), **tiny.vision()[0].state_dict()} for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_tokenizer_takes_any_text():
    _, tokenizer = tiny.text()
    words = tokenizer.convert_ids_to_tokens(tokenizer("Zqx 7!")["input_ids"])
    assert words == ["[CLS]", "z", "##q", "##x", "7", "!", "[SEP]"]
    assert tokenizer.unk_token_id in tokenizer("日本")["input_ids"]


def test_words_are_told_apart_and_so_are_pictures(tiny_text):
    good, bad = (tiny_text.encode([word])[0][1].astype(float) for word in ("superb", "ghastly"))
    assert np.abs(good - bad).max() > 0.5
    encoder = VisionEncoder(*tiny.vision())
    red, blue = (encoder.encode_frames([Image.new("RGB", (64, 64), colour)])[0] for colour in ("red", "blue"))
    assert np.abs(red.astype(float) - blue.astype(float)).max() > 0.05
