"""Folders of untrained models on the tiny encoders, tables to score with them, and posts to learn from."""

import random
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import gexsent
from gexsent import params, tasks
from gexsent.datasets import SPOKEN
from gexsent.encoders.record import BROUGHT, EncoderRecord
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.model import ModelConfig, build, save_model
from gexsent.posts import files, learn
from gexsent.posts.fit import Choice
from gexsent.predictor import Predictor

PROJECT = Path(__file__).parents[2]
BROUGHT_WIDTH = 5
# A label follows from a word and the colour of a picture, so that both are needed.
WORDS = {"awful": -2, "dull": -1, "plain": 0, "nice": 1, "superb": 2}
COLOURS = {"navy": -1, "grey": 0, "orange": 1}


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory):
    """Write the folder of a model. encoders: "both", "text" (vision is brought along) or "none"."""

    def make(*, system="gexsent", learned=SPOKEN, temporal=False, encoders="both"):
        folder = tmp_path_factory.mktemp("model")
        encode = params.load(PROJECT / "params.yaml", "sample").encode
        text = load_text_encoder(encode.text, max_tokens=encode.max_tokens)
        vision = load_vision_encoder(encode.vision)
        width = vision.frame_width if temporal else vision.image_width
        config = ModelConfig(
            system=system,
            text_features=text.width if encoders != "none" else BROUGHT_WIDTH,
            vision_features=width if encoders == "both" else BROUGHT_WIDTH,
            outputs={task.name: task.outputs for task in learned},
            temporal=temporal,
            frames=encode.frames,
            **asdict(params.load(PROJECT / "params.yaml", "quick").model),
        )
        torch.manual_seed(0)
        save_model(build(config), config, folder)
        tasks.save(learned, folder)
        record = EncoderRecord.of(encode, text.fingerprint, vision.fingerprint if encoders == "both" else None)
        if encoders == "none":
            record = EncoderRecord(**{**asdict(record), "text": BROUGHT})
        record.write(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def folder(make_folder):
    """Of a model of texts and images."""
    return make_folder()


@pytest.fixture(scope="session")
def model(folder):
    return Predictor.from_pretrained(folder)


@pytest.fixture(scope="session")
def clip_model(make_folder):
    return Predictor.from_pretrained(make_folder(temporal=True))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a picture.png"
    Image.new("RGB", (80, 60), "orange").save(path)
    return path


@pytest.fixture
def small_pieces(monkeypatch):
    """Tables are read and scored eight rows at a time."""
    monkeypatch.setattr(files.opened, "__kwdefaults__", {"rows": 8})


def write_posts(folder, count=60):
    """Write N pictures and return their posts: text, image, sentiment, stars, liked, user."""
    rng, rows = random.Random(0), []
    for number in range(count):
        word, colour = rng.choice(list(WORDS)), rng.choice(list(COLOURS))
        picture = Image.new("RGB", (48, 48), colour)
        picture.putpixel((number % 48, number // 48), (1, 2, 3))  # no two pictures are the same
        picture.save(folder / f"p{number}.png")
        value = WORDS[word] + COLOURS[colour]
        row = {"text": f"what a {word} day number {number}", "image": f"p{number}.png"}
        row |= {"sentiment": "good" if value > 0 else "bad" if value < 0 else "neither", "stars": 3 + value}
        rows.append(row | {"liked": "yes" if value > 0 else "no", "user": f"u{number // 2}"})
    return pd.DataFrame(rows)


def shorten(patch):
    """Two epochs, and a model that is small."""
    patch.setattr(learn, "TRAINING", replace(learn.TRAINING, epochs=2))
    patch.setattr(learn, "SIZES", replace(learn.SIZES, width=8, experts=2, expert_width=8, attention_heads=2))


@pytest.fixture
def make_posts(tmp_path):
    return partial(write_posts, tmp_path)


@pytest.fixture
def quickly(monkeypatch):
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of three labels, trained in a moment with the tiny encoders; not to be changed."""
    folder, tiny = tmp_path_factory.mktemp("posts"), Choice("tiny-modernbert", "tiny-clip", None)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return gexsent.fit(
            write_posts(folder), text="text", image="image", label=["sentiment", "stars", "liked"], encoders=tiny,
            seeds=2, cache=None, media_root=folder, progress=False,
        )  # fmt: skip
