"""What damage does: curves by level, a table of the areas under them, and one of the rows in conflict."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent.evaluation.compare import DRAWS
from gexsent.evaluation.robustness import LEVELS, WHOLE
from gexsent.model.build import DROPOUT
from gexsent.report.columns import HEADLINES, Column
from gexsent.report.comparisons import GROUPS, difference_cells, interval
from gexsent.report.outcomes import systems
from gexsent.report.scores import ALPHA
from gexsent.report.style import COLOURS, DATASET_NAMES, EDITION_NOTES, SYSTEM_NAMES, annotate
from gexsent.report.tables import DIRECTION, NOTHING, system_name

PROTOCOLS = {
    "tokens": ("Tokens hidden", "share of the tokens"),
    "words": ("Words masked before the encoder", "share of the tokens"),
    "typos": ("Mistyped letters", "share of the letters"),
    "noise": ("Noise on vision", "in standard deviations"),
    "no_text": ("Text missing", "share of the samples"),
    "no_vision": ("Vision missing", "share of the samples"),
}
MARKERS = "osD^vPX<>h"
ACROSS = 3


def curves(frame: pd.DataFrame, column: Column, dataset: str, edition: str) -> Figure:
    """A panel a protocol: mean score of each system by level, with a band of one deviation over seeds and draws.

    A variant with modality dropout has its system's colour and marker, hollow and dashed.
    """
    names = [protocol for protocol in LEVELS if (frame["protocol"] == protocol).any()]
    known = systems(frame)
    down = -(-len(names) // ACROSS)
    figure, axes = plt.subplots(down, ACROSS, figsize=(10.5, 2.9 * down + 1.4), sharey=True, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    markers = {s: MARKERS[k % len(MARKERS)] for k, s in enumerate(s for s in known if not s.endswith(DROPOUT))}
    for axis, protocol in zip(axes.flat, names, strict=False):
        title, label = PROTOCOLS[protocol]
        for system in known:
            _curve(axis, by_level(frame, system, protocol, column.metric), system, markers)
        axis.set(title=title, xlabel=label, xticks=LEVELS[protocol][:: 1 if len(LEVELS[protocol]) < 6 else 3])
        axis.tick_params(labelleft=True)
    better = "lower is better" if column.lower_is_better else "higher is better"
    for row in axes:
        row[0].set_ylabel(f"{column.name} ({better})")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8.5, title=DATASET_NAMES[dataset])
    return annotate(figure, edition)


def by_level(frame: pd.DataFrame, system: str, protocol: str, metric: str) -> pd.DataFrame:
    """Index level, columns mean and sd over the runs of one system; level 0 is the undamaged input."""
    rows = frame[(frame["system"] == system) & frame["protocol"].isin([protocol, WHOLE])]
    return rows.groupby("level")[metric].agg(["mean", "std"]).rename(columns={"std": "sd"})


def _curve(axis: Axes, levels: pd.DataFrame, system: str, markers: dict[str, str]) -> None:
    base, is_variant = system.removesuffix(DROPOUT), system.endswith(DROPOUT)
    colour = COLOURS.get(base, "#444444")
    front = 4 if base == "gexsent" else 3
    axis.fill_between(
        levels.index, levels["mean"] - levels["sd"], levels["mean"] + levels["sd"], color=colour, alpha=0.12, lw=0
    )
    axis.plot(
        levels.index,
        levels["mean"],
        color=colour,
        linestyle="--" if is_variant else "-",
        linewidth=2.2 if base == "gexsent" else 1.3,
        marker=markers.get(base, "o"),
        markersize=4.5,
        markerfacecolor="white" if is_variant else colour,
        label=SYSTEM_NAMES.get(system, system),
        zorder=front,
    )


@dataclass(frozen=True)
class AreaTable:
    """Rows are metrics and systems, columns protocols. Written by render.py as result tables are."""

    name: str
    caption: str
    areas: pd.DataFrame
    columns: Sequence[Column]
    notes: tuple[str, ...]
    left = 2
    bold = frozenset()
    quoted = None

    @property
    def protocols(self) -> list[str]:
        return [name for name in LEVELS if (self.areas["protocol"] == name).any()]

    @property
    def heading(self) -> tuple[str, ...]:
        return ("Metric", "System", *(PROTOCOLS[name][0] for name in self.protocols))

    def rows(self) -> list[list[str]]:
        rows = []
        for column in self.columns:
            part = self.areas[self.areas["metric"] == column.metric]
            for system in dict.fromkeys(part["system"]):
                cells = [self._cell(part, column, system, protocol) for protocol in self.protocols]
                rows.append([column.heading, system_name(system), *cells])
        return rows

    def _cell(self, part: pd.DataFrame, column: Column, system: str, protocol: str) -> str:
        rows = part[(part["system"] == system) & (part["protocol"] == protocol)]
        if rows.empty:
            return NOTHING
        row = rows.iloc[0]  # against the first reference, GEXSent
        marks = "" if system == "gexsent" else verdict_mark(column, row["difference"], row["p_holm"])
        return interval(row["value"], row["low"], row["high"], f".{column.decimals}f") + marks

    def frame(self) -> pd.DataFrame:
        """All digits, and the differences, for the CSV."""
        return self.areas


def verdict_mark(column: Column, difference: float, p: float) -> str:
    """` (better)` or ` (worse)` where the test tells the system from GEXSent, else nothing."""
    if not p < ALPHA:
        return ""
    return " (better)" if (difference < 0) == column.lower_is_better else " (worse)"


def area_table(areas: pd.DataFrame, dataset: str, edition: str) -> AreaTable:
    groups, tests = int(areas["n_groups"].iloc[0]), int(areas["p"].notna().sum())
    caption = (
        f"{DATASET_NAMES[dataset]}: score under damage, the mean height of the curve over its levels. "
        f"{EDITION_NOTES.get(edition, f'Edition {edition}.')}"
    )
    notes = (
        f"{DIRECTION} In brackets 95 % percentile intervals from {DRAWS:,} draws of whole groups ({groups:,} "
        f"{GROUPS[dataset]}), the same for all systems. Better, worse: told from GEXSent by the paired test, p < {ALPHA} "
        f"after Holm's correction over the {tests} comparisons of the CSV beside it. Intervals are about other test "
        "rows, for the models and the damage as drawn.",
    )
    return AreaTable(f"{dataset}_areas", caption, areas, HEADLINES[dataset], notes)


@dataclass(frozen=True)
class ConflictTable:
    """Rows are scores where the modalities disagree, and elsewhere. Written by render.py as result tables are."""

    name: str
    caption: str
    scores: pd.DataFrame
    columns: Sequence[Column]
    notes: tuple[str, ...]
    heading = ("Rows", "Metric", "System", "Score [95 %]", "Difference [95 %]", "p", "p (Holm)", "Verdict")
    left = 3
    bold = frozenset()
    quoted = None

    def rows(self) -> list[list[str]]:
        columns = {column.metric: column for column in self.columns}
        rows = []
        for record in self.scores.to_dict("records"):
            column = columns[record["metric"]]
            score = interval(record["value"], record["low"], record["high"], f".{column.decimals}f")
            where = f"{record['where']} ({record['rows']:,})"
            rows.append(
                [where, column.heading, system_name(record["system"]), score, *difference_cells(column, record)]
            )
        return rows

    def frame(self) -> pd.DataFrame:
        return self.scores


def conflict_table(scores: pd.DataFrame, dataset: str, edition: str) -> ConflictTable:
    what = "class of sentiment" if dataset == "memotion" else "sign of the intensity"
    caption = (
        f"{DATASET_NAMES[dataset]}: rows where text alone and vision alone predict another {what}, and all others. "
        f"{EDITION_NOTES.get(edition, f'Edition {edition}.')}"
    )
    notes = (
        f"{DIRECTION} In brackets the number of rows. Difference: minus GEXSent. p (Holm) is corrected within the rows of "
        "either kind. In conflict at least one of the two systems of a single modality is wrong, or both are: their own "
        "scores there are low by the choice of the rows.",
    )
    return ConflictTable(f"{dataset}_conflict", caption, scores, HEADLINES[dataset], notes)


def loss(frame: pd.DataFrame, column: Column) -> pd.DataFrame:
    """How far the worst level moves each system: a row a system, a column a protocol, in the metric's own units; more
    than 0 is worse."""
    sign = 1 if column.lower_is_better else -1
    moved: dict[str, dict[str, float]] = {}
    for protocol in LEVELS:
        if not (frame["protocol"] == protocol).any():
            continue
        for system in systems(frame):
            mean = by_level(frame, system, protocol, column.metric)["mean"]
            moved.setdefault(PROTOCOLS[protocol][0], {})[system_name(system)] = sign * (mean.iloc[-1] - mean.iloc[0])
    return pd.DataFrame(moved).replace({-0.0: 0.0}).round(column.decimals) if moved else pd.DataFrame()


def headline_columns(dataset: str, frame: pd.DataFrame) -> list[Column]:
    """The headline metrics that were scored."""
    return [
        column for column in HEADLINES[dataset] if column.metric in frame and np.isfinite(frame[column.metric]).any()
    ]
