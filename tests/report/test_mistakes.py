import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gexsent.report import mistakes
from gexsent.report.style import EDITION_NOTES, use_style


@pytest.fixture(autouse=True)
def figures():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


@pytest.fixture
def intensities():
    """Three rows and two seeds of gexsent; a row without a label; another system that is right everywhere."""
    rows = pd.DataFrame(
        {
            "system": "gexsent",
            "seed": [0] * 4 + [1] * 4,
            "id": ["a", "-b", "c", "d"] * 2,
            "intensity": [1.0, -2.0, 0.0, np.nan] * 2,
            "pred_intensity": [0.5, 1.0, 0.1, 3.0, -1.5, 2.0, 0.3, 3.0],
        }
    )
    perfect = rows.assign(system="text_only", pred_intensity=rows["intensity"].fillna(0))
    return pd.concat([perfect, rows], ignore_index=True)


@pytest.fixture
def classes():
    return pd.DataFrame(
        {
            "system": "gexsent",
            "seed": [0, 0, 0, 1, 1, 1],
            "id": ["x", "y", "z"] * 2,
            "sentiment": pd.array([-1, 1, None] * 2, "Int8"),
            "pred_sentiment": [0, 1, 1, 0, -1, 1],
            "p_sentiment_negative": [0.1, 0.2, 0.2, 0.2, 0.6, 0.2],
            "p_sentiment_neutral": [0.7, 0.1, 0.2, 0.6, 0.1, 0.2],
            "p_sentiment_positive": [0.2, 0.7, 0.6, 0.2, 0.3, 0.6],
        }
    )


def test_error_of_an_intensity_is_absolute(intensities):
    found = mistakes.errors(intensities[intensities["system"] == "gexsent"]).tolist()
    assert found == pytest.approx([0.5, 3.0, 0.1, np.nan, 2.5, 4.0, 0.3, np.nan], nan_ok=True)


def test_error_of_a_class_is_the_probability_that_the_true_one_lacks(classes):
    assert mistakes.errors(classes).tolist() == pytest.approx([0.9, 0.3, np.nan, 0.8, 0.7, np.nan], nan_ok=True)


def test_worst_intensities_on_the_mean_over_seeds(intensities):
    table = mistakes.worst(intensities, "gexsent", 10)
    assert table["id"].tolist() == ["-b", "a", "c"]  # the row without a label cannot be wrong
    assert table["actual"].tolist() == [-2.0, 1.0, 0.0]
    assert table["predicted"].tolist() == pytest.approx([1.5, -0.5, 0.2])
    assert table["error"].tolist() == pytest.approx([3.5, 1.5, 0.2])
    assert table["seeds wrong"].tolist() == ["2 of 2", "1 of 2", "2 of 2"]


def test_worst_gives_as_many_as_asked_for_of_the_system_asked_for(intensities):
    assert mistakes.worst(intensities, "gexsent", 1)["id"].tolist() == ["-b"]
    assert mistakes.worst(intensities, "text_only", 2)["error"].tolist() == [0.0, 0.0]
    assert mistakes.worst(intensities, "text_only", 2)["id"].tolist() == [
        "-b",
        "a",
    ]  # equal errors: in order of the ids


def test_worst_classes_have_names(classes):
    table = mistakes.worst(classes, "gexsent", 5)
    assert table["id"].tolist() == ["x", "y"]
    assert table["actual"].tolist() == ["negative", "positive"]
    assert table["predicted"].tolist() == ["neutral", "negative"]  # of two that are equally common, the lower
    assert table["error"].tolist() == pytest.approx([0.85, 0.5])
    assert table["seeds wrong"].tolist() == ["2 of 2", "1 of 2"]


def test_worst_of_a_missing_system_is_empty(intensities):
    assert mistakes.worst(intensities, "vision_only", 3).empty


def samples(*rows):
    return pd.DataFrame(rows, columns=["id", "text", "media", "kind"])


@pytest.fixture
def table():
    return pd.DataFrame(
        {"id": ["a$_$1", "b"], "actual": [1.0, -2.0], "predicted": [-0.5, 1.5], "error": [1.5, 3.5],
         "seeds wrong": ["1 of 2", "2 of 2"]}
    )  # fmt: skip


def words(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_rows_are_shown_with_text_and_picture(tmp_path, table):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "b.png")
    found = samples(("b", "costs $5 or $6", "b.png", "image"), ("a$_$1", "fine", "", "none"))
    figure = mistakes.shown(tmp_path, found, table, "sample")
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert [picture.shape for picture in pictures] == [(72, 96, 3)]  # small, and of the same proportions
    assert (pictures[0] == (255, 0, 0)).all()
    assert r"a\$_\$1: actual +1.00, predicted −0.50" in words(figure)
    assert r"costs \$5 or \$6" in words(figure)  # two dollar signs would make a formula
    assert "wrong sign with 2 of 2 seeds" in words(figure)
    assert "no picture" in words(figure)
    assert figure.get_supxlabel() == EDITION_NOTES["sample"]
    figure.canvas.draw()


@pytest.mark.parametrize("frames", [2, 3])
def test_clips_are_shown_as_frames(tmp_path, table, frames, monkeypatch):
    def read_frames(path, count):
        assert path == tmp_path / "clip.mp4"
        return [Image.new("RGB", (4, 4))] * count, [0.0] * count

    monkeypatch.setattr(mistakes.media, "read_frames", read_frames)
    found = samples(("a$_$1", "", "clip.mp4", "clip"), ("b", "b", "", "none"))
    figure = mistakes.shown(tmp_path, found, table, "sample", frames=frames)
    assert sum(bool(axes.images) for axes in figure.axes) == frames
    assert "(no text)" in words(figure)


def test_a_picture_that_has_gone_is_said(tmp_path, table):
    found = samples(("a$_$1", "a", "gone.png", "image"), ("b", "b", "gone.mp4", "clip"))
    assert words(mistakes.shown(tmp_path, found, table, "sample")).count("cannot\nbe read") == 2


def test_classes_are_shown_by_name(tmp_path, table):
    table = table.assign(actual="neutral", predicted="positive")
    found = samples(("a$_$1", "a", "", "none"), ("b", "b", "", "none"))
    figure = mistakes.shown(tmp_path, found, table, "sample")
    assert "b: actual neutral, predicted positive" in words(figure)
    assert "wrong class with" in words(figure)


def test_nothing_to_show_is_an_empty_figure(tmp_path, table):
    assert not mistakes.shown(tmp_path, samples(), table[:0], "sample").axes


@pytest.fixture
def truth():
    return pd.DataFrame({"id": ["a", "-b", "c", "d", "unused"], "sarcastic": [0, 1, 0, 1, 1]})


def test_errors_split_by_sarcasm(intensities, truth):
    split = mistakes.by_sarcasm(intensities, truth)
    assert split["system"].tolist() == ["gexsent"] * 2 + ["text_only"] * 2
    assert split["plain"].tolist() == pytest.approx([0.3, 1.4, 0, 0])
    assert split["sarcastic"].tolist() == pytest.approx([3.0, 4.0, 0, 0])


def test_a_kind_without_rows_is_undefined(intensities, truth):
    split = mistakes.by_sarcasm(intensities, truth.assign(sarcastic=0))
    assert split["sarcastic"].isna().all()
    assert split["plain"].notna().all()


def test_sarcasm_draws_means_as_bars_and_seeds_as_dots(intensities, truth):
    figure = mistakes.sarcasm(mistakes.by_sarcasm(intensities, truth), "MAE", "sample")
    axes = figure.axes[0]
    assert [bars[0].get_height() for bars in axes.containers] == pytest.approx([0.85, 3.5, 0, 0])
    assert axes.get_lines()[1].get_ydata().tolist() == pytest.approx([3.0, 4.0])
    assert axes.get_ylabel() == "MAE"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["GEXSent", "Text only"]
    assert figure.get_supxlabel() == EDITION_NOTES["sample"]
