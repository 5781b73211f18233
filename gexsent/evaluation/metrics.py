"""Metrics to the last rounding rule.

Intensity follows MMSA (github.com/thuiar/MMSA, utils/metricsTop.py), which the field quotes; Memotion follows
SemEval-2020 Task 8 (arXiv 2008.03781).
"""

import warnings

import numpy as np


class MetricWarning(UserWarning):
    """A metric is undefined, or counts a class that was never predicted."""


def intensity(pred: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """MAE, Corr, Acc-7, Acc-5, and Acc-2 with weighted F1 in both conventions.

    has-0: every sample, non-negative against negative. non-0: samples with a true value other than 0, positive against
    the rest, so that a prediction of exactly 0 counts as negative.

    Args:
        pred, true: (N,) intensities.

    Returns:
        mae and corr in their own units, the others from 0 to 100. Undefined values are NaN, with a MetricWarning: corr
        when either side is constant, the non-0 pair when every label is 0.

    Raises:
        ValueError: empty, of different lengths, or not finite.
    """
    pred, true = _pair(pred, true, np.float64)
    if not np.isfinite(pred).all() or not np.isfinite(true).all():
        raise ValueError("intensities must be finite; found NaN or infinity")
    nonzero = true != 0
    if not nonzero.any():
        warnings.warn("Acc-2 and F1 non-0 are undefined: every label is 0", MetricWarning, stacklevel=2)
    scores = {
        "mae": float(np.abs(pred - true).mean()),
        "corr": correlation(pred, true),
        "acc7": 100 * float((_rounded(pred, 3) == _rounded(true, 3)).mean()),
        "acc5": 100 * float((_rounded(pred, 2) == _rounded(true, 2)).mean()),
    }
    for name, guess, truth in (("has0", pred >= 0, true >= 0), ("non0", pred[nonzero] > 0, true[nonzero] > 0)):
        scores[f"acc2_{name}"] = 100 * float((guess == truth).mean()) if len(truth) else float("nan")
        scores[f"f1_{name}"] = 100 * weighted_f1(guess, truth) if len(truth) else float("nan")
    return scores


def _rounded(values: np.ndarray, limit: int) -> np.ndarray:
    return np.round(np.clip(values, -limit, limit))  # numpy rounds halves to even, as MMSA does


def correlation(pred: np.ndarray, true: np.ndarray) -> float:
    """Pearson's; NaN with a MetricWarning where either side is constant."""
    if np.ptp(pred) == 0 or np.ptp(true) == 0:
        warnings.warn("Corr is undefined: the predictions or the labels are constant", MetricWarning, stacklevel=3)
        return float("nan")
    # Scaled to 1 first: the squares of values that hardly differ would underflow to 0.
    pred, true = (centred / np.abs(centred).max() for centred in (pred - pred.mean(), true - true.mean()))
    return float(np.corrcoef(pred, true)[0, 1])


def confusion(pred: np.ndarray, true: np.ndarray, classes: list[int]) -> np.ndarray:
    """Counts (K, K): rows are true classes, columns predicted ones.

    Raises:
        ValueError: lengths differ, nothing given, or a value is no class.
    """
    pred, true = _class_pair(pred, true)
    unknown = set(np.unique(np.concatenate([pred, true])).tolist()) - set(classes)
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]} is not one of the classes {classes}")
    index = {value: place for place, value in enumerate(classes)}
    flat = [index[t] * len(classes) + index[p] for p, t in zip(pred.tolist(), true.tolist(), strict=True)]
    return np.bincount(flat, minlength=len(classes) ** 2).reshape(len(classes), -1)


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """F1 (K,) from a confusion matrix; 0 for a class without a hit, predicted or not."""
    hits = np.diag(counts).astype(float)
    total = counts.sum(0) + counts.sum(1)
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def macro_f1(pred: np.ndarray, true: np.ndarray, classes: list[int]) -> float:
    """Plain mean of the F1 of all classes, from 0 to 1.

    A class that is never predicted counts 0, with a MetricWarning. A class that is neither predicted nor true counts 0
    too: the mean is over the task's classes, whatever a subset holds.
    """
    counts = confusion(pred, true, classes)
    never = [c for c, column in zip(classes, counts.sum(0), strict=True) if column == 0]
    if never:
        warnings.warn(f"never predicted and counted as 0: class {never}", MetricWarning, stacklevel=2)
    return float(f1_by_class(counts).mean())


def weighted_f1(pred: np.ndarray, true: np.ndarray) -> float:
    """F1 of two classes, weighted by how often each is true, from 0 to 1."""
    counts = confusion(pred, true, [0, 1])
    return float((f1_by_class(counts) * counts.sum(1)).sum() / counts.sum())


def accuracy(pred: np.ndarray, true: np.ndarray) -> float:
    """Share of equal pairs, from 0 to 100."""
    pred, true = _class_pair(pred, true)
    return 100 * float((pred == true).mean())


def _class_pair(pred: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = _pair(pred, true, np.float64)
    if any((values != np.round(values)).any() or not np.isfinite(values).all() for values in pair):
        raise ValueError("classes must be whole numbers")  # a cast would cut 0.7 off to 0 and say nothing
    return pair[0].astype(np.int64), pair[1].astype(np.int64)


def _pair(pred: np.ndarray, true: np.ndarray, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    pred, true = np.asarray(pred, dtype), np.asarray(true, dtype)
    if pred.ndim != 1 or pred.shape != true.shape or not len(pred):
        raise ValueError(f"expected two arrays (N,) of the same length, found {pred.shape} and {true.shape}")
    return pred, true
