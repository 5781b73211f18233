"""The table of paired comparisons of one data set: each system's score, and its difference from the reference's."""

import math
from dataclasses import dataclass

import pandas as pd

from gexsent import datasets
from gexsent.evaluation.compare import DRAWS
from gexsent.report.columns import Column, tables
from gexsent.report.scores import ALPHA, Scores
from gexsent.report.style import EDITION_NOTES, system_name
from gexsent.report.tables import DIRECTION, NOTHING

FEW = 50  # groups, below which percentile intervals are known to cover too little
TOO_NARROW = "With so few groups, intervals of this kind are somewhat too narrow, and p somewhat too small."
WHAT_VARIES = "Intervals and p are about other test rows, for the models as trained; "
SEVERAL_SEEDS = "how much training varies is what ± in the result table says."
ONE_SEED = "with one seed, nothing is known of how much training varies."


@dataclass(frozen=True)
class ComparisonTable:
    """Written by render.py as result tables are; nothing in it is quoted and nothing is bold."""

    name: str
    caption: str
    scores: Scores
    notes: tuple[str, ...]
    heading = ("Metric", "System", "Score [95 %]", "Difference [95 %]", "p", "p (Holm)", "Verdict")
    left = 2
    bold = frozenset()
    quoted = None

    def rows(self) -> list[list[str]]:
        """A row a metric and system, as text."""
        columns = {column.metric: column for column in tables(self.scores.dataset)[self.scores.dataset]}
        return [_row(columns[record["metric"]], record) for record in self.frame().to_dict("records")]

    def frame(self) -> pd.DataFrame:
        """All digits, for the CSV. The reference's own rows have no difference."""
        own = self.scores.intervals.rename(columns={"low": "value_low", "high": "value_high"})
        pairs = self.scores.pairs.rename(columns={"low": "difference_low", "high": "difference_high"})
        pairs = pairs.drop(columns=["n_groups", "seeds"])
        return own.merge(pairs, on=["metric", "system"], how="left", validate="one_to_one")


def build(scores: Scores, edition: str) -> ComparisonTable | None:
    """None where there is no pair to compare, as with a single system."""
    pairs = scores.pairs
    if pairs.empty:
        return None
    reference, groups = system_name(pairs["reference"].iloc[0]), int(pairs["n_groups"].iloc[0])
    seeds = scores.count("seeds")
    how = "one seed" if seeds == "1" else f"{seeds} seeds averaged inside each draw"
    caption = (
        f"{datasets.title(scores.dataset)}: every system against {reference}, paired bootstrap over {groups:,} "
        f"{datasets.spec(scores.dataset).groups}, {how}. {EDITION_NOTES.get(edition, f'Edition {edition}.')}"
    )
    notes = [
        f"{DIRECTION} Difference: the system's score minus that of {reference}. In brackets 95 % percentile intervals "
        f"from {DRAWS:,} draws of whole groups with replacement, the same draws for all systems and metrics. p is "
        f"two-sided; p (Holm) is corrected for the {int(pairs['p'].notna().sum())} comparisons of this table "
        f"(ablations and audit are families apart). Better, "
        f"worse: p (Holm) < {ALPHA}.",
        WHAT_VARIES + (ONE_SEED if seeds == "1" else SEVERAL_SEEDS),
    ]
    if groups < FEW:
        notes.append(TOO_NARROW)
    if scores.intervals["value"].isna().any():
        notes.append(f"{NOTHING}: undefined for at least one seed, as the correlation of constant predictions is.")
    some = scores.intervals[scores.intervals["undefined"].gt(0) & scores.intervals["value"].notna()]
    if len(some):
        notes.append(
            f"Up to {int(some['undefined'].max()):,} draws leave a score undefined: its interval leaves them out, and p "
            "counts them as no difference."
        )
    return ComparisonTable(f"{scores.dataset}_comparisons", caption, scores, tuple(notes))


def _row(column: Column, record: dict) -> list[str]:
    value = interval(record["value"], record["value_low"], record["value_high"], f".{column.decimals}f")
    return [column.heading, system_name(record["system"]), value, *difference_cells(column, record)]


def difference_cells(column: Column, record: dict) -> list[str]:
    """Difference with interval, p, corrected p and verdict; of the reference itself, that it is the reference."""
    if not isinstance(record["reference"], str):
        return [NOTHING, NOTHING, NOTHING, "reference"]
    low, high, difference = (record[name] for name in ("difference_low", "difference_high", "difference"))
    return [
        interval(difference, low, high, f"+.{column.decimals}f"),
        *(NOTHING if math.isnan(record[name]) else f"{record[name]:.4f}" for name in ("p", "p_holm")),
        _verdict(column, difference, record["p_holm"]),
    ]


def _verdict(column: Column, difference: float, p: float) -> str:
    if math.isnan(p):
        return "undefined"
    if p >= ALPHA:
        return "not told apart"
    return "better" if (difference < 0) == column.lower_is_better else "worse"


def interval(value: float, low: float, high: float, form: str) -> str:
    """`+0.0163 [-0.0010, +0.0327]`; a dash for what is undefined."""
    return NOTHING if math.isnan(value) else f"{value:{form}} [{low:{form}}, {high:{form}}]"
