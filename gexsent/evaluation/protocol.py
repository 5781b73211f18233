"""Faults of protocol as pure functions: splits that leak, labels that are made up, and what a difference of scores is worth
when the test rows differ."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gexsent.datasets import CATEGORIES
from gexsent.evaluation.score import seed_scores


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


def unknown_as_neutral(predictions: pd.DataFrame, test: pd.DataFrame, dataset: str) -> dict[str, float]:
    """{metric: its mean over seeds with unknown classes counted as 0 (neutral, or absent), minus that without these rows}.

    Args:
        predictions: of one system, a row a seed, partition and id.
        test: a row a partition and id, with a column a label, missing where unknown.
        dataset: which decides the metrics, see `seed_scores`; those of an intensity are as they were.
    """
    filled = test.assign(**{name: test[name].fillna(0) for name in ("sentiment", *CATEGORIES) if name in test})
    known = seed_scores(predictions, test, dataset)
    with_unknown = seed_scores(predictions, filled, dataset)
    metrics = [name for name in known if name.startswith("macro_f1") and name in with_unknown]
    return {name: float((with_unknown[name] - known[name]).mean()) for name in metrics}
