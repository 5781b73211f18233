"""When should a model keep silent? Risk-coverage curves and the area under them (El-Yaniv and Wiener 2010; Geifman et
al. 2019, arXiv 1805.08206).

Rows are answered in the order of a signal, the most trusted first. At coverage c the risk is the mean loss of the share
c that was answered. Equal signals give no order: there the curve is the mean over all of them, so that a constant
signal has exactly the risk of answering at random.
"""

import numpy as np


def curve(loss: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (N,) and signal (N,), high where the model is to be trusted -> coverage (N,), rising, and risk (N,)."""
    order, starts = _ties(signal)
    sizes = np.diff(np.append(starts, len(order)))
    expected = np.repeat(np.add.reduceat(loss[order], starts) / sizes, sizes)
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(expected) / answered


def area(loss: np.ndarray, signal: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """AURC, the mean risk over the coverages 1/N, 2/N, …, 1; in the unit of the loss.

    Args:
        loss, signal: (N,).
        counts: (N, draws) how often a draw holds each row; none: each row once. Copies of a row are ties.

    Returns:
        (draws,), or () without counts.
    """
    order, starts = _ties(signal)
    size = np.ones(len(order), np.int64) if counts is None else counts[order]
    total = (size.T * loss[order]).T
    if len(starts) < len(order):
        size, total = np.add.reduceat(size, starts), np.add.reduceat(total, starts)  # (T, …) rows of a tie, their loss
    through, lost = np.cumsum(size, 0), np.cumsum(total, 0)
    # After t rows of a tie the risk is (lost before + t mean) / (before + t) = mean + (lost before - mean before) /
    # (before + t). Summed over t = 1 … size, the last part is a difference of harmonic numbers.
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, through[-1].max() + 1))])[through]
    steps = np.diff(harmonic, axis=0, prepend=0)
    mean = total / np.maximum(size, 1)
    summed = lost[-1] + ((lost - total - mean * (through - size)) * steps).sum(0)
    return summed / through[-1]


def gain(area: np.ndarray, random: np.ndarray, oracle: np.ndarray) -> np.ndarray:
    """How much of what an oracle gains over random order a signal gains: 1 the oracle, 0 random, negative: worse.

    Args:
        area, random, oracle: areas of the signal, of random order (the mean loss), and of the order of the loss itself.
            NaN where the last two are equal: there is nothing to gain.
    """
    possible = np.asarray(random - oracle, float)
    return np.divide(random - area, possible, out=np.full(possible.shape, np.nan), where=possible > 1e-12)


def direction(loss: np.ndarray, signal: np.ndarray) -> int:
    """1 where rows of high signal have the smaller losses, else -1: to be chosen on validation rows."""
    return 1 if area(loss, signal) <= area(loss, -signal) else -1


def ranks(signal: np.ndarray) -> np.ndarray:
    """(N,) -> ranks from 0 to 1, ties sharing theirs: signals of several models, each ranked by itself, can be pooled."""
    _, inverse, counts = np.unique(signal, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - (counts + 1) / 2) / max(1, len(signal) - 1))[inverse]


def _ties(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of falling signal (N,), and where in it each stretch of equal signals starts."""
    order = np.argsort(-signal, kind="stable")
    return order, np.flatnonzero(np.append(True, np.diff(signal[order]) != 0))
