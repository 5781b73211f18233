"""Figures of what damage does: curves by level, each system with and without modality dropout, and GEXSent's gates.

Lines differ in colour and in marker or dash, so that a print without colour still tells them apart.
"""

from collections.abc import Iterator, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent import datasets
from gexsent.evaluation.robustness import GROUPS, LEVELS
from gexsent.model.build import DROPOUT
from gexsent.report.columns import Column, headlines
from gexsent.report.outcomes import systems
from gexsent.report.robustness_tables import PROTOCOLS, means, protocols, tested
from gexsent.report.style import COLOURS, NARROWEST, SPARE_COLOURS, annotate, system_name
from gexsent.systems import family, members

REFERENCE = "gexsent"
AXES = {
    "tokens": "share of the tokens",
    "words": "share of the tokens",
    "typos": "share of the letters",
    "noise": "standard deviations",
    "no_text": "share of the samples",
    "no_vision": "share of the samples",
}
LEFT = {"no_text": "vision_only", "no_vision": "text_only"}  # what stands on the same modality and never had another
ALONE = "system of the modality that stays"
GROUP_LOOKS = {"text": ("#0072B2", "s"), "vision": ("#009E73", "D"), "shared": ("#E69F00", "o")}
MARKERS = "osD^vPX<>h"
ACROSS = 3
WIDEST = 10.5  # inches


def draw(
    curves: pd.DataFrame, routing: pd.DataFrame, dataset: str, edition: str, rows: tuple[int, int]
) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure that the frames have something for.

    Args:
        curves, routing: see evaluation.areas.score and evaluation.robustness.routing.
        rows: test rows that met damage, and all.
    """
    title = f"{datasets.title(dataset)}, {tested(rows)}"
    known = systems(curves)
    for column in scored(dataset, curves):
        name = f"{dataset}_{column.metric}"
        yield name, _finished(lines(curves, column, members("main", known)), title, edition)
        if any(family(system) == "ablations" for system in known):
            yield f"{name}_ablations", _finished(lines(curves, column, members("ablations", known)), title, edition)
        if any(system.endswith(DROPOUT) for system in known):
            yield f"{name}_dropout", _finished(dropout(curves, column), title, edition)
    if len(routing) and REFERENCE in set(routing["system"]):
        yield f"{dataset}_gates", _finished(gates(routing), f"{title}: inside GEXSent", edition)


def scored(dataset: str, frame: pd.DataFrame) -> list[Column]:
    """The headline metrics that were scored."""
    return [c for c in headlines(dataset) if c.metric in frame and np.isfinite(frame[c.metric]).any()]


def lines(frame: pd.DataFrame, column: Column, names: Sequence[str]) -> Figure:
    """A panel a protocol: mean score of each system by level, with a band of one deviation over runs. All share one axis."""
    shown = protocols(frame)
    figure, axes = _panels(shown)
    spare = cycle(colour for colour in SPARE_COLOURS if colour != COLOURS[REFERENCE])
    looks = {s: (COLOURS.get(s) or next(spare), marker) for s, marker in zip(names, cycle(MARKERS), strict=False)}
    for axis, protocol in zip(axes, shown, strict=True):
        for system, (colour, marker) in looks.items():
            levels = means(frame, system, protocol, column.metric)
            _line(axis, levels, colour, marker, system_name(system), strong=system == REFERENCE)
    for axis in axes[::ACROSS]:
        axis.set_ylabel(_label(column))
    return figure


def dropout(frame: pd.DataFrame, column: Column) -> Figure:
    """A panel a system and missing modality: trained with modality dropout and without, and what never had it."""
    variants = [system for system in systems(frame) if system.endswith(DROPOUT)]
    missing = [protocol for protocol in protocols(frame) if protocol in LEFT]
    size = (max(NARROWEST, 1.75 * len(variants)), 2.3 * len(missing) + 1.2)
    figure, axes = plt.subplots(len(missing), len(variants), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, protocol in zip(axes, missing, strict=True):
        for axis, variant in zip(row, variants, strict=True):
            base = variant.removesuffix(DROPOUT)
            colour = COLOURS.get(base, "#444444")
            if LEFT[protocol] in set(frame["system"]):
                clean = means(frame, LEFT[protocol], protocol, column.metric)["mean"]
                axis.plot(clean.index, clean, color="#444444", linestyle=":", linewidth=1.6, label=ALONE)
            _line(
                axis, means(frame, base, protocol, column.metric), colour, "o", "without modality dropout", strong=True
            )
            _line(
                axis, means(frame, variant, protocol, column.metric), colour, "o", "with modality dropout", hollow=True
            )
            axis.set_xticks((0, 0.5, 1))
        row[0].set_ylabel(f"{PROTOCOLS[protocol].lower()}\n{_label(column)}", fontsize=9)
    for axis, variant in zip(axes[0], variants, strict=True):
        axis.set_title(system_name(variant.removesuffix(DROPOUT)))
    for axis in axes[-1]:
        axis.set_xlabel(AXES["no_text"], fontsize=9)
    return figure


def gates(frame: pd.DataFrame) -> Figure:
    """Shares of the groups of experts above, mean gates of the tokens below, a column a protocol, means over runs.

    Filled: GEXSent; hollow: trained with modality dropout. A missing modality has a share of 0 whatever was learned, so
    that the protocols of missing modalities are left out.
    """
    shown = [protocol for protocol in protocols(frame) if protocol not in LEFT]
    size = (max(NARROWEST, 2.7 * len(shown)), 5.6)
    figure, axes = plt.subplots(2, len(shown), figsize=size, sharey="row", sharex="col", squeeze=False)
    for (above, below), protocol in zip(axes.T, shown, strict=True):
        for system in (REFERENCE, REFERENCE + DROPOUT):
            for axis, kind in ((above, "share"), (below, "gate")):
                for group in GROUPS:
                    name = f"{kind}_{group}"
                    if name not in frame or not frame[name].any() or not (frame["system"] == system).any():
                        continue
                    levels, hollow = means(frame, system, protocol, name), system != REFERENCE
                    label = f"{group}, with modality dropout" if hollow else group
                    _line(axis, levels, *GROUP_LOOKS[group], label, hollow=hollow)
        above.set_title(PROTOCOLS[protocol])
        below.set(xlabel=AXES[protocol], xticks=_ticks(protocol))
    axes[0, 0].set(ylabel="share of the experts", ylim=(-0.03, 1.03))
    axes[1, 0].set(ylabel="mean gate of the tokens", ylim=(-0.03, 1.03))
    return figure


def _panels(shown: Sequence[str]) -> tuple[Figure, list[Axes]]:
    down = -(-len(shown) // ACROSS)
    figure, grid = plt.subplots(down, ACROSS, figsize=(WIDEST, 2.9 * down + 1.4), sharey=True, squeeze=False)
    for axis in grid.flat[len(shown) :]:
        axis.axis("off")
    axes = list(grid.flat[: len(shown)])
    for axis, protocol in zip(axes, shown, strict=True):
        axis.set(title=PROTOCOLS[protocol], xlabel=AXES[protocol], xticks=_ticks(protocol))
    return figure, axes


def _ticks(protocol: str) -> tuple[float, ...]:
    return LEVELS[protocol][:: 1 if len(LEVELS[protocol]) < 6 else 3]


def _line(
    axis: Axes,
    levels: pd.DataFrame,
    colour: str,
    marker: str,
    label: str,
    *,
    strong: bool = False,
    hollow: bool = False,
) -> None:
    mean, sd = levels["mean"], levels["sd"]
    axis.fill_between(levels.index, mean - sd, mean + sd, color=colour, alpha=0.18 if strong else 0.08, lw=0)
    axis.plot(
        levels.index,
        mean,
        color=colour,
        linestyle="--" if hollow else "-",
        linewidth=2.2 if strong else 1.3,
        marker=marker,
        markersize=4.5,
        markerfacecolor="white" if hollow else colour,
        label=label,
        zorder=4 if strong else 3,
    )


def _label(column: Column) -> str:
    return f"{column.name} ({'lower' if column.lower_is_better else 'higher'} is better)"


def _finished(figure: Figure, title: str, edition: str) -> Figure:
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles, loc="outside upper left", ncols=6, fontsize=8.5, title=title, alignment="left"
    )
    return annotate(figure, edition)
