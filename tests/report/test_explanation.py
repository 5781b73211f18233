"""Figures of explanations: what is drawn is what was found."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from gexsent.explain.explanation import Explanation
from gexsent.report import explanation as report
from gexsent.report import faithfulness

METHODS = ("occlusion", "gradients", "rollout", "gates")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def make():
    """An explanation of six words and, if asked, a picture of four patches (and a summary token) or some frames."""

    def make_(kind="none", frames=0, text=(0.5, -1.0, 0.0, 2.0, -0.25, 1.5)):
        vision = {"none": [], "image": [0.1, 0.2, -0.4, 0.8, 0.3], "clip": list(np.linspace(-1, 1, frames))}[kind]
        count = {"none": 0, "image": 1, "clip": frames}[kind]
        return Explanation(
            says="positive",
            score=1.0,
            tokens=tuple("abcdef"[: len(text)]),
            text=dict.fromkeys(METHODS, np.array(text)),
            vision=dict.fromkeys(METHODS, np.array(vision)),
            kind=kind,
            cross={
                "text": np.linspace(1, 2, len(text) * len(vision)).reshape(len(text), len(vision)),
                "vision": np.linspace(0, 1, len(text) * len(vision)).reshape(len(vision), len(text)),
            },
            gates={"text": np.full(len(text), 0.5), "vision": np.full(len(vision), 0.5)},
            shares=np.array([0.5, 0.3, 0.2]),
            experts={"text": np.eye(2)[[0, 1] * 3][: len(text)], "shared": np.eye(2)[[1, 0] * 3][: len(text)]},
            left_out={"text": 1.25, "vision": -0.5},
            guided={"text": 0.25, "vision": 0.0},
            pictures=tuple(Image.new("RGB", (40, 30), (9 * i, 0, 0)) for i in range(count)),
        )

    return make_


def panel(figure, title):
    """The only panel of that title, whichever side of it the title stands on."""
    (found,) = [a for a in figure.findobj(plt.Axes) if title in (a.get_title(), a.get_title("left"))]
    return found


def test_words_have_bars_of_their_relevance_in_the_colour_of_its_sign(make):
    axes = panel(report.card(make(), "title", "sample"), "What the words say (integrated gradients)")
    assert [bar.get_height() for bar in axes.patches] == [0.5, -1.0, 0.0, 2.0, -0.25, 1.5]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == [report.AGAINST if value < 0 else report.FOR for value in (0.5, -1.0, 0.0, 2.0, -0.25, 1.5)]
    assert [label.get_text() for label in axes.get_xticklabels()] == list("abcdef")


def test_of_a_long_text_the_weightiest_words_stay_in_their_order(make):
    assert report._longest(np.array([0.5, -1.0, 0.0, 2.0, -0.25, 1.5]), 3).tolist() == [1, 3, 5]


def test_what_each_modality_is_worth_is_said_in_numbers(make):
    axes = panel(report.card(make(), "title", "sample"), "Support that is lost without …")
    assert [text.get_text() for text in axes.texts] == ["+1.25", "−0.50", "+0.25", "0.00"]
    assert [bar.get_width() for bar in axes.patches] == [1.25, -0.5, 0.25, 0.0]


def test_the_strongest_patch_is_framed(make):
    axes = panel(report.card(make("image"), "title", "sample"), "What counts in it")
    (frame,) = axes.patches
    # Patches in reading order after the summary token: 0.2, -0.4, 0.8, 0.3 on two by two.
    side = report.SIDE / 2
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (0, side, side, side)


@pytest.mark.parametrize(("frames", "width"), [(1, 0.2), (3, 0.6), (4, 0.8), (8, 0.8)])
def test_a_frame_has_a_bar_no_wider_than_itself(make, frames, width):
    figure = report.card(make("clip", frames), "title", "sample")
    (axes,) = [a for a in figure.findobj(plt.Axes) if a.get_xlabel() == "frame"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([width] * frames)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(list(np.linspace(-1, 1, frames)))


def test_attention_is_drawn_over_the_picture_for_the_weightiest_words(make):
    figure = report.attention(make("image"), "title", "sample")
    frames = {word: panel(figure, word).patches[0] for word in "abdf"}  # of largest relevance
    side = report.SIDE / 2
    assert {(frame.get_x(), frame.get_y()) for frame in frames.values()} == {(side, side)}  # it grows along the row
    row = np.linspace(1, 2, 30).reshape(6, 5)[3]
    assert panel(figure, "d").get_xlabel() == f"framed {row[4]:.0%}, whole {row[0]:.0%}"
    bars = panel(figure, "How the vision looks at the words")
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(np.linspace(0, 1, 30).reshape(5, 6).mean(0))
    (even,) = bars.lines
    assert even.get_xdata()[0] == pytest.approx(1 / 6)


def test_attention_to_frames_is_a_matrix(make):
    figure = report.attention(make("clip", 3), "title", "sample")
    axes = panel(figure, "How the words look at the vision")
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.linspace(1, 2, 18).reshape(6, 3))
    assert axes.get_xlabel() == "frame"
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcdef")


def test_without_text_or_picture_the_card_says_so(make):
    figure = report.card(make(text=()), "title", "sample")
    said = {text.get_text() for text in figure.findobj(plt.Text)}
    assert {"no picture", "no text"} <= said


def test_a_gallery_has_a_part_for_each_case(make):
    figure = report.gallery([make("image"), make("clip", 2), make()], ["one", "two", "three"], "sample")
    assert [len(panel(figure, title).images) for title in ("one", "two", "three")] == [1, 1, 0]


def test_a_title_with_dollars_is_not_taken_for_a_formula(make):
    figure = report.card(make(), "v006$_$0: right", "sample")
    figure.canvas.draw()
    assert figure._suptitle.get_text().replace("\\", "") == "v006$_$0: right"


def tables(deletion=(1.0, 2.0), insertion=(1.0, 2.0), correlation=0.1, mass=0.4):
    areas = pd.DataFrame({"dataset": "mosi", "seed": [0, 1], "method": "gates"})
    sanity = pd.DataFrame(
        {"dataset": "mosi", "seed": 0, "method": "gates", "part": list(faithfulness.PARTS), "correlation": 0.9}
    )
    sanity.loc[len(sanity) - 1, "correlation"] = correlation
    truth = pd.DataFrame({"dataset": "mosi", "method": "gates", "mass": [mass], "chance": [0.2]})
    return {"areas": areas.assign(deletion=deletion, insertion=insertion), "sanity": sanity, "truth": truth}


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        ({}, True),
        ({"deletion": (-0.1, 5.0)}, False),  # a seed that loses against random orders
        ({"insertion": (0.0, 5.0)}, False),
        ({"correlation": 0.31}, False),  # much the same whatever the weights
        ({"mass": 0.19}, False),  # less on the tokens that carry the label than chance would put there
    ],
)
def test_a_method_passes_only_if_every_test_does(change, passed):
    verdict = faithfulness.verdicts(tables(**change)).iloc[0]
    assert verdict["passed"] == passed


def test_where_the_truth_is_not_known_the_other_tests_decide():
    found = faithfulness.verdicts(tables() | {"truth": pd.DataFrame()})
    assert found["right_tokens"].isna().all() and found["passed"].all()


def test_the_expert_map_shows_each_share_once_and_one_seed_alone():
    labels, experts = ("negative", "neutral", "positive"), (1, 2)
    rows = [("mosi", seed, "text", e, label) for seed in (0, 1) for e in experts for label in labels]
    table = pd.DataFrame(rows, columns=["dataset", "seed", "group", "expert", "label"])
    table["share"] = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7] + [0.5] * 6
    axes = faithfulness.usage(table, "sample").axes[0]
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["10%", "20%", "30%", "90%", "80%", "70%", "CMU-MOSI"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["text 1", "text 2"]
