"""Cards of the first rows, and models that have none."""

import sys

import pandas as pd
import pytest
from PIL import Image

from gexsent.datasets import MEMES
from gexsent.errors import DataError
from gexsent.posts import cards
from gexsent.posts.score import Job
from gexsent.predictor import Predictor

NOTHING = {"text": None, "image": None, "clip": None, "vision": None}


def test_first_rows_have_cards_unless_they_have_no_prediction(model, tmp_path, picture):
    table = pd.DataFrame({"text": ["what a soup", "", "$so$ 😀 " * 30, "more"], "image": [picture.name, "", "", ""]})
    job = Job.of(model, table, NOTHING, tmp_path)
    paths = cards.draw(job, tmp_path / "cards", most=3, model="mine")
    assert [path.name for path in paths] == ["row_0002.png", "row_0004.png"]
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == [
        "row_0002.pdf", "row_0002.png", "row_0004.pdf", "row_0004.png"
    ]  # fmt: skip
    with Image.open(paths[0]) as with_picture, Image.open(paths[1]) as without:
        assert with_picture.size == without.size and with_picture.tobytes() != without.tobytes()


def test_rows_beyond_the_first_piece_have_cards(model, tmp_path, small_pieces):
    job = Job.of(model, pd.DataFrame({"text": [""] * 9 + ["so", "so"]}), NOTHING, None)
    assert [path.name for path in cards.draw(job, tmp_path, most=10, model="mine")] == ["row_0011.png"]


def test_a_card_names_the_model(model, tmp_path):
    table = pd.DataFrame({"text": ["so"]})
    drawn = [
        cards.draw(Job.of(model, table, NOTHING, None), tmp_path / name, most=1, model=name)[0].read_bytes()
        for name in ("one", "two")
    ]
    assert drawn[0] != drawn[1]


def test_another_system_is_refused_and_other_labels_are_not(make_folder, model):
    cards.check(model)
    cards.check(Predictor.from_pretrained(make_folder(learned=MEMES[1:])))
    with pytest.raises(DataError, match="--explain: the model is 'mult': only `gexsent` can be explained"):
        cards.check(Predictor.from_pretrained(make_folder(system="mult")))


def test_matplotlib_that_is_not_installed_is_named(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "gexsent.report.style", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(DataError, match=r"matplotlib.* is not installed: pip install 'gexsent\[pipeline\]'"):
        cards.check(model)
