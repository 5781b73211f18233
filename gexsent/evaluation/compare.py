"""Is one system better than another? A paired bootstrap over groups of test rows, with Holm's correction.

Clips of one video and copies of one meme are alike, so whole groups are drawn, with replacement, and every system is
scored on the same draws (pairing: Koehn 2004, aclanthology.org/W04-3250; groups: Field and Welsh 2007, J. R. Statist.
Soc. B 69, 369-390). A system's score in a draw is the mean over its seeds. Intervals are percentiles (Efron and
Tibshirani 1993, chapter 13). What is drawn are test rows: the trained models are taken as given.

Each metric here depends on the rows through sums alone, such as the sum of errors or the hits of a class. With the sums
of each group in a matrix, ten thousand draws are one product: counts (draws, groups) @ sums (groups, columns).
"""

import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gexsent.datasets import DatasetSpec
from gexsent.evaluation.measures import Measure, measures
from gexsent.evaluation.metrics import MetricWarning
from gexsent.systems import REFERENCES, members

REFERENCE = "gexsent"
DRAWS = 10_000
SEED = 0
STEP = 256  # draws that are scored at once: their sums stay in a core's cache
CELLS = 2**21  # of the counts that stand in memory at once: 16 MB as integers
PAIR_COLUMNS = ["metric", "system", "reference", "difference", "low", "high", "p", "p_holm", "n_groups", "seeds"]
OWN_COLUMNS = ["metric", "system", "value", "low", "high", "n_groups", "seeds", "undefined"]


@dataclass(frozen=True)
class Bootstrap:
    """Scores of one metric: `point` on the test rows as they are, {system: score}; `draws`, a row a draw and a column a
    system; `seeds`, {system: number of seeds}. All are means over seeds; NaN where any seed's score is undefined."""

    point: pd.Series
    draws: pd.DataFrame
    seeds: pd.Series
    groups: int


def bootstrap(
    predictions: pd.DataFrame, labels: pd.DataFrame, dataset: str | DatasetSpec, *, draws: int = DRAWS, seed: int = SEED
) -> dict[str, Bootstrap]:
    """{metric: Bootstrap} of one data set. Metrics and systems share the draws. A system without predictions for a
    metric is left out of it, and a metric without labels altogether.

    Args:
        predictions: a row a system, seed, partition and id.
        labels: a row a partition and id, with `group` and the labels.

    Raises:
        ValueError: a test row without a group, or a system and seed that has not predicted each test row once.
    """
    if labels["group"].isna().any():
        raise ValueError(f"{dataset}: {int(labels['group'].isna().sum())} test rows have no group")
    # By name, so that the draws do not depend on the order of the rows; then the rows of a group lie together.
    labels = labels.sort_values(["group", "partition", "id"], ignore_index=True)
    starts = np.flatnonzero(labels["group"].ne(labels["group"].shift()).to_numpy())
    known = measures(dataset)
    sums: dict[str, dict[tuple[str, int], np.ndarray]] = {metric: {} for metric in known}
    for (system, fit_seed), part in predictions.groupby(["system", "seed"], sort=False):
        rows = labels.merge(part, on=["partition", "id"], how="inner", validate="one_to_one")
        if len(rows) != len(labels):
            raise ValueError(f"{system}, seed {fit_seed}: {len(labels) - len(rows)} test rows have no prediction")
        for metric, measure in known.items():
            if measure.is_known(rows):
                sums[metric][system, fit_seed] = np.add.reduceat(measure.terms(rows), starts, axis=0)
    found = {metric: columns for metric, columns in sums.items() if columns}
    known = {metric: known[metric] for metric in found}
    matrices = {metric: np.stack(list(columns.values()), axis=1) for metric, columns in found.items()}  # (G, fits, T)
    scores = score_draws(known, matrices, len(starts), draws, seed)
    result = {}
    for metric, columns in found.items():
        fits: dict[str, list[int]] = {}  # system -> its columns, one a seed
        for column, (system, _) in enumerate(columns):
            fits.setdefault(system, []).append(column)
        point = known[metric].score(matrices[metric].sum(0))
        # A seed whose score is undefined makes the mean undefined, as in the tables: leaving it out would flatter.
        result[metric] = Bootstrap(
            point=pd.Series({system: point[index].mean() for system, index in fits.items()}),
            draws=pd.DataFrame({system: scores[metric][:, index].mean(1) for system, index in fits.items()}),
            seeds=pd.Series({system: len(index) for system, index in fits.items()}),
            groups=len(starts),
        )
    return result


def score_draws(
    measures: Mapping[str, Measure], matrices: Mapping[str, np.ndarray], groups: int, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """{metric: (draws, fits)} of matrices (groups, fits, T), few draws at a time."""
    # Term by term, as the scores read them: (G, T, fits) -> (G, T fits).
    flat = {metric: _exact(matrix.swapaxes(1, 2).reshape(groups, -1)) for metric, matrix in matrices.items()}
    parts: dict[str, list[np.ndarray]] = {metric: [] for metric in measures}
    for block in count_groups(groups, draws, seed):
        for first in range(0, len(block), STEP):
            counts = {dtype: block[first : first + STEP].astype(dtype) for dtype in (np.float32, np.float64)}
            for metric, measure in measures.items():
                total = (counts[flat[metric].dtype.type] @ flat[metric]).astype(np.float64, copy=False)
                terms = matrices[metric].shape[2]
                parts[metric].append(measure.score(total.reshape(len(total), terms, -1).swapaxes(1, 2)))
    return {metric: np.concatenate(scores) for metric, scores in parts.items()}


def _exact(matrix: np.ndarray) -> np.ndarray:
    """As float32 where that loses nothing: whole numbers whose sum over any draw stays below 2**24."""
    whole = (matrix == np.round(matrix)).all() and len(matrix) * np.abs(matrix).max() < 2**24
    return matrix.astype(np.float32 if whole else np.float64)


def count_groups(groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (draws of the block, groups) of how often each draw holds each group; a row sums to `groups`."""
    generator = np.random.default_rng(seed)
    size = max(1, CELLS // groups)
    for first in range(0, draws, size):
        rows = min(size, draws - first)
        drawn = generator.integers(groups, size=(rows, groups))
        drawn += groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)


def intervals(boots: Mapping[str, Bootstrap]) -> pd.DataFrame:
    """OWN_COLUMNS: each system's own score with its 95 % interval; `undefined` counts the draws without a score."""
    rows = []
    for metric, boot in boots.items():
        for system, values in boot.draws.items():
            undefined = int(values.isna().sum())
            score = [boot.point[system], *_interval(values)]
            rows.append([metric, system, *score, boot.groups, boot.seeds[system], undefined])
    return _rounded(pd.DataFrame(rows, columns=OWN_COLUMNS))


def families(boots: Mapping[str, Bootstrap]) -> pd.DataFrame:
    """PAIR_COLUMNS: the `pairs` of every family of `gexsent.systems`, each with a correction of its own."""
    names = list(dict.fromkeys(system for boot in boots.values() for system in boot.draws))
    parts = [pairs(boots, reference, members(family, names)) for family, reference in REFERENCES.items()]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def pairs(
    boots: Mapping[str, Bootstrap], reference: str = REFERENCE, systems: Collection[str] | None = None
) -> pd.DataFrame:
    """PAIR_COLUMNS: each of `systems` (default: all) minus the reference, a row a metric and system.

    p is two-sided and has Holm's correction over all rows (`p_holm`), those without a p apart. `seeds` is the system's.
    """
    rows = []
    for metric, boot in boots.items():
        if reference not in boot.draws:
            continue
        for system in boot.draws.columns.drop(reference):
            if systems is not None and system not in systems:
                continue
            difference = boot.point[system] - boot.point[reference]
            # Equal systems differ by rounding errors of the product; a test must not see those.
            drawn = (boot.draws[system] - boot.draws[reference]).round(12)
            p = p_value(drawn.to_numpy()) if np.isfinite(difference) else np.nan
            low, high = _interval(drawn) if np.isfinite(difference) else (np.nan, np.nan)
            seeds = boot.seeds[system]
            rows.append([metric, system, reference, difference, low, high, p, np.nan, boot.groups, seeds])
    result = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    result["p_holm"] = holm(result["p"].to_numpy(float))
    return _rounded(result)


def say_undefined(own: pd.DataFrame, dataset: str) -> None:
    """One MetricWarning for all scores of `intervals` that some draw leaves undefined."""
    undefined = own[own["undefined"] > 0].itertuples()
    said = [f"{row.metric} of {row.system} in {row.undefined:,}" for row in undefined]
    if said:
        message = f"{dataset}: undefined in draws, which its interval leaves out and its p counts as no difference: "
        warnings.warn(message + "; ".join(said), MetricWarning, stacklevel=2)


def p_value(differences: np.ndarray) -> float:
    """Two-sided p of "no difference" from drawn differences (draws,): twice the smaller tail, with 1 added to both
    counts, so that p is never 0 (Davison and Hinkley 1997, chapter 4). An undefined draw (NaN) counts for both
    tails, against a difference."""
    smaller = min((~(differences > 0)).sum(), (~(differences < 0)).sum())
    return min(1.0, 2 * (1 + int(smaller)) / (1 + len(differences)))


def holm(p: np.ndarray) -> np.ndarray:
    """p (M,) after Holm's step-down correction (Holm 1979); NaN is no test, stays NaN, and does not count."""
    order = np.argsort(p, kind="stable")  # NaN last
    order = order[~np.isnan(p[order])]
    adjusted = np.full(len(p), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


def _interval(values: pd.Series) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the draws that are defined."""
    defined = values.dropna()
    return tuple(np.percentile(defined, (2.5, 97.5))) if len(defined) else (np.nan, np.nan)


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.round(6)
