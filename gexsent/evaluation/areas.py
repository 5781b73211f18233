"""From predictions under damage to curves, areas under them, and paired intervals of the areas.

The area under a curve is its mean height over the levels of its protocol (trapezoids), in the metric's own units: an
area equals the score itself where damage does nothing. Areas are linear in the scores of the levels, so that their
bootstrap is the one of `compare`: the same draws of whole groups for every level, run and system.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from gexsent import datasets
from gexsent.evaluation import compare
from gexsent.evaluation.compare import Bootstrap
from gexsent.evaluation.measures import measures
from gexsent.evaluation.robustness import LEVELS, WHOLE, Columns, Condition, Fit
from gexsent.model.build import DROPOUT

Outcomes = Mapping[Fit, Mapping[Condition, Columns]]


def weights(protocol: str) -> dict[float, float]:
    """{level: weight} of the area under a curve with these levels, as the trapezoid rule has it; they sum to 1."""
    levels = np.array(LEVELS[protocol])
    half = np.diff(levels) / 2
    return dict(
        zip(LEVELS[protocol], (np.append(half, 0) + np.append(0, half)) / (levels[-1] - levels[0]), strict=True)
    )


def protocols(outcomes: Outcomes) -> list[str]:
    """Those that were run, in the order of LEVELS."""
    found = {condition.protocol for conditions in outcomes.values() for condition in conditions}
    return [name for name in LEVELS if name in found]


def run_weights(runs: Sequence[tuple[int, Condition]], protocol: str) -> np.ndarray:
    """Weight (K,) of each run (seed, condition) of a system in its area: at each level the mean over seeds and draws."""
    result = np.zeros(len(runs))
    for level, weight in weights(protocol).items():
        name = protocol if level else WHOLE
        columns = [k for k, (_, c) in enumerate(runs) if c.protocol == name and c.level == level]
        result[columns] = weight / len(columns)
    return result


def score(
    outcomes: Outcomes, labels: pd.DataFrame, dataset: str, *, draws: int = compare.DRAWS, seed: int = compare.SEED
) -> tuple[pd.DataFrame, dict[tuple[str, str], Bootstrap]]:
    """Curves, and the areas under those of the headline metrics.

    Args:
        outcomes: prediction columns in the order of `labels`.
        labels: with `group`.

    Returns:
        Columns system, seed, protocol, level, draw, and the metrics of `measures`, a row a fit and condition; and
        {(protocol, metric): Bootstrap of the area of every system}.
    """
    by_group = labels.reset_index(drop=True).sort_values(["group", "partition", "id"])
    order = by_group.index.to_numpy()
    starts = np.flatnonzero(by_group["group"].ne(by_group["group"].shift()).to_numpy())
    values = {
        name: column.to_numpy(np.float64, na_value=np.nan)
        for name, column in by_group.items()
        if pd.api.types.is_numeric_dtype(column)
    }
    names = protocols(outcomes)
    records: list[dict] = []
    point: dict[tuple[str, str], dict[str, float]] = {
        (p, m): {} for p in names for m in datasets.spec(dataset).headlines
    }
    drawn: dict[tuple[str, str], dict[str, np.ndarray]] = {key: {} for key in point}
    seeds: dict[str, int] = {}
    for system, runs in _by_system(outcomes):
        rows = _rows(values, [{name: v[order] for name, v in columns.items()} for columns in runs.values()])
        known = {name: measure for name, measure in measures(dataset).items() if measure.is_known(rows)}
        sums = {}
        for name, measure in known.items():
            terms = measure.terms(rows).reshape(len(runs), len(labels), -1)  # (K, N, T)
            sums[name] = np.add.reduceat(terms, starts, axis=1).swapaxes(0, 1)  # (G, K, T)
        scores = {name: measure.score(sums[name].sum(0)) for name, measure in known.items()}  # (K,)
        for k, (fit_seed, condition) in enumerate(runs):
            record = {"system": system, "seed": fit_seed} | asdict(condition)
            records.append(record | {name: values[k] for name, values in scores.items()})
        headlines = {name: known[name] for name in datasets.spec(dataset).headlines if name in known}
        resampled = compare.score_draws(
            headlines, {n: sums[n] for n in headlines}, len(starts), draws, seed
        )  # (draws, K)
        seeds[system] = len({fit_seed for fit_seed, _ in runs})
        for protocol in names:
            weight = run_weights(list(runs), protocol)
            for name in headlines:
                point[protocol, name][system] = float(scores[name] @ weight)
                drawn[protocol, name][system] = resampled[name] @ weight
    boots = {
        key: Bootstrap(pd.Series(values), pd.DataFrame(drawn[key]), pd.Series(seeds), len(starts))
        for key, values in point.items()
        if values
    }
    return pd.DataFrame(records).round(6), boots


def _rows(labels: dict[str, np.ndarray], runs: list[Columns]) -> pd.DataFrame:
    """The labels (N,) beside the predictions (N,) of each of K runs, one run below the other: (K N) rows.

    In one piece: pandas takes longer to make hundreds of small frames than everything else here takes.
    """
    predicted = {name: np.concatenate([run[name] for run in runs]) for name in runs[0] if name.startswith("pred_")}
    return pd.DataFrame({name: np.tile(column, len(runs)) for name, column in labels.items()} | predicted)


def _by_system(outcomes: Outcomes) -> Iterator[tuple[str, dict[tuple[int, Condition], Columns]]]:
    for system in dict.fromkeys(system for system, _ in outcomes):
        yield (
            system,
            {
                (seed, condition): columns
                for (name, seed), found in outcomes.items()
                if name == system
                for condition, columns in found.items()
            },
        )


def table(boots: Mapping[tuple[str, str], Bootstrap]) -> pd.DataFrame:
    """A row a protocol, metric and system: area with its interval, and its difference from the system's reference."""
    result = _against({"/".join(key): boot for key, boot in boots.items()})
    split = result.pop("metric").str.split("/", expand=True)
    result.insert(0, "protocol", split[0])
    result.insert(1, "metric", split[1])
    return result


def _against(boots: Mapping[str, Bootstrap]) -> pd.DataFrame:
    """Columns of `compare.intervals`, and the difference from a reference as `compare.pairs` has it.

    GEXSent is the reference of baselines and of ablations, and the same system without it that of a system trained with
    modality dropout. Each of these three questions is a family with a correction of its own (p_holm).
    """
    names = dict.fromkeys(system for boot in boots.values() for system in boot.draws)
    variants = [
        compare.pairs(boots, system.removesuffix(DROPOUT), [system]) for system in names if system.endswith(DROPOUT)
    ]
    parts = [compare.families(boots)]
    if variants:
        parts.append(pd.concat(variants, ignore_index=True))
        parts[1]["p_holm"] = compare.holm(parts[1]["p"].to_numpy(float)).round(6)
    pairs = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    pairs = pairs.drop(columns=["n_groups", "seeds"])
    pairs = pairs.rename(columns={"low": "difference_low", "high": "difference_high"})
    own = compare.intervals(boots).drop(columns=["undefined"])
    return own.merge(pairs, on=["metric", "system"], how="left", validate="one_to_one")


def in_conflict(outcomes: Outcomes, dataset: str) -> np.ndarray | None:
    """(N,) bool: the class, or the sign of the intensity, of text alone and of vision alone differ, each on the mean over
    its seeds; None where one of them was not trained. A predicted intensity of exactly 0 has no sign."""
    main = datasets.spec(dataset).main
    views = {}
    for system in ("text_only", "vision_only"):
        whole = [found[Condition(WHOLE, 0.0)] for (name, _), found in outcomes.items() if name == system]
        if not whole:
            return None
        if main.kind == "classes":
            names = [f"p_{main.name}_{class_}" for class_ in main.classes]
            views[system] = np.mean([[columns[name] for name in names] for columns in whole], axis=0).argmax(0)
        else:
            views[system] = np.sign(np.mean([columns[f"pred_{main.name}"] for columns in whole], axis=0))
    text, vision = views["text_only"], views["vision_only"]
    return text != vision if main.kind == "classes" else text * vision < 0


def conflict(outcomes: Outcomes, labels: pd.DataFrame, dataset: str, subset: np.ndarray) -> pd.DataFrame:
    """Scores where the modalities disagree (`where` = conflict) and elsewhere (agreement), a row a metric and system,
    with interval and difference as `table` has them. p_holm is corrected within each of the two."""
    whole = pd.concat(
        [
            labels[["partition", "id"]].assign(system=system, seed=seed, **found[Condition(WHOLE, 0.0)])
            for (system, seed), found in outcomes.items()
        ],
        ignore_index=True,
    )
    parts = []
    for where, chosen in (("conflict", subset), ("agreement", ~subset)):
        rows = labels[chosen]
        if rows.empty:
            continue
        keys = rows[["partition", "id"]]
        boots = compare.bootstrap(whole.merge(keys, on=["partition", "id"]), rows, dataset)
        boots = {name: boots[name] for name in datasets.spec(dataset).headlines if name in boots}
        part = _against(boots)
        part.insert(0, "where", where)
        part.insert(1, "rows", len(rows))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
