"""Figures of the notebook that explains the method on toys. Everything arrives as arrays; nothing is computed but means."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gexsent.report.curves import GROUP_COLOURS
from gexsent.report.style import COLOURS, SYSTEM_NAMES

# Experts differ in colour and in shape, so that a print without colour still tells them apart.
EXPERTS = tuple(zip(("#0072B2", "#E69F00", "#009E73", "#CC79A7"), "osD^", strict=True))
EDGES = np.linspace(-1, 161, 82) / 160  # of bins for gates, with 0.1 in the middle of one
HIERARCHICAL, FLAT, LIVE, DEAD = COLOURS["gexsent"], COLOURS["text_only"], COLOURS["gexsent"], COLOURS["released"]


def specialists(
    x: np.ndarray,
    y: np.ndarray,
    fitted: np.ndarray,
    chosen: np.ndarray,
    weights: np.ndarray,
    errors: Mapping[str, Sequence[float]],
) -> Figure:
    """Which expert fires where, how much each counts, and the error of each system on each seed.

    Args:
        x, y, fitted: (N,) the input in rising order, the target, the prediction.
        chosen: (N,) the expert with the largest weight, below 4.
        weights: (N, E) of every expert, 0 where it is not chosen.
        errors: {system: one number a seed}.
    """
    figure, grid = plt.subplot_mosaic(
        [["fit", "errors"], ["router", "errors"]], figsize=(10.5, 4.6), width_ratios=(3, 2)
    )
    grid["fit"].plot(x, y, color="black", linewidth=1, label="target")
    for expert, (colour, marker) in enumerate(EXPERTS[: weights.shape[1]]):
        mine = chosen == expert
        grid["fit"].plot(x[mine], fitted[mine], marker, color=colour, markersize=4, label=f"expert {expert + 1}")
    grid["fit"].set(title="Which expert fires where", ylabel="y")
    grid["fit"].tick_params(labelbottom=False)  # the panel below has the same axis
    grid["fit"].legend(ncols=5, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.08), handletextpad=0.1)
    colours = [colour for colour, _ in EXPERTS[: weights.shape[1]]]
    grid["router"].stackplot(x, weights.T, colors=colours, linewidth=0)
    grid["router"].set(title="What the two that fire weigh", xlabel="x", ylabel="weight", ylim=(0, 1))
    for name in ("fit", "router"):
        grid[name].set_xlim(x.min(), x.max())
    _dots(grid["errors"], errors, [HIERARCHICAL] * 2 + [DEAD] * (len(errors) - 2))
    grid["errors"].set(title="Error, a dot a seed", xlabel="mean squared error")
    grid["errors"].set_xlim(left=0)
    return figure


def dead_gate(
    gates: Mapping[str, np.ndarray], scales: Sequence[float], spread: Mapping[str, Sequence[float]]
) -> Figure:
    """Histograms of gates, and how far apart gates can be driven by larger weights.

    Args:
        gates: {name: (N,) gates}, the dead one first.
        scales: factors on the weights of the gate.
        spread: {name: standard deviation of the gates at each factor}, names as in gates.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(3, 2))
    for (name, values), (colour, marker) in zip(gates.items(), _kinds(), strict=False):
        weights = np.full(len(values), 1 / len(values))
        left.hist(values, EDGES, weights=weights, histtype="stepfilled", color=colour, alpha=0.7, label=name)
        right.plot(scales, spread[name], marker=marker, color=colour, label=name)
    left.set(title="Gates on random input", xlabel="gate", ylabel="share of the tokens", yscale="log")
    left.legend(loc="upper right")
    right.set(
        title="Larger weights",
        xlabel="factor on the weights of the gate",
        ylabel="standard deviation of the gates",
        xscale="log",
    )
    right.set_xticks(scales, [f"{scale:g}" for scale in scales])
    right.minorticks_off()
    return figure


def levels(
    scales: Sequence[float],
    missed: Mapping[str, np.ndarray],
    errors: Mapping[str, Sequence[float]],
    references: Mapping[str, float],
    shares: Mapping[str, np.ndarray],
) -> Figure:
    """Two levels against one: as formulas, on the toy, and what the sample level does there.

    Args:
        scales: factors on the weights of the routers inside the groups.
        missed: {kind of groups: (factors, draws) share of the information that one flat softmax cannot give}.
        errors: {mixture and readout: one number a seed}, hierarchical and flat in turn.
        references: {name: error} drawn as lines.
        shares: {kind of sample: (N,) share of the vision group}.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), width_ratios=(3, 4, 3))
    for (name, values), colour, marker in zip(missed.items(), (HIERARCHICAL, FLAT), "os", strict=True):
        left.plot(scales, 100 * values.mean(1), color=colour, label=name)
        left.plot(scales, 100 * values, marker, color=colour, alpha=0.55, markersize=5, mew=0)
    left.set(
        title="What a flat softmax misses, a dot a draw",
        xlabel="factor on the weights inside the groups",
        ylabel="% of the routing information",
    )
    left.set_xscale("log", base=2)
    left.set_xticks(scales, [f"{scale:g}" for scale in scales])
    left.legend()
    _dots(middle, errors, [HIERARCHICAL, FLAT] * (len(errors) // 2))
    for (name, value), style in zip(references.items(), ("--", ":"), strict=False):
        middle.axvline(value, color="black", linestyle=style, linewidth=1.3, label=name)
    middle.set(title="Error, a dot a seed", xlabel="mean squared error")
    middle.legend(loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2, fontsize=9)
    for (name, values), colour in zip(shares.items(), (COLOURS["vision_only"], COLOURS["released"]), strict=True):
        weights = np.full(len(values), 1 / len(values))
        right.hist(
            values, np.linspace(0, 1, 41), weights=weights, histtype="stepfilled", color=colour, alpha=0.75, label=name
        )
    right.set(
        title="Share of the vision experts, seed 0", xlabel="share π of the vision group", ylabel="share of the samples"
    )
    right.legend(loc="upper center")
    return figure


def contradiction(
    errors: Mapping[str, Mapping[str, Sequence[float]]],
    gates: np.ndarray,
    polarities: Sequence[int],
    changes: Mapping[str, Mapping[str, Sequence[float]]],
    shares: Mapping[str, np.ndarray],
) -> Figure:
    """Four panels on words and a mouth that may contradict them.

    Args:
        errors: {system: {kind of sample: mean absolute error, one number a seed}}.
        gates: (P, P) mean gate of the word, by the word's polarity (rows) and the mouth's.
        polarities: the P values of both, rising.
        changes: {model: {what is changed: mean |change| of the word's gate, one number a seed}}.
        shares: {kind of sample: (seeds, 3) mean shares of the groups}.
    """
    figure, ((top_left, top_right), (low_left, low_right)) = plt.subplots(2, 2, figsize=(10, 7))
    kinds = list(next(iter(errors.values())))
    for offset, (system, values) in enumerate(errors.items()):
        places = np.arange(len(kinds)) + 0.8 / len(errors) * (offset - (len(errors) - 1) / 2)
        means = [np.mean(values[kind]) for kind in kinds]
        top_left.bar(places, means, 0.74 / len(errors), color=COLOURS[system], label=SYSTEM_NAMES[system])
        for place, kind, mean in zip(places, kinds, means, strict=True):
            top_left.plot(np.full(len(values[kind]), place), values[kind], ".", color="black", markersize=5)
            above = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            top_left.annotate(f"{mean:.2f}", (place, max(values[kind])), **above)
    top_left.set_xticks(range(len(kinds)), kinds)
    top_left.set(title="Error, a dot a seed", ylabel="mean absolute error")
    top_left.set_ylim(bottom=0)
    top_left.legend(loc="upper left", fontsize=9)
    _heat(top_right, gates, polarities)
    _paired(low_left, changes)
    low_left.set(title="Change one thing: how far the gate moves", ylabel="mean |change of the gate|")
    low_left.set_ylim(bottom=0)
    for offset, ((kind, values), fill) in enumerate(zip(shares.items(), (1.0, 0.45), strict=True)):
        places = np.arange(3) + 0.36 * (offset - 0.5)
        low_right.bar(places, values.mean(0), 0.34, color=list(GROUP_COLOURS.values()), alpha=fill)
        for place, column in zip(places, values.T, strict=True):
            low_right.plot(np.full(len(column), place), column, ".", color="black", markersize=5)
            low_right.text(place, 0.01, kind, rotation=90, ha="center", va="bottom", fontsize=9)
    low_right.set_xticks(range(3), list(GROUP_COLOURS))
    low_right.set(title="Shares of the groups", ylabel="mean share")
    for axes in (top_left, low_left, low_right):
        axes.grid(axis="x", visible=False)
    return figure


def _kinds() -> tuple[tuple[str, str], ...]:
    return (DEAD, "o"), (COLOURS["text_only"], "s"), (LIVE, "D")


def _dots(axes: Axes, values: Mapping[str, Sequence[float]], colours: Sequence[str]) -> None:
    """A row a name from the top: every seed as a dot, their mean as a bar."""
    for row, (numbers, colour) in enumerate(zip(values.values(), colours, strict=True)):
        axes.plot(numbers, np.full(len(numbers), row), "o", color=colour, alpha=0.55, markersize=7, mew=0)
        axes.plot([np.mean(numbers)], [row], "|", color=colour, markersize=22, mew=3)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)


def _heat(axes: Axes, gates: np.ndarray, polarities: Sequence[int]) -> None:
    axes.imshow(gates, cmap="cividis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(gates):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
        if polarities[row] * polarities[column] < 0:
            axes.add_patch(
                Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor="#D55E00", linewidth=2.2)
            )
    labels = [f"{value:+d}" if value else "0" for value in polarities]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(
        title="Gate of the word, seed 0",
        xlabel="polarity of the mouth (framed: contradicts the word)",
        ylabel="polarity of the word",
    )
    axes.grid(visible=False)


def _paired(axes: Axes, changes: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Bars of means with the seeds as dots, grouped by model; the last model is drawn in the strongest colour."""
    names = list(next(iter(changes.values())))
    for offset, ((model, values), colour) in enumerate(zip(changes.items(), (DEAD, LIVE), strict=True)):
        places = np.arange(len(names)) + 0.36 * (offset - 0.5)
        axes.bar(places, [np.mean(values[name]) for name in names], 0.34, color=colour, alpha=0.85, label=model)
        for place, name in zip(places, names, strict=True):
            axes.plot(np.full(len(values[name]), place), values[name], ".", color="black", markersize=6)
    axes.set_xticks(range(len(names)), names)
    axes.legend(loc="upper right", fontsize=9)
