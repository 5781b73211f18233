"""Posts whose label follows from a word and the colour of a picture, so that both are needed."""

import random
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
from PIL import Image

import gexsent
from gexsent.posts import learn
from gexsent.posts.fit import Choice

WORDS = {"awful": -2, "dull": -1, "plain": 0, "nice": 1, "superb": 2}
COLOURS = {"navy": -1, "grey": 0, "orange": 1}


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
