"""What the page says, without the page."""

import base64
import re
import sys
from io import BytesIO

import matplotlib.pyplot as plt
import pytest
from PIL import Image

import gexsent
from gexsent import cli, demo
from gexsent.data import media
from gexsent.datasets import MEMES
from gexsent.errors import DataError
from gexsent.sample.scripts import vocabulary
from gexsent.tasks import Task

KINDS = (
    Task("a", "regression", 1, "stars", centre=3.0),
    Task("b", "classes", 3, "mood", ("low", "so-so", "high")),
    Task("c", "binary", 1, "liked", ("no", "yes")),
    Task("d", "ordinal", 2, "heat", ("mild", "hot", "scalding"), first=1),
)


def test_a_number_a_class_a_yes_or_no_and_a_level_are_said_in_words(make_model):
    model, post = make_model(KINDS), demo.Post("what a superb hotel")
    found, raw = {one.label: one for one in demo.answer(model, post)}, model(post.text)
    assert list(found) == ["stars", "mood", "liked", "heat"]
    assert found["stars"].says == f"{raw['stars']:.2f}" and found["stars"].shares == {}
    assert found["mood"].says == raw["mood"] and found["mood"].shares == raw["probabilities"]["mood"]
    chance = raw["liked"]["present"]
    assert found["liked"].says == ("yes" if chance > 0.5 else "no")
    assert found["liked"].shares == pytest.approx({"yes": chance, "no": 1 - chance})
    assert found["heat"].says == f"{raw['heat']['name']} (level {raw['heat']['level']})" and not found["heat"].shares


def test_a_number_below_zero_has_a_minus(make_model):
    task = Task("a", "regression", 1, "stars", centre=-90.0)
    (found,) = demo.answer(make_model((task,)), demo.Post("so"))
    assert found.says.startswith("−") and "-" not in found.says


def test_a_label_with_levels_and_a_yes_or_no_is_one_answer(make_model):
    model = make_model(MEMES)
    found = demo.answer(model, demo.Post("what a superb hotel"))
    assert [one.label for one in found] == ["sentiment", "humour", "sarcasm", "offensive", "motivational"]
    raw = model("what a superb hotel")["humour"]
    assert found[1].says == f"{raw['name']} (level {raw['level']})"
    assert found[1].shares["humour"] == raw["present"] and set(found[1].shares) == {"humour", "no humour"}


def test_a_post_without_some_of_its_words_is_as_it_was_elsewhere():
    post = demo.Post("so  dull,\n so dull", image="a.png", clip=None)
    assert post.words == ["so", "dull,", "so", "dull"]
    assert post.without({1, 2}) == demo.Post("so  dull", image="a.png")
    assert post.without([0]).text == "dull,\n so dull"
    assert post.without([], seen=True) == demo.Post(post.text)
    assert post.without(range(4)).text == ""


def test_the_answer_moves_without_a_word_and_without_the_picture(model, picture):
    post = demo.Post("what a superb hotel", image=picture)
    posts = (post, post.without({2}), post.without((), seen=True))
    answers = [str(demo.answer(model, one)) for one in posts]
    assert len(set(answers)) == 3
    assert answers[1] == str(demo.answer(model, demo.Post("what a hotel", image=picture)))


def test_what_is_wrong_names_a_file_and_not_its_folder(model, tmp_path):
    path = tmp_path / "words.png"
    path.write_text("no picture")
    with pytest.raises(DataError) as caught:
        demo.answer(model, demo.Post("so", image=str(path)))
    assert str(caught.value) == "words.png: not a picture in any format that Pillow reads"
    with pytest.raises(DataError, match="nothing to score"):
        demo.answer(model, demo.Post("  "))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("text", "image")),
        ({"temporal": True}, ("text", "image", "clip")),
        ({"vision": None}, ("text",)),
        ({"text": None}, ("image",)),
        ({"system": "text_only"}, ("text",)),
        ({"system": "vision_only"}, ("image",)),
    ],
)
def test_what_a_model_can_read(make_model, options, expected):
    assert demo.takes(make_model(**options)) == expected


def test_a_model_of_features_brought_along_has_no_page(make_model):
    with pytest.raises(DataError, match="features that its user brings along"):
        demo.takes(make_model(text=None, vision=None))


def test_the_bars_are_as_long_as_the_probabilities():
    first = [demo.Answer("mood", "low", {"low": 0.75, "high": 0.25})]
    then = [demo.Answer("mood", "high", {"low": 0.1, "high": 0.9})]
    alone, both = demo.drawn(first), demo.drawn(first, then)
    assert "width: 75.0%" in alone and "width: 25.0%" in alone and "→" not in alone
    assert "width: 75.0%" in both and "width: 90.0%" in both
    assert '<span class="was">low</span> → <b>high</b>' in both
    assert '<span class="was">25%</span> → 90%' in both


def test_names_of_classes_are_text_and_not_html():
    shown = demo.drawn([demo.Answer("<i>", "<script>", {"<script>": 1.0})])
    assert "<script>" not in shown and shown.count("&lt;script&gt;") == 2 and "&lt;i&gt;" in shown


def test_the_card_shows_the_explanation_and_leaves_the_style_of_figures_alone(model, make_model, picture):
    before = dict(plt.rcParams)
    one, other = (demo.card(model, demo.Post(text, image=picture)) for text in ("what a superb hotel", "so dull"))
    alt, code = re.search('alt="(.*?)" src="data:image/png;base64,(.*?)"', one).groups()
    assert alt == f"Why it says {model('what a superb hotel', image=picture)['intensity']:.2f} (intensity)".replace(
        "-", "−", 1
    )
    assert Image.open(BytesIO(base64.b64decode(code))).width > 1000 and one != other
    assert dict(plt.rcParams) == before and not plt.get_fignums()
    assert demo.card(make_model(system="late_fusion"), demo.Post("so")) is None


def test_examples_are_of_the_generator_and_of_what_the_model_reads(tmp_path):
    posts = demo.examples(tmp_path, ("text", "image"))
    assert {word for post in posts for word in post.words} <= set(vocabulary())
    assert len({post.text for post in posts}) == demo.EXAMPLES
    assert all(media.open_image(tmp_path / post.image).size == (224, 224) for post in posts)
    clips = demo.examples(tmp_path, ("image", "clip"))
    assert all(len(media.read_frames(tmp_path / post.clip, 3)[0]) == 3 for post in clips)
    assert not any(post.text or post.image for post in clips)
    assert all(post.text and not post.image for post in demo.examples(tmp_path, ("text",)))


def test_without_gradio_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "gexsent.demo_page", raising=False)
    monkeypatch.delattr(gexsent, "demo_page", raising=False)
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "--model", str(tmp_path)])
    assert caught.value.code == 2
    assert capsys.readouterr().err == 'gexsent: the page needs gradio: pip install "gexsent[demo]"\n'
