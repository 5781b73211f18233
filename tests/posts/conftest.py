"""Posts whose label follows from a word and the colour of a picture, so that both are needed."""

import random
from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from gexsent.posts import learn

WORDS = {"awful": -2, "dull": -1, "plain": 0, "nice": 1, "superb": 2}
COLOURS = {"navy": -1, "grey": 0, "orange": 1}


@pytest.fixture
def make_posts(tmp_path):
    """Write N pictures and return their posts: text, image, sentiment, stars, liked, user."""

    def make(count=60):
        rng, rows = random.Random(0), []
        for number in range(count):
            word, colour = rng.choice(list(WORDS)), rng.choice(list(COLOURS))
            picture = Image.new("RGB", (48, 48), colour)
            picture.putpixel((number % 48, number // 48), (1, 2, 3))  # no two pictures are the same
            picture.save(tmp_path / f"p{number}.png")
            value = WORDS[word] + COLOURS[colour]
            row = {"text": f"what a {word} day number {number}", "image": f"p{number}.png"}
            row |= {"sentiment": "good" if value > 0 else "bad" if value < 0 else "neither", "stars": 3 + value}
            rows.append(row | {"liked": "yes" if value > 0 else "no", "user": f"u{number // 2}"})
        return pd.DataFrame(rows)

    return make


@pytest.fixture
def quickly(monkeypatch):
    """Two epochs, and a model that is small."""
    monkeypatch.setattr(learn, "TRAINING", replace(learn.TRAINING, epochs=2))
    monkeypatch.setattr(learn, "SIZES", replace(learn.SIZES, width=8, experts=2, expert_width=8, attention_heads=2))
