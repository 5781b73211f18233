"""Conformal prediction: the finite-sample rule, the promised coverage, and draws against a plain loop."""

import math

import numpy as np
import pytest

from gexsent.evaluation import conformal
from gexsent.evaluation.compare import count_groups
from gexsent.evaluation.conformal import Intervals, Scores, Sets


def test_the_bound_is_the_score_number_n_plus_one_times_level():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))  # 1 … 19
    assert conformal.quantile(scores, 0.9) == 18  # ceil(20 * 0.9)
    assert conformal.quantile(scores, 0.95) == 19
    assert conformal.quantile(scores, 0.5) == 10
    assert conformal.quantile(scores, 0.96) == math.inf  # ceil(19.2) of 19
    assert conformal.quantile(scores[:0], 0.5) == math.inf
    # 0.1 + 0.2 and the like must not push a whole number over itself.
    assert all(conformal.quantile(np.arange(1.0, n), k / n) == k for n in range(2, 60) for k in range(1, n))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_exchangeable_rows_are_covered_as_promised(level):
    """At least the level, and at most 1 / (n + 1) more, on the mean over many calibration sets."""
    rng = np.random.default_rng(1)
    scores = rng.standard_cauchy(size=(4000, 40))  # however heavy the tails
    inside = [row[-1] <= conformal.quantile(row[:-1], level) for row in scores]
    noise = 3 * math.sqrt(level * (1 - level) / len(scores))
    assert level - noise <= np.mean(inside) <= level + 1 / 40 + noise


def test_interval_widths_by_hand():
    nothing = Scores(np.zeros(2), np.array(["a", "b"]))
    side = Intervals(nothing, nothing, np.array([0.0, 2.5]), np.array([1.0, 0.5]), (-3.0, 3.0))
    assert side.sizes(1.0).tolist() == [2.0, 1.0]
    assert side.sizes(2.0).tolist() == [4.0, 1.5]  # 1.5 … 3.5 is cut to 3
    assert side.sizes(math.inf).tolist() == [6.0, 6.0]


def test_sets_by_hand():
    probability = np.array([[0.75, 0.125, 0.125], [0.5, 0.375, 0.125]])
    assert conformal.surprise(probability, np.array([0, 2])).tolist() == [0.25, 0.875]
    nothing = Scores(np.zeros(2), np.array(["a", "b"]))
    side = Sets(nothing, nothing, probability)
    assert side.sizes(0.25).tolist() == [1, 0]
    assert side.sizes(0.625).tolist() == [1, 2]
    assert side.sizes(math.inf).tolist() == [3, 3]


def test_drawn_coverage_is_that_of_rows_written_out():
    rng = np.random.default_rng(2)
    valid = Scores(rng.random(25).round(1), rng.choice(list("abcde"), 25))
    test = Scores(rng.random(30).round(1), rng.choice(list("uvwxyz"), 30))
    levels = (0.8, 0.5)
    covered, count = conformal.drawn_coverage(valid, test, levels, draws=40, seed=4)
    sides = []
    for side, seed in ((valid, 4), (test, 5)):
        names = np.unique(side.groups)
        counts = np.concatenate(list(count_groups(len(names), 40, seed)))
        of_group = [side.values[side.groups == name] for name in names]
        sides.append([np.concatenate([np.tile(v, k) for v, k in zip(of_group, row, strict=True)]) for row in counts])
    assert count.tolist() == [len(new) for new in sides[1]]
    for level, row in zip(levels, covered, strict=True):
        expected = [(new <= conformal.quantile(known, level)).sum() for known, new in zip(*sides, strict=True)]
        assert row.tolist() == expected


def test_few_validation_groups_make_coverage_uncertain():
    """The same rows, alike inside their groups: with four of these the interval is wider than with forty."""
    rng = np.random.default_rng(3)

    def interval(groups):
        sides = []
        for _ in range(2):
            level = np.repeat(rng.random(groups), 160 // groups)
            sides.append(Scores(level + 0.05 * rng.random(160), np.repeat(np.arange(groups), 160 // groups)))
        covered, count = conformal.drawn_coverage(*sides, [0.8], draws=400)
        return np.ptp(np.percentile(covered[0] / count, (2.5, 97.5)))

    assert interval(4) > 1.5 * interval(40)
