"""The figures of notebooks/11_speed.ipynb. Dots are medians over the rounds, lines from the least to the largest."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks import memory
from gexsent.report.style import COLOURS, SPARE_COLOURS, system_name

STRONG, PLAIN, PALE = COLOURS["gexsent"], COLOURS["text_only"], COLOURS["released"]
PARTS = (*SPARE_COLOURS[:3], "#E6E6E6")  # of a stage's time: by ceiling, and the rest
TIMES = FuncFormatter(lambda value, _: f"{value:g}×")


def ratios(panels: Mapping[str, pd.DataFrame], baseline: str | None, note: str) -> Figure:
    """A panel a title, a row a name: how many times the baseline, on a logarithmic axis.

    Args:
        baseline: the name that stands at 1, drawn in grey.
        note: under the axes.
    """
    rows = [len(table) for table in panels.values()]
    alike = len({tuple(table.index) for table in panels.values()}) == 1  # then the names stand once
    figure, axes = plt.subplots(
        1, len(panels), figsize=(9.5, 1.1 + 0.32 * max(rows)), squeeze=False, sharey=alike, sharex=alike
    )
    limits = _limits(pd.concat(panels.values()))
    for axis, (title, table) in zip(axes[0], panels.items(), strict=True):
        colours = [
            PALE if name == baseline else STRONG if name.startswith("GEXSent") else PLAIN for name in table.index
        ]
        spread(axis, table, colours, limits)
        axis.set(title=title, xlabel=note)
    return figure


def spread(axis: Axes, table: pd.DataFrame, colours: Sequence[str], limits: tuple[float, float]) -> None:
    """Medians and ranges of ratios, a row a name from the top."""
    places = np.arange(len(table))
    axis.hlines(places, table["min"], table["max"], colors=colours, linewidth=2.2)
    axis.scatter(table["median"], places, c=colours, s=34, zorder=3)
    axis.axvline(1, color="#444444", linewidth=1, zorder=0)
    axis.set_xscale("log")
    axis.set_xlim(limits)
    for place, (value, top) in enumerate(zip(table["median"], table["max"], strict=True)):
        away = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
        axis.annotate(f"{value:.2g}×" if value < 10 else f"{value:.0f}×", (top, place), **away)
    axis.set_yticks(places, list(table.index))
    axis.set_ylim(len(table) - 0.5, -0.5)
    _log_ticks(axis, *limits)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """From the least to the largest ratio, with room for the number behind it."""
    low, high = min(0.8, table["min"].min() / 1.3), max(1.25, table["max"].max())
    return low, high * (high / low) ** 0.17


def _log_ticks(axis: Axes, low: float, high: float) -> None:
    steps = (1, 2, 5) if high / low < 60 else (1,)
    marks = [step * 10.0**power for power in range(-4, 5) for step in steps]
    axis.set_xticks([mark for mark in marks if low <= mark <= high])
    axis.xaxis.set_major_formatter(TIMES)
    axis.xaxis.set_minor_formatter(NullFormatter())


def parts(shares: Mapping[str, pd.DataFrame]) -> Figure:
    """Each stage's time: what its work would take at each ceiling, and the rest."""
    figure, axis = plt.subplots(figsize=(9.5, 0.9 + 0.42 * len(shares)))
    medians = pd.DataFrame({name: each.median() for name, each in shares.items()}).T
    whole = medians.sum(axis=1).clip(lower=1)
    medians["the rest"] = 1 - medians.sum(axis=1).clip(upper=1)
    left = np.zeros(len(medians))
    for name, colour in zip(medians, PARTS, strict=True):
        axis.barh(range(len(medians)), medians[name], left=left, color=colour, label=name, height=0.7)
        left += medians[name].to_numpy()
    for place, (name, each) in enumerate(shares.items()):
        most = each.median().idxmax()
        axis.text(whole[name] + 0.01, place, f"{100 * each[most].median():.0f} % {most}", va="center", fontsize=8.5)
    axis.set_yticks(range(len(medians)), list(medians.index))
    axis.set(xlabel="share of the stage's time", xlim=(0, 1.25), ylim=(len(medians) - 0.5, -0.5))
    marks = np.arange(0, 1.01, 0.2)
    axis.set_xticks(marks, [f"{100 * mark:.0f} %" for mark in marks])
    axis.grid(axis="y", visible=False)
    axis.legend(ncols=len(PARTS), loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def curves(panels: Mapping[str, Mapping[str, pd.DataFrame]], baseline: str, xlabel: str) -> Figure:
    """A panel a title, a line a name with its range as a band: speed against the baseline, by a number on the x axis.

    Args:
        panels: {title: {number: a row a name}}.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5, 3.6), sharey=True, squeeze=False)
    for axis, (title, tables) in zip(axes[0], panels.items(), strict=True):
        numbers = [int(number) for number in tables]
        names = list(next(iter(tables.values())).index)
        colours = [*(PALE, SPARE_COLOURS[0], SPARE_COLOURS[2])[: len(names) - 1], STRONG]
        for name, colour in zip(names, colours, strict=True):
            found = pd.DataFrame({number: table.loc[name] for number, table in tables.items()})
            style = {"linestyle": "--"} if name == baseline else {"marker": "o"}
            axis.plot(numbers, found.loc["median"], color=colour, label=name, **style)
            axis.fill_between(numbers, found.loc["min"], found.loc["max"], color=colour, alpha=0.18, linewidth=0)
        axis.set(xscale="log", yscale="log", xlabel=xlabel, title=title)
        axis.set_xticks(numbers, [str(number) for number in numbers])
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter(TIMES)
    low, high = axes[0, 0].get_ylim()
    marks = [step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)]
    axes[0, 0].set_yticks([mark for mark in marks if low <= mark <= high])
    axes[0, 0].set_ylabel(f"speed against\n“{baseline}”")
    axes[0, 0].legend()
    return figure


def growth(sizes: Sequence[int], loads: Sequence[Mapping[str, float]], gathers: pd.DataFrame, target: int) -> Figure:
    """Left: gigabytes by samples, measured and, as a hollow mark, drawn on to `target`. Right: gathering a batch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), gridspec_kw={"width_ratios": (3, 2)})
    kinds = (("held", "held after loading", STRONG), ("peak", "most while loading", PLAIN))
    for kind, label, colour in kinds:
        values = [load[kind] / 1e9 for load in loads]
        line = memory.line(sizes, values)
        ends = np.array([0, target])
        left.plot(ends, line.at(ends), color=colour, linestyle=":", linewidth=1.4)
        left.plot(sizes, values, "o", color=colour, label=label)
        left.plot(target, line.at(target), "o", mfc="white", mec=colour, mew=1.8, markersize=8)
        away = {"xytext": (-10, 4), "textcoords": "offset points", "ha": "right"}
        left.annotate(f"{line.at(target):.3g} GB, extrapolated", (target, line.at(target)), **away)
    left.set(xlabel="samples", ylabel="gigabytes", title="Memory", ylim=(0, None))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    left.legend(loc="upper left")
    spread(right, gathers, [PALE, *[PLAIN] * (len(gathers) - 1)], _limits(gathers))
    right.set(title="Gathering a batch of 64", xlabel="speed against the fewest samples", ylabel="samples in memory")
    return figure


def names(table: pd.DataFrame, order: str = "median") -> pd.DataFrame:
    """Systems under the names that readers see, the fastest first."""
    return table.sort_values(order, ascending=False).rename(index=system_name)
