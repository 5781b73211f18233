"""The scores of one data set, as the evaluate stage left them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gexsent.errors import DataError


@dataclass(frozen=True)
class Scores:
    """`summary` is {system: {metric: {mean, sd, n}}}; `seeds` has one row a system and seed, the metrics as columns."""

    dataset: str
    summary: dict[str, dict[str, dict[str, float | int | None]]]
    seeds: pd.DataFrame

    def cell(self, system: str, metric: str) -> dict[str, float | int | None]:
        """mean, sd and n; mean and sd are None where the metric is undefined or was not computed."""
        return self.summary.get(system, {}).get(metric, {"mean": None, "sd": None, "n": 0})

    def count(self, column: str) -> str:
        """`partitions`, `rows` or the number of seeds as text; a range where systems differ."""
        by_system = self.seeds.groupby("system")
        values = by_system["seed"].nunique() if column == "seeds" else by_system[column].first()
        low, high = int(values.min()), int(values.max())
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def read(folder: Path, dataset: str) -> Scores | None:
    """Read <folder>/<dataset>.json and <dataset>_seeds.csv; None where the data set was left out or not run.

    Raises:
        DataError: a file cannot be read, or the two do not belong together.
    """
    path, seeds_path = folder / f"{dataset}.json", folder / f"{dataset}_seeds.csv"
    if not path.exists():
        return None
    try:
        summary = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; run 04_evaluate again") from error
    if not summary:  # the evaluate stage leaves {} for a data set that the user lacks
        return None
    try:
        seeds = pd.read_csv(seeds_path)
    except (OSError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{seeds_path}: cannot be read: {error}; run 04_evaluate again") from error
    if list(summary) != seeds["system"].unique().tolist():
        raise DataError(f"{path} and {seeds_path.name} name different systems; run 04_evaluate again")
    return Scores(dataset, summary, seeds)
