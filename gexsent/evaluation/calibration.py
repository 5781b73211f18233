"""Do probabilities mean what they say? Reliability bins, calibration error, proper scores, and scaling after training.

A model is calibrated when, of all rows for which it gives its class probability p, a share p is right. The expected
calibration error (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599) is the mean gap between the two over bins of
confidence. It depends on the bins, and it is never 0 on finitely many rows: `error_floor` says what a perfect model
would show. Brier score and negative log-likelihood have no bins, and reward being right as well as knowing it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

BINS = 10
LOWEST, HIGHEST = 0.02, 50.0  # of 1 / temperature
PRIOR = 3.0  # standard deviation of a bias, in logits: keeps a class that was never seen from probability 0


def bins(confidence: np.ndarray, right: np.ndarray, *, count: int = BINS, equal: str = "mass") -> pd.DataFrame:
    """Confidence against accuracy in bins.

    Args:
        confidence: (N,) probability of the class that was chosen.
        right: (N,) whether it was the true one.
        count: at most so many bins.
        equal: "mass", bins that hold equally many rows but for ties, or "width", equal stretches of [0, 1]; empty ones
            are left out.

    Returns:
        One row a bin, least confident first: rows, confidence and accuracy (means).
    """
    if equal not in ("mass", "width"):
        raise ValueError(f"equal must be 'mass' or 'width', found {equal!r}")
    in_width = np.minimum((confidence * count).astype(int), count - 1)  # a confidence of 1 belongs to the last bin
    place = _equal_mass(confidence, count) if equal == "mass" else in_width
    parts = [place == index for index in range(count)]
    rows = [(part.sum(), confidence[part].mean(), right[part].mean()) for part in parts if part.any()]
    return pd.DataFrame(rows, columns=["rows", "confidence", "accuracy"])


def _equal_mass(confidence: np.ndarray, count: int) -> np.ndarray:
    """(N,) bin of each row. Equal confidences share a bin: parting them would make gaps of mere chance."""
    ordered = np.sort(confidence)
    firsts = [part[0] for part in np.array_split(ordered, min(count, len(ordered)))[1:]]
    return np.searchsorted(np.unique(firsts), confidence, side="right")


def error(table: pd.DataFrame) -> float:
    """Expected calibration error of a table of `bins`: the mean gap, weighted by rows, from 0 to 1."""
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((table["rows"] * gaps).sum() / table["rows"].sum())


def class_error(probability: np.ndarray, truth: np.ndarray, *, count: int = BINS) -> float:
    """The calibration error of the probability of each class (N, K), chosen or not, in bins of equal mass; the mean
    over classes (static calibration error: Nixon et al. 2019, arXiv 1904.01685).

    It sees what the error of the chosen class can miss: a class that is too likely everywhere, at the cost of another.
    """
    errors = [error(bins(one, truth == index, count=count)) for index, one in enumerate(probability.T)]
    return float(np.mean(errors))


def error_floor(confidence: np.ndarray, *, count: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The error, in bins of equal mass, to be expected of a model with these confidences (N,) that means every one."""
    place = _equal_mass(confidence, count)
    right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    parts = [place == index for index in np.unique(place)]
    gaps = [part.sum() * np.abs(confidence[part].mean() - right[:, part].mean(1)) for part in parts]
    return float(np.sum(gaps, axis=0).mean() / len(confidence))


def brier(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared distance of probabilities (N, K) from the true class (N,), from 0 to 2 (Brier 1950)."""
    return float(((probability - np.eye(probability.shape[1])[truth]) ** 2).sum(1).mean())


def nll(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log-likelihood of the true class in nats; probabilities below 1e-12 count as that."""
    return float(-np.log(np.maximum(probability[np.arange(len(truth)), truth], 1e-12)).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., K) -> probabilities (..., K)."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Scaling:
    """softmax(logits / temperature + bias). Without a bias no decision changes, only how sure each one is."""

    temperature: float
    bias: np.ndarray  # (K,)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Logits (..., K), or log-probabilities, which differ by a constant -> probabilities (..., K)."""
        return softmax(logits / self.temperature + self.bias)


def fit(logits: np.ndarray, truth: np.ndarray, *, bias: bool) -> Scaling:
    """The scaling with the least negative log-likelihood on rows that did not train the model.

    With `bias` False this is temperature scaling; with `bias` also one shift a class, as in bias-corrected temperature
    scaling (Alexandari et al. 2020, arXiv 1901.06852). It takes back whatever was added to the logits of a class: the
    correction for uneven classes in training, and shifts of decision thresholds.

    Args:
        logits: (N, K).
        truth: (N,) class index.
        bias: fit the class biases too; a weak Gaussian prior holds them (see PRIOR).
    """
    count, classes = logits.shape
    logits = logits - logits.mean(1, keepdims=True)
    onehot = np.eye(classes)[truth]

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        inverse, shift = parameters[0], parameters[1:]
        scores = inverse * logits + shift
        top = scores.max(1, keepdims=True)
        log_sum = top + np.log(np.exp(scores - top).sum(1, keepdims=True))
        slope = (np.exp(scores - log_sum) - onehot) / count  # (N, K)
        loss = -((scores - log_sum) * onehot).sum() / count + (shift**2).sum() / (2 * PRIOR**2 * count)
        return loss, np.concatenate([[(slope * logits).sum()], slope.sum(0) + shift / (PRIOR**2 * count)])

    # Convex in 1 / temperature and bias together, so that where it starts does not matter.
    limits = [(LOWEST, HIGHEST)] + [(None, None) if bias else (0.0, 0.0)] * classes
    start = np.concatenate([[1.0], np.zeros(classes)])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=limits, options={"ftol": 1e-12}).x
    return Scaling(1 / found[0], found[1:])
