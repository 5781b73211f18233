"""The scores of one data set, as the evaluate stage left them."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from gexsent.errors import DataError
from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.report.columns import Column

ALPHA = 0.05  # of p after Holm's correction
COST_COLUMNS = ["system", "parameters", "multiply_adds", "text_tokens", "vision_tokens"]


@dataclass(frozen=True)
class Scores:
    """`summary` is {system: {metric: {mean, sd, n}}}; `seeds` has one row a system and seed, the metrics as columns;
    `pairs` and `intervals` are what gexsent.evaluation.compare found, empty where nothing was compared; `costs`
    has a row a system, empty where nothing was counted."""

    dataset: str
    summary: dict[str, dict[str, dict[str, float | int | None]]]
    seeds: pd.DataFrame
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PAIR_COLUMNS))
    intervals: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=OWN_COLUMNS))
    costs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COST_COLUMNS))

    def only(self, systems: Collection[str]) -> "Scores":
        """Nothing but these systems, and of the comparisons those between two of them."""
        pairs = self.pairs[self.pairs["system"].isin(systems) & self.pairs["reference"].isin(systems)]
        return replace(
            self,
            summary={system: metrics for system, metrics in self.summary.items() if system in systems},
            seeds=self.seeds[self.seeds["system"].isin(systems)],
            pairs=pairs.reset_index(drop=True),
            intervals=self.intervals[self.intervals["system"].isin(systems)].reset_index(drop=True),
            costs=self.costs[self.costs["system"].isin(systems)].reset_index(drop=True),
        )

    def cell(self, system: str, metric: str) -> dict[str, float | int | None]:
        """mean, sd and n; mean and sd are None where the metric is undefined or was not computed."""
        return self.summary.get(system, {}).get(metric, {"mean": None, "sd": None, "n": 0})

    def winner(self, column: Column) -> str | None:
        """The system with the best mean, if the tests bear it out: the reference must beat every other system, another
        system the reference, with p_holm < ALPHA. A comparison without a p bears nothing out."""
        tests = self.pairs[self.pairs["metric"] == column.metric]
        means = {system: self.cell(system, column.metric)["mean"] for system in self.summary}
        means = {system: mean for system, mean in means.items() if mean is not None}
        if tests.empty or not means:
            return None
        best = (min if column.lower_is_better else max)(means, key=means.__getitem__)
        needed = tests if best == tests["reference"].iloc[0] else tests[tests["system"] == best]
        return best if len(needed) and (needed["p_holm"] < ALPHA).all() else None

    def count(self, column: str) -> str:
        """`partitions`, `rows` or the number of seeds as text; a range where systems differ."""
        by_system = self.seeds.groupby("system")
        values = by_system["seed"].nunique() if column == "seeds" else by_system[column].first()
        low, high = int(values.min()), int(values.max())
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def read(results: Path, dataset: str) -> Scores | None:
    """Read metrics/<dataset>.json, <dataset>_seeds.csv and <dataset>_cost.csv, comparisons/<dataset>.csv and
    <dataset>_intervals.csv under `results`; None where the data set was left out or not run.

    Raises:
        DataError: a file cannot be read, or they do not belong together.
    """
    path, seeds_path = results / "metrics" / f"{dataset}.json", results / "metrics" / f"{dataset}_seeds.csv"
    costs_path = results / "metrics" / f"{dataset}_cost.csv"
    pairs_path, own_path = (results / "comparisons" / f"{dataset}{end}.csv" for end in ("", "_intervals"))
    if not path.exists():
        return None
    try:
        summary = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; run 04_evaluate again") from error
    if not summary:  # the evaluate stage leaves {} for a data set that the user lacks
        return None
    seeds, pairs, intervals, costs = map(_csv, (seeds_path, pairs_path, own_path, costs_path))
    if list(summary) != seeds["system"].unique().tolist():
        raise DataError(f"{path} and {seeds_path.name} name different systems; run 04_evaluate again")
    for found, wanted, where in (
        (pairs, PAIR_COLUMNS, pairs_path),
        (intervals, OWN_COLUMNS, own_path),
        (costs, COST_COLUMNS, costs_path),
    ):
        if list(found) != wanted:
            raise DataError(f"{where}: its columns are not {', '.join(wanted)}; run 04_evaluate again")
        if not set(found["system"]) <= summary.keys():
            raise DataError(f"{path} and {where} name different systems; run 04_evaluate again")
    return Scores(dataset, summary, seeds, pairs, intervals, costs)


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run 04_evaluate again") from error
