import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from gexsent.report import tour
from gexsent.report.style import COLOURS, use_style


@pytest.fixture(autouse=True)
def figures():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def dots(axes):
    """x of the round dots, row by row."""
    return [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "o"]


def outline(patch):
    """{middle: height} of the bins that are not empty, of a histogram drawn as one shape."""
    x, y = patch.get_path().vertices.T
    tops = [(a, b, h) for a, b, h, g in zip(x, x[1:], y, y[1:], strict=False) if h == g and b > a and h > 1e-6]
    return {round((a + b) / 2, 4): round(h, 4) for a, b, h in tops}


def framed(axes):
    return {(round(r.get_y() + 0.46), round(r.get_x() + 0.46)) for r in axes.patches if isinstance(r, Rectangle)}


def test_every_point_is_drawn_by_the_expert_that_fired_there():
    x, chosen = np.arange(6.0), np.array([2, 2, 0, 0, 0, 2])
    weights = np.full((6, 4), 0.25)
    fit, errors, _ = tour.specialists(x, x, x + 1, chosen, weights, {"a": [1, 3], "b": [2], "c": [5]}).axes
    points = {line.get_label(): line.get_xdata().tolist() for line in fit.lines}
    assert points["target"] == x.tolist()
    assert points["expert 1"] == [2, 3, 4] and points["expert 3"] == [0, 1, 5]
    assert points["expert 2"] == points["expert 4"] == []
    markers = {line.get_marker() for line in fit.lines if line.get_label() != "target"}
    assert len(markers) == 4, "told apart without colour"
    assert [label.get_text() for label in errors.get_yticklabels()] == ["a", "b", "c"]
    assert dots(errors) == [[1, 3], [2], [5]]
    assert [line.get_xdata()[0] for line in errors.lines if line.get_marker() == "|"] == [2, 2, 5]


def test_a_gate_that_is_always_a_tenth_is_one_bar():
    gates = {"dead": np.full(50, 0.1), "live": np.linspace(0.2, 0.8, 50)}
    left, right = tour.dead_gate(gates, [1, 10], {"dead": [0, 0], "live": [0.1, 0.3]}).axes
    dead, live = (outline(patch) for patch in left.patches)
    assert dead == {0.1: 1.0}
    assert len(live) > 10 and sum(live.values()) == pytest.approx(1)
    assert {line.get_label(): list(line.get_ydata()) for line in right.lines} == {"dead": [0, 0], "live": [0.1, 0.3]}


def test_levels_pair_hierarchical_and_flat_by_colour_and_draw_the_references():
    errors = {"two": [0.2, 0.4], "flat": [0.5], "two again": [0.1], "flat again": [0.3]}
    shares = {"reliable": np.array([0.9, 0.8]), "noise": np.array([0.1, 0.1, 0.1])}
    missed = {"four": np.array([[0, 0], [0.05, 0.15]]), "one": np.zeros((2, 2))}
    figure = tour.levels([1, 2], missed, errors, {"best": 0.05, "sum": 0.25}, shares)
    left, middle, right = figure.axes
    means = [line.get_ydata().tolist() for line in left.lines if not line.get_label().startswith("_")]
    assert means == [[0, 10], [0, 0]], "in per cent"
    draws = [line.get_ydata().tolist() for line in left.lines if line.get_marker() == "o"]
    assert draws == [[0, 5], [0, 15]]
    assert dots(middle) == list(errors.values())
    colours = [line.get_color() for line in middle.lines if line.get_marker() == "o"]
    assert colours == [COLOURS["gexsent"], COLOURS["text_only"]] * 2
    lines = {line.get_label(): line.get_xdata()[0] for line in middle.lines if not line.get_label().startswith("_")}
    assert lines == {"best": 0.05, "sum": 0.25}
    reliable, noise = (outline(patch) for patch in right.patches)
    assert sum(reliable.values()) == pytest.approx(1) and min(reliable) > 0.75
    assert list(noise.values()) == pytest.approx([1]) and max(noise) < 0.15


@pytest.fixture
def panels():
    errors = {
        "text_only": {"plain": [1.0, 2.0], "contradicted": [0.0, 0.0]},
        "vision_only": {"plain": [0.5, 0.5], "contradicted": [0.4, 0.4]},
        "late_fusion": {"plain": [0.9, 0.9], "contradicted": [0.8, 0.8]},
        "gexsent": {"plain": [0.7, 0.7], "contradicted": [0.5, 0.7]},
    }
    gates = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    changes = {"untrained": {"mouth": [0.0, 0.2], "rest": [0.1, 0.1]}, "trained": {"mouth": [0.6, 0.2], "rest": [0, 0]}}
    shares = {"plain": np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]]), "contradicted": np.array([[0.1, 0.2, 0.7]] * 2)}
    return tour.contradiction(errors, gates, [-1, 0, 2], changes, shares).axes


def test_bars_are_mean_errors_with_the_seeds_beside_them(panels):
    heights = [[bar.get_height() for bar in group] for group in panels[0].containers]
    assert np.allclose(heights, [[1.5, 0.0], [0.5, 0.4], [0.9, 0.8], [0.7, 0.6]])
    seeds = [line.get_ydata().tolist() for line in panels[0].lines]
    assert seeds[0] == [1.0, 2.0] and seeds[-1] == [0.5, 0.7]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["plain", "contradicted"]
    legend = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert legend == ["Text only", "Vision only", "Late fusion", "GEXSent"]
    bars = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for group in panels[0].containers for bar in group)
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(bars)), "none hides another"


def test_the_map_names_every_gate_and_frames_contradicted_pairs(panels):
    assert framed(panels[1]) == {(0, 2), (2, 0)}
    written = {text.get_position()[::-1]: text.get_text() for text in panels[1].texts}
    assert written[0, 1] == "0.20" and written[2, 0] == "0.70"
    assert len(written) == 9
    assert [label.get_text() for label in panels[1].get_yticklabels()] == ["-1", "0", "+2"]


def test_changes_and_shares_are_means_with_the_seeds_beside_them(panels):
    heights = [[bar.get_height() for bar in group] for group in panels[2].containers]
    assert np.allclose(heights, [[0.1, 0.1], [0.4, 0]])
    assert sorted(y for line in panels[2].lines for y in line.get_ydata()) == [0, 0, 0, 0.1, 0.1, 0.2, 0.2, 0.6]
    heights = [[bar.get_height() for bar in group] for group in panels[3].containers]
    assert np.allclose(heights, [[0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    assert sum(len(line.get_ydata()) for line in panels[3].lines) == 12
