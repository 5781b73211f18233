import dataclasses
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gexsent.evaluation.compare import PAIR_COLUMNS
from gexsent.evaluation.score import summarise
from gexsent.report.scores import Scores
from gexsent.report.style import COLOURS
from gexsent.report.summary import at_a_glance, glance_figure, seed_frame, systems

MOSI = {"gexsent": {"mae": [0.5, 0.7, 0.9]}, "early_fusion": {"mae": [1.0, 1.0, 1.0]}}
MEMOTION = {
    "gexsent": {f"macro_f1_{task}": [0.3, 0.4, 0.5] for task in "abc"},
    "text_only": {"macro_f1_a": [0.2, 0.3, math.nan], "macro_f1_b": [0.5] * 3, "macro_f1_c": [0.6] * 3},
}


def scores(dataset: str, values: dict[str, dict[str, list[float]]]) -> Scores:
    seeds = pd.concat(pd.DataFrame({"system": s, "seed": range(3), **metrics}) for s, metrics in values.items())
    seeds = seeds.assign(partitions=1, rows=80)
    return Scores(dataset, summarise(seeds), seeds)


@pytest.fixture(scope="module")
def found() -> list[Scores]:
    return [scores("mosi", MOSI), scores("memotion", MEMOTION)]


@pytest.fixture(scope="module")
def figure(found):
    drawn = glance_figure(found, "sample")
    yield drawn
    plt.close(drawn)


def test_systems_in_order_of_first_mention(found):
    assert systems(found) == ["gexsent", "early_fusion", "text_only"]


def test_at_a_glance_has_the_headlines_of_every_data_set(found):
    text = at_a_glance(found, [], "sample")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][:3] == ["System", "CMU-MOSI MAE ↓", "Memotion A: macro-F1 ↑"]
    assert rows[2] == ["GEXSent", "0.7000 ± 0.2000", *["0.4000 ± 0.1000"] * 3]
    assert rows[3] == ["Early fusion", "1.0000 ± 0.0000", "–", "–", "–"]
    assert rows[4][:3] == ["Text only", "–", "–"]
    assert "says nothing about sentiment" in text
    assert "CMU-MOSI 3; Memotion 3" in text
    assert "left out" not in text


def test_at_a_glance_says_what_is_left_out(found):
    assert "CMU-MOSEI is left out" in at_a_glance(found, ["mosei"], "lite")
    nothing = at_a_glance([], ["mosi", "mosei"], "lite")
    assert nothing.count("is left out") == 2
    assert "|" not in nothing


def test_a_winner_is_bold_and_the_rule_is_said(found):
    mosi, memotion = found
    pair = ["mae", "early_fusion", "gexsent", 0.3, 0.2, 0.4, 0.01, 0.02, 31, 3]
    tested = dataclasses.replace(mosi, pairs=pd.DataFrame([pair], columns=PAIR_COLUMNS))
    text = at_a_glance([tested, memotion], [], "sample")
    assert "| **0.7000 ± 0.2000** |" in text
    assert text.count("**") == 4  # the heading, and this one
    assert "Bold: the best mean" in text
    assert "Bold" not in at_a_glance(found, [], "sample")


def test_dashes_are_explained_only_where_there_are_any():
    whole = at_a_glance([scores("mosi", MOSI)], [], "sample")
    assert "–: undefined" not in whole


def test_figure_has_a_panel_for_each_headline_with_its_direction(figure):
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["CMU-MOSI", *["Memotion"] * 3]
    assert "lower is better" in figure.axes[0].get_xlabel()
    assert all("higher is better" in axis.get_xlabel() for axis in figure.axes[1:])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["GEXSent", "Early fusion", "Text only"]
    assert "generated data" in figure.get_supxlabel()


def test_figure_shows_every_seed_and_mean_with_deviation(figure):
    axis = figure.axes[0]
    points = next(line for line in axis.lines if len(line.get_xdata()) == 3)
    assert list(points.get_xdata()) == [0.5, 0.7, 0.9]
    mean, _, (bar,) = axis.containers[0].lines
    assert mean.get_xdata()[0] == pytest.approx(0.7)
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [0.5, 0.9], atol=1e-6)
    assert axis.yaxis_inverted()  # the first system on top


def test_figure_marks_what_is_undefined_or_was_not_run(figure):
    def dashes(axis):
        return [text.get_position()[1] for text in axis.texts if text.get_text() == "–"]

    assert dashes(figure.axes[0]) == [2]  # text_only was not run on MOSI
    assert dashes(figure.axes[1]) == [1, 2]  # early_fusion was not run; text_only is undefined for one seed
    assert dashes(figure.axes[2]) == [1]


def test_systems_have_their_colours_and_unknown_ones_another(figure):
    colours = [container.lines[0].get_color() for container in figure.axes[0].containers]
    assert colours[0] == COLOURS["gexsent"]
    assert colours[1] not in COLOURS.values()


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="nothing to draw"):
        glance_figure([], "sample")


def test_seed_frame_has_a_row_for_every_seed_and_headline(found):
    frame = seed_frame(found)
    assert list(frame.columns) == ["dataset", "system", "seed", "metric", "value"]
    assert len(frame) == 2 * 3 * 1 + 2 * 3 * 3
    chosen = frame.query("dataset == 'mosi' and system == 'gexsent'")
    assert chosen["value"].tolist() == [0.5, 0.7, 0.9]
    assert (list(seed_frame([]).columns), len(seed_frame([]))) == (list(frame.columns), 0)
