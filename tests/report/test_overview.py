import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gexsent.report import overview
from gexsent.report.style import EDITION_NOTES, use_style


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield
        plt.close("all")


@pytest.fixture
def clips():
    """Ten rows in four groups: sentiments and intensities agree."""
    intensity = np.array([-3.0, -1.0, -0.2, 0.0, 0.0, 0.4, 1.0, 2.0, 2.2, 3.0])
    labels = pd.DataFrame({"id": [f"s{i}" for i in range(10)], "intensity": intensity, "sentiment": np.sign(intensity)})
    samples = pd.DataFrame(
        {
            "id": labels["id"],
            "group": list("aaaabbbccd"),
            "split": ["train"] * 4 + ["valid"] * 3 + ["test"] * 3,
            "text": ["one two three"] * 8 + ["one", "one two three four five"],
            "media": "",
            "kind": "none",
        }
    )
    return samples, labels.astype({"sentiment": "Int8"})


@pytest.fixture
def memes():
    """Ten memes; humour misses two labels, and the other eight have two of each level."""
    labels = pd.DataFrame({"id": [f"{i}.png" for i in range(10)], "sentiment": [-1] * 2 + [0] * 3 + [1] * 5})
    labels["humour"] = pd.array([0, 0, 1, 1, 2, 2, 3, 3, pd.NA, pd.NA], "Int8")
    labels["motivational"] = [0] * 9 + [1]
    samples = pd.DataFrame({"id": labels["id"], "group": labels["id"], "split": [f"block{i}" for i in range(10)]})
    return samples.assign(text="words", media="", kind="none"), labels.astype({"sentiment": "Int8"})


def heights(axes):
    return [patch.get_height() for patch in axes.patches]


def words(figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title, axes.xaxis.label)]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_labels_of_clips_are_counted_once_each_and_by_class(clips):
    left, right = overview.distribution(clips[1], "quick").axes
    assert sum(heights(left)) == 10
    assert heights(right) == [3, 2, 5]
    # The bar around 0 holds -0.2 and both zeros; 0.4 lies in the next one.
    around_zero = [p.get_height() for p in left.patches if np.isclose(p.get_x() + p.get_width() / 2, 0)]
    assert around_zero == [1, 2, 0]


def test_labels_of_memes_are_shares_of_the_known_ones(memes):
    left, right = overview.distribution(memes[1], "quick").axes
    assert heights(left) == [2, 3, 5]
    widths = np.array([patch.get_width() for patch in right.patches]).reshape(4, 2)  # level, category
    np.testing.assert_allclose(widths, [[0.25, 0.9], [0.25, 0.1], [0.25, 0], [0.25, 0]])


def test_every_figure_says_which_edition_it_is_of(clips):
    samples, labels = clips
    for edition in ("quick", "lite"):
        figures = [
            overview.distribution(labels, edition),
            overview.splits(samples, labels, edition),
            overview.sizes(samples, edition),
            overview.pictures(None, samples, labels, ["s0"], edition),
        ]
        assert {figure.get_supxlabel() for figure in figures} == {EDITION_NOTES[edition]}


def test_splits_show_shares_rows_and_groups_in_the_usual_order(clips):
    (axes,) = overview.splits(*clips, "quick").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["train", "valid", "test"]
    widths = np.array([patch.get_width() for patch in axes.patches]).reshape(3, 3)  # class, split
    np.testing.assert_allclose(widths, [[3 / 4, 0, 0], [1 / 4, 1 / 3, 0], [0, 2 / 3, 1]])
    assert "3 rows in 2 groups" in words(axes.figure)


def test_blocks_take_the_place_of_splits(memes):
    (axes,) = overview.splits(*memes, "quick").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"block{i}" for i in range(10)]


def test_sizes_count_words_and_members(clips):
    left, right = overview.sizes(clips[0], "quick").axes
    assert heights(left) == [1, 0, 8, 0, 1]  # texts of one to five words
    assert heights(right) == [1, 1, 1, 1]  # groups of one to four rows


def test_much_longer_texts_share_the_last_bar(clips):
    samples = pd.concat([clips[0]] * 50, ignore_index=True)
    samples.loc[[0, 9], "text"] = "word " * 80
    left = overview.sizes(samples, "quick").axes[0]
    assert sum(heights(left)) == 500
    assert heights(left)[-2:] == [49, 2]  # 49 texts of five words are left, and the cut is at six
    assert any("2 texts of 6 to 80" in text.get_text() for text in left.texts)


def test_large_groups_stay_visible_among_many_small_ones(memes):
    samples = pd.concat([memes[0].assign(group=lambda f, n=n: f["group"] + str(n)) for n in range(5)])
    assert overview.sizes(samples, "quick").axes[1].get_yscale() == "linear"
    samples.iloc[:6, samples.columns.get_loc("group")] = "big"
    assert overview.sizes(samples, "quick").axes[1].get_yscale() == "symlog"


def test_spread_goes_from_lowest_to_highest(clips):
    shuffled = clips[1].sample(frac=1, random_state=1)
    assert overview.spread(shuffled, 2) == ["s0", "s9"]
    assert overview.spread(shuffled, 4) == ["s0", "s3", "s6", "s9"]
    assert overview.spread(shuffled, 99) == [f"s{i}" for i in range(10)]
    assert overview.spread(shuffled, 0) == []


@pytest.mark.parametrize(("value", "column", "said"), [(1.26, "intensity", "+1.3"), (-1, "sentiment", "negative")])
def test_labels_as_readers_see_them(value, column, said):
    assert overview.describe(value, column) == said


def test_memes_are_shown_with_label_and_text(memes, tmp_path):
    samples, labels = memes
    samples = samples.assign(text="it cost $5 or $6").astype(object)
    for number, colour in enumerate([(250, 0, 0), (0, 0, 250)]):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{number}.png")
        samples.loc[number, ["media", "kind"]] = [f"{number}.png", "image"]
    figure = overview.pictures(tmp_path, samples, labels, ["1.png", "0.png", "9.png"], "quick")
    figure.canvas.draw()  # dollar signs must not be read as formulas
    assert [axes.images[0].get_array()[0, 0].tolist() for axes in figure.axes[:2]] == [[0, 0, 250], [250, 0, 0]]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "1.png: negative",
        "0.png: negative",
        "9.png: positive",
    ]
    assert figure.axes[0].get_xlabel() == r"it cost \$5 or \$6"


def test_clips_are_shown_by_as_many_frames_as_asked(clips, tmp_path, monkeypatch):
    samples, labels = clips
    samples = samples.assign(media="clip.mp4", kind="clip")
    monkeypatch.setattr(overview.media, "read_frames", lambda path, n: ([Image.new("RGB", (8, 8))] * n, [0.0] * n))
    for frames in (2, 5):
        figure = overview.pictures(tmp_path, samples, labels, ["s0", "s9"], "quick", frames=frames)
        assert sum(len(axes.images) for axes in figure.axes) == 2 * frames
    assert {"s0: -3.0", "s9: +3.0"} <= set(words(figure))


def test_texts_without_media_have_no_empty_pictures(clips):
    figure = overview.pictures(None, *clips, ["s0", "s9"], "quick")
    assert len(figure.axes) == 2
    assert {"s0: -3.0", "one two three", "s9: +3.0", "one two three four five"} == set(words(figure)) - {""}


def test_rule_counts_and_averages_each_meeting(clips):
    truth = pd.DataFrame({"id": ["s0", "s1", "s9", "elsewhere"], "words": [2, 2, -1, 0], "face": [-2, -2, 1, 0]})
    figure = overview.rule(truth, clips[1], "sample")
    counts, means = (axes.images[0].get_array() for axes in figure.axes)
    assert counts[0, 0] == 2 and counts[3, 3] == 1  # words from +2 down, face from -2 to the right
    assert means[0, 0] == pytest.approx(-2.0) and means[3, 3] == pytest.approx(3.0)
    assert np.isfinite(means).sum() == 2
    assert titles(figure) == ["How many rows", "Mean intensity"]
    framed = [(p.get_x() + 0.46, p.get_y() + 0.46) for p in figure.axes[0].patches]
    assert {(round(x), round(y)) for x, y in framed} == {
        (x, y) for x in range(5) for y in range(5) if (x - 2) * (2 - y) < 0
    }
