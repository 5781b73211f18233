"""Split conformal prediction: intervals and sets that hold the truth as often as promised (Vovk et al. 2005; Lei et al.
2018, arXiv 1604.04173).

A score says how strange a true value is for the model. The q-th smallest score of n calibration rows bounds the score
of a new row with probability at least `level`, for q = ceil((n + 1) level), if all n + 1 rows are exchangeable. Nothing
else is assumed: a bad model gets wide intervals, not wrong ones. The promise is about the average row; it is not made
for each kind of row, nor for a new row from a video that none of the calibration rows is from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gexsent.evaluation.compare import count_groups


def quantile(scores: np.ndarray, level: float) -> float:
    """Bound on the score of a new row, from calibration scores (n,); infinite where n is too small for the level."""
    place = _place(len(scores), level)
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else math.inf


def _place(count: np.ndarray | int, level: float) -> np.ndarray | int:
    # Without the small number, (n + 1) level would at times be a rounding error above a whole number.
    return np.ceil((np.asarray(count) + 1) * level - 1e-9).astype(int)


@dataclass(frozen=True)
class Scores:
    """Scores (N,) of one side, and the group of each row."""

    values: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Intervals:
    """Scores |true - pred| / scale of both sides; the bound q gives the interval pred ± q scale, cut to the label's
    limits. pred, scale: (N,) of the test side."""

    valid: Scores
    test: Scores
    pred: np.ndarray
    scale: np.ndarray
    limits: tuple[float, float]

    def sizes(self, bound: float) -> np.ndarray:
        """Widths (N,); an infinite interval is as wide as the limits are apart."""
        half = bound * self.scale
        return np.clip(self.pred + half, *self.limits) - np.clip(self.pred - half, *self.limits)


@dataclass(frozen=True)
class Sets:
    """Scores 1 - probability of the true class; the bound q gives the set of classes with probability >= 1 - q, the
    smallest sets on average (LAC; Sadinle et al. 2019, arXiv 1609.00451). A set may be empty.

    probability: (N, K) of the test side.
    """

    valid: Scores
    test: Scores
    probability: np.ndarray

    def sizes(self, bound: float) -> np.ndarray:
        """Classes in each set (N,)."""
        return (1 - self.probability <= bound).sum(1)


def surprise(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 - probability (N, K) of the true class (N,)."""
    return 1 - probability[np.arange(len(truth)), truth]


def drawn_coverage(
    valid: Scores, test: Scores, levels: Sequence[float], *, draws: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Test rows covered (levels, draws), and test rows (draws,), when groups of both sides are drawn anew.

    Each draw calibrates on its own validation groups: an interval of these shows how far coverage depends on which
    videos were at hand for calibration, and not only on which were tested.
    """
    bounds = _drawn_quantiles(valid, levels, draws, seed)  # (levels, draws)
    order, index, groups = _sorted(test)
    below = np.searchsorted(test.values[order], bounds, side="right")  # rows that a bound covers
    covered, rows, first = [], [], 0
    for counts in count_groups(groups, draws, seed + 1):
        through = np.cumsum(counts[:, index], axis=1)  # rows of the draw up to each score
        part = below[:, first : first + len(counts)]
        covered.append(np.where(part > 0, through[np.arange(len(counts)), np.maximum(part - 1, 0)], 0))
        rows.append(through[:, -1])
        first += len(counts)
    return np.concatenate(covered, axis=1), np.concatenate(rows)


def _drawn_quantiles(valid: Scores, levels: Sequence[float], draws: int, seed: int) -> np.ndarray:
    """(levels, draws): `quantile` of each draw of groups."""
    order, index, groups = _sorted(valid)
    ordered = np.append(valid.values[order], math.inf)
    bounds = []
    for counts in count_groups(groups, draws, seed):
        through = np.cumsum(counts[:, index], axis=1)
        places = [_place(through[:, -1], level) for level in levels]
        bounds.append([ordered[(through < place[:, None]).sum(1)] for place in places])
    return np.concatenate(bounds, axis=1)


def _sorted(side: Scores) -> tuple[np.ndarray, np.ndarray, int]:
    names, index = np.unique(side.groups, return_inverse=True)
    order = np.argsort(side.values, kind="stable")
    return order, index[order], len(names)
