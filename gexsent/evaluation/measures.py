"""Metrics of `metrics.py` that are functions of sums over rows, so that they can be computed from sums of groups.

A measure says what each row adds (`terms`) and what the score of the sums is (`score`). A row without a label adds
nothing. Sums over a subset of rows, a row counted twice or not at all, give the metric of that subset.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from gexsent import datasets
from gexsent.datasets import LEVEL, PRESENT, SENTIMENT
from gexsent.tasks import Task

# Least share of a variance, in units of the largest squared deviation, that is not rounding: below it, values are equal.
NOISE = 1e-12


class Measure(Protocol):
    def is_known(self, rows: pd.DataFrame) -> bool:
        """Whether the rows hold both predictions and labels for it."""

    def terms(self, rows: pd.DataFrame) -> np.ndarray:
        """(N, T): what each row adds."""

    def score(self, sums: np.ndarray) -> np.ndarray:
        """(..., T) -> (...); NaN where undefined."""


@dataclass(frozen=True)
class MeanError:
    """MAE."""

    pred: str
    true: str

    def is_known(self, rows: pd.DataFrame) -> bool:
        return _both(rows, self.pred, self.true)

    def terms(self, rows: pd.DataFrame) -> np.ndarray:
        pred, true, known = _arrays(rows, self.pred, self.true)
        return np.stack([np.where(known, np.abs(pred - true), 0), known], axis=1)

    def score(self, sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # no labelled row: 0 / 0 is NaN
            return sums[..., 0] / sums[..., 1]


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation; undefined where predictions or labels are constant."""

    pred: str
    true: str

    def is_known(self, rows: pd.DataFrame) -> bool:
        return _both(rows, self.pred, self.true)

    def terms(self, rows: pd.DataFrame) -> np.ndarray:
        pred, true, known = _arrays(rows, self.pred, self.true)
        # Sums of squares of what is far from 0 would lose the digits that their difference needs.
        p, t = _standard(pred, known), _standard(true, known)
        return np.stack([known, p, t, p * p, t * t, p * t], axis=1)

    def score(self, sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            p, t, pp, tt, pt = np.moveaxis(sums[..., 1:] / sums[..., :1], -1, 0)
            spread_p, spread_t = pp - p * p, tt - t * t
            constant = ~((spread_p > NOISE) & (spread_t > NOISE))
            return np.where(constant, np.nan, (pt - p * t) / np.sqrt(spread_p * spread_t))


@dataclass(frozen=True)
class MacroF1:
    """Mean over `parts` of macro-F1, each part a column of predictions, one of labels and their classes."""

    parts: tuple[tuple[str, str, tuple[int, ...]], ...]

    def is_known(self, rows: pd.DataFrame) -> bool:
        return all(_both(rows, pred, true) for pred, true, _ in self.parts)

    def terms(self, rows: pd.DataFrame) -> np.ndarray:
        """For each part and class: hits, then how often it is true plus how often it is predicted."""
        columns = []
        for pred_name, true_name, classes in self.parts:
            pred, true, known = _arrays(rows, pred_name, true_name)
            true = np.minimum(true, classes[-1])  # any degree counts as present
            is_pred = (pred[:, None] == classes) & known[:, None]
            is_true = (true[:, None] == classes) & known[:, None]
            columns += [is_pred & is_true, is_pred.astype(float) + is_true]
        return np.concatenate(columns, axis=1).astype(np.float64)

    def score(self, sums: np.ndarray) -> np.ndarray:
        # Class by class: numpy sums a short last axis ten times as slowly as it adds whole arrays.
        scores, start = [], 0
        for _, _, classes in self.parts:
            added, seen = np.zeros(sums.shape[:-1]), np.zeros(sums.shape[:-1])
            for place in range(start, start + len(classes)):
                hits, total = sums[..., place], sums[..., place + len(classes)]
                added += np.divide(2 * hits, total, out=np.zeros(total.shape), where=total > 0)
                seen += total
            start += 2 * len(classes)
            scores.append(np.where(seen > 0, added / len(classes), np.nan))  # no labelled row: nothing to score
        return np.mean(scores, axis=0)


def _both(rows: pd.DataFrame, pred: str, true: str) -> bool:
    return all(name in rows and rows[name].notna().any() for name in (pred, true))


def _arrays(rows: pd.DataFrame, pred: str, true: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions and labels (N,) as float64, and whether each row has a label.

    Raises:
        ValueError: a row with a label and without a prediction.
    """
    predicted, labels = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in (pred, true))
    known = ~np.isnan(labels)
    if np.isnan(predicted[known]).any():
        raise ValueError(f"{pred}: {int(np.isnan(predicted[known]).sum())} labelled rows have no prediction")
    return predicted, labels, known


def _standard(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Centred, the largest deviation 1; 0 where not known."""
    centred = np.where(known, values - values[known].mean(), 0)
    return centred / (np.abs(centred).max() or 1)


def measures(dataset: str | datasets.DatasetSpec) -> dict[str, Measure]:
    """{metric: its measure} of a data set."""
    spec = datasets.spec(dataset)
    if spec.has_categories:
        return {
            spec.score_names(SENTIMENT)[0]: MacroF1((_classes(SENTIMENT),)),
            "macro_f1_b": MacroF1(tuple(map(_classes, PRESENT))),
            "macro_f1_c": MacroF1(tuple(map(_classes, LEVEL))),
        }
    found: dict[str, Measure] = {}
    for task in spec.tasks:
        first, second = spec.score_names(task)
        if task.kind == "regression":
            found |= {first: MeanError(f"pred_{task.name}", task.label)}
            found |= {second: Correlation(f"pred_{task.name}", task.label)}
        else:
            found[first] = MacroF1((_classes(task),))
    return found


def _classes(task: Task) -> tuple[str, str, tuple[int, ...]]:
    return f"pred_{task.name}", task.label, tuple(range(task.first, task.first + len(task.classes)))
