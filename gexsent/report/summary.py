"""All data sets of an edition at once: one short table and one figure."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent import datasets
from gexsent.report.columns import Column, headlines
from gexsent.report.render import grid
from gexsent.report.scores import Scores
from gexsent.report.style import COLOURS, EDITION_NOTES, SPARE_COLOURS, annotate, system_name
from gexsent.report.tables import BOLD, DIRECTION, NOTHING, format_cell

LEFT_OUT = (
    "{} is left out: it has no scores. Either its data are not there (`gexsent data check` says where to get them), or "
    "the notebooks 01_prepare to 04_evaluate have not been run for it."
)


def systems(found: Sequence[Scores]) -> list[str]:
    """Every system that any data set has, in the order of first mention."""
    return list(dict.fromkeys(system for scores in found for system in scores.summary))


def at_a_glance(found: Sequence[Scores], left_out: Sequence[str], edition: str) -> str:
    """The headline metrics as Markdown: a row a system, and a sentence for each data set that is left out."""
    lines = [f"**Results at a glance.** {EDITION_NOTES.get(edition, f'Edition {edition}.')}"]
    columns = [(scores, column) for scores in found for column in headlines(scores.dataset)]
    if columns:
        heading = ["System", *(f"{datasets.title(scores.dataset)} {column.heading}" for scores, column in columns)]
        rows = [
            [system_name(system), *(_cell(scores, column, system) for scores, column in columns)]
            for system in systems(found)
        ]
        seeds = "; ".join(f"{datasets.title(scores.dataset)} {scores.count('seeds')}" for scores in found)
        note = f"Mean ± standard deviation over seeds (n: {seeds}). {DIRECTION}"
        if any(len(scores.pairs) for scores in found):
            note += f" {BOLD}"
        if any(NOTHING in cell for row in rows for cell in row):
            note += f" {NOTHING}: undefined, or not run on this data set."
        lines += ["", *grid([heading, *rows], left=1), "", note]
    lines += [line for name in left_out for line in ("", LEFT_OUT.format(datasets.title(name)))]
    return "\n".join(lines) + "\n"


def _cell(scores: Scores, column: Column, system: str) -> str:
    text = format_cell(scores.cell(system, column.metric), column.decimals)
    return f"**{text}**" if system == scores.winner(column) else text


def glance_figure(found: Sequence[Scores], edition: str) -> Figure:
    """A panel for each headline metric: the mean as a large point with a bar of one deviation; each seed as a
    small point below it.

    Raises:
        ValueError: nothing to show.
    """
    panels = [(scores, column) for scores in found for column in headlines(scores.dataset)]
    if not panels:
        raise ValueError("no data set has scores: there is nothing to draw")
    names = systems(found)
    spare = cycle(SPARE_COLOURS)  # colours of named systems are fixed; others take these, in order
    colours = {name: COLOURS.get(name) or next(spare) for name in names}
    size = (max(7.5, 2.2 + 2.3 * len(panels)), 1.9 + 0.55 * len(names))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (scores, column) in zip(axes[0], panels, strict=True):
        _panel(axis, scores, column, names, colours)
    axes[0, 0].set_yticks(range(len(names)), [system_name(name) for name in names])
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)  # the first system on top
    figure.suptitle("Test scores: mean ± sd over seeds, and every seed", x=0.01, ha="left", fontweight="bold")
    return annotate(figure, edition)


def _panel(axis: Axes, scores: Scores, column: Column, names: list[str], colours: dict[str, str]) -> None:
    for height, system in enumerate(names):
        cell = scores.cell(system, column.metric)
        if system not in scores.summary or cell["mean"] is None:
            axis.text(0.5, height, NOTHING, ha="center", va="center", transform=axis.get_yaxis_transform())
            continue
        points = scores.seeds.loc[scores.seeds["system"] == system, column.metric]
        style = {"color": colours[system], "zorder": 3}
        axis.plot(points, [height + 0.22] * len(points), "o", markersize=4.5, alpha=0.5, mec="none", **style)
        axis.errorbar(
            cell["mean"], height, xerr=cell["sd"] or 0, fmt="D", markersize=6.5, capsize=3, elinewidth=1.8, **style
        )
        label = f"{cell['mean']:.{min(column.decimals, 3)}f}"
        axis.annotate(label, (cell["mean"], height), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axis.set_title(datasets.title(scores.dataset))
    better = "← lower is better" if column.lower_is_better else "higher is better →"
    axis.set_xlabel(f"{column.name}\n{better}")
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.15)
    axis.xaxis.get_major_locator().set_params(nbins=3)  # long labels of neighbours would touch


def seed_frame(found: Sequence[Scores]) -> pd.DataFrame:
    """The headline metrics of every seed, one row a data set, system, seed and metric."""
    parts = [pd.DataFrame(columns=["dataset", "system", "seed", "metric", "value"])] if not found else []
    for scores in found:
        metrics = [column.metric for column in headlines(scores.dataset) if column.metric in scores.seeds]
        part = scores.seeds.melt(["system", "seed"], metrics, var_name="metric", value_name="value")
        part.insert(0, "dataset", scores.dataset)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
