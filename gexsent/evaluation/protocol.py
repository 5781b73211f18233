"""Faults of protocol as pure functions: splits that leak, labels that are made up, and what a difference of scores is worth
when the test rows differ."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gexsent.evaluation.metrics import macro_f1
from gexsent.evaluation.score import SENTIMENT_CLASSES


def deal(units: pd.Series, sizes: Mapping[str, int], seed: int) -> pd.Series:
    """Deal rows out to roles at random, all rows of a unit to one role.

    Args:
        units: by id, what must stay together: the id itself (clips dealt out one by one) or its video.
        sizes: {role: rows}. In random order, units fill the first role until it has its rows, then the next; the last
            takes what is left. With units of several rows a role can end up a unit too large.
        seed: the order depends on it and on the names of the units, not on the order of the rows.

    Returns:
        Role by id, in the order of `units`.
    """
    counts = units.value_counts().sort_index()
    order = np.random.default_rng(seed).permutation(counts.index.to_numpy())
    before = counts[order].cumsum() - counts[order]  # rows dealt out before this unit
    roles, limits = list(sizes), np.cumsum(list(sizes.values()))[:-1]
    # A role that overflows takes from the next: the limits are those of the sums, so that errors do not add up.
    chosen = np.searchsorted(limits, before.to_numpy(), side="right")
    return units.map(dict(zip(order, [roles[index] for index in chosen], strict=True)))


def shared(test_groups: pd.Series, train_groups: pd.Series) -> float:
    """Share of the test rows whose group (video) is also trained on."""
    return float(test_groups.isin(set(train_groups)).mean())


def unpaired(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """difference of means, its 95 % interval (low, high) and p, for scores (n,) of independent runs whose test rows differ
    (Welch 1947, Biometrika 34, 28-35); NaN but for the difference where a side has a single run or nothing varies."""
    from scipy.stats import ttest_ind  # here: a second of start-up

    result = {"difference": float(np.mean(first) - np.mean(second)), "low": np.nan, "high": np.nan, "p": np.nan}
    if min(len(first), len(second)) > 1 and np.var(first) + np.var(second) > 0:
        test = ttest_ind(first, second, equal_var=False)
        low, high = test.confidence_interval(0.95)
        result |= {"low": float(low), "high": float(high), "p": float(test.pvalue)}
    return result


def neutral_instead_of_unknown(predictions: pd.DataFrame, test: pd.DataFrame) -> float:
    """Mean over seeds of macro-F1 of the sentiment with unknown labels counted as neutral, minus that without these rows.

    Args:
        predictions: of one system, a row a seed, partition and id.
        test: a row a partition and id, with `sentiment`, missing where unknown.
    """
    changes = []
    for _, part in predictions.groupby("seed"):
        rows = test.merge(part, on=["partition", "id"], validate="one_to_one")
        known = rows[rows["sentiment"].notna()]
        scores = [
            macro_f1(
                frame["pred_sentiment"].to_numpy(np.int64),
                frame["sentiment"].fillna(0).to_numpy(np.int64),
                SENTIMENT_CLASSES,
            )
            for frame in (rows, known)
        ]
        changes.append(scores[0] - scores[1])
    return float(np.mean(changes))
