"""How training went: losses by epoch, where each fit stopped, what experts, groups and gates did.

`history` is what the train stage leaves: one row a fit and epoch, a fit being a system, partition and seed. Apart from
epoch, train_loss and valid_loss a column is drawn where it is there and not empty, because systems differ in what they
log. Fits stop at different epochs: a mean is drawn as far as every fit ran, for the mean of those that are left would
jump each time one of them drops out.
"""

from collections.abc import Iterable, Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent.report.style import COLOURS, NARROWEST, SPARE_COLOURS, SYSTEM_NAMES, annotate, panel_grid, system_name

FIT = ["system", "partition", "seed"]
GROUP_COLOURS = {"text": COLOURS["text_only"], "vision": COLOURS["vision_only"], "shared": "#E69F00"}
# Columns that the router logs for each group of experts or modality: prefix, title, limits of the axis.
ROUTER = (
    ("entropy_", "Usage entropy (1: even)", (0, 1.05)),
    ("dead_", "Dead experts", None),
    ("share_", "Share of each group", (0, 1.05)),
    ("gate_", "Mean gate", (0, 1.05)),
)


def fits(history: pd.DataFrame) -> pd.DataFrame:
    """One row a fit: epochs run, the best epoch (from 1, the earlier of equals) and its validation loss."""
    history = history.reset_index(drop=True)
    # A loss that is not a number is never the best; where a fit has no other, its first epoch is what it kept.
    groups = history.assign(rank=history["valid_loss"].fillna(np.inf)).groupby(FIT, sort=False)
    best = history.loc[groups["rank"].idxmin(), [*FIT, "epoch", "valid_loss"]]
    result = best.rename(columns={"epoch": "best_epoch"}).reset_index(drop=True)
    result.insert(3, "epochs", groups["epoch"].max().to_numpy())
    return result


def stopping(history: pd.DataFrame) -> pd.DataFrame:
    """One row a system: number of fits, range of epochs run and of best epochs, mean and sd of the best losses."""
    groups = fits(history).groupby("system", sort=False)

    def span(column: str) -> pd.Series:
        low, high = groups[column].min(), groups[column].max()
        return low.astype(str).where(low == high, low.astype(str) + "–" + high.astype(str))

    losses = groups["valid_loss"]
    columns = {"fits": groups.size(), "epochs run": span("epochs"), "best epoch": span("best_epoch")}
    columns |= {"best validation loss": losses.mean(), "sd": losses.std(ddof=1)}
    return pd.DataFrame(columns).loc[_systems(history)].rename(index=system_name).rename_axis("system")


def spread(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean and sd over the fits of one system, by epoch, as far as every fit ran; the sd of a single fit is NaN."""
    wide = history.pivot(index="epoch", columns=["partition", "seed"], values=column).astype(float).dropna()
    return pd.DataFrame({"mean": wide.mean(axis=1), "sd": wide.std(axis=1, ddof=1)})


def mean_losses(history: pd.DataFrame, systems: Iterable[str]) -> pd.DataFrame:
    """Mean validation loss by epoch, one column for each of these systems; NaN beyond what every fit of it ran."""
    means = {system: spread(_of(history, system), "valid_loss")["mean"] for system in systems}
    epochs = pd.RangeIndex(1, int(history["epoch"].max()) + 1, name="epoch")
    return pd.DataFrame({system: mean.reindex(epochs) for system, mean in means.items()}, index=epochs)


def losses(history: pd.DataFrame, edition: str) -> Figure:
    """A panel a system: validation loss of every fit with a dot at its best epoch, means, and a band of one sd."""
    names = _systems(history)
    figure, axes = panel_grid(len(names), width=2.35, height=2.6, xlabel="epoch", ylabel="loss")
    best = fits(history)
    for axis, system in zip(axes, names, strict=True):
        part, colour = _of(history, system), _colour(system)
        for _, run in part.groupby(["partition", "seed"]):
            axis.plot(run["epoch"], run["valid_loss"], color=colour, linewidth=0.7, alpha=0.35)
        training = spread(part, "train_loss")["mean"]
        axis.plot(training.index, training, color="black", linestyle="--", linewidth=1.2)
        _band(axis, spread(part, "valid_loss"), colour, "validation, mean ± sd")
        chosen = best[best["system"] == system]
        axis.plot(
            chosen["best_epoch"], chosen["valid_loss"], "o", color=colour, markersize=5, mec="white", mew=0.8, zorder=4
        )
        axis.set_title(system_name(system))
        axis.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    handles = [
        plt.Line2D([], [], color="black", linestyle="--", linewidth=1.2, label="training, mean"),
        plt.Line2D([], [], color="#444444", linewidth=2, label="validation, mean ± sd"),
        plt.Line2D([], [], color="#444444", linewidth=0.7, alpha=0.5, label="validation, each fit"),
        plt.Line2D([], [], color="#444444", marker="o", linestyle="", markersize=5, label="epoch that is kept"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8.5)
    return annotate(figure, edition)


def task_losses(history: pd.DataFrame, edition: str) -> Figure:
    """A panel a task: its own validation loss by epoch, mean over the fits of each system."""
    columns = _columns(history, "valid_", leave="valid_loss")
    across = min(5, len(columns))
    down = -(-len(columns) // across)
    size = (max(NARROWEST, 2.1 * across + 1.9), (2.0 if down > 1 else 2.5) * down + 0.6)
    figure, axes = plt.subplots(down, across, figsize=size, sharex=True, squeeze=False)
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    for axis, column in zip(axes.flat, columns, strict=False):
        for system in _systems(history):
            mean = spread(_of(history, system), column)["mean"]
            axis.plot(mean.index, mean, color=_colour(system), label=system_name(system), marker=_dot(mean))
        axis.set_title(column.removeprefix("valid_").replace("_", ", "), fontsize=9.5)
        axis.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[max(0, len(columns) - across) : len(columns)]:  # the lowest panel of each column
        axis.tick_params(labelbottom=True)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.supylabel("validation loss", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8.5)
    return annotate(figure, edition)


def routing(history: pd.DataFrame, edition: str) -> Figure | None:
    """What the routers did by epoch, a row a system: entropy of expert usage, dead experts, and what else was logged.

    None where no system has experts to route to.
    """
    panels = [panel for panel in ROUTER if _columns(history, panel[0])]
    names = [s for s in _systems(history) if any(_columns(_of(history, s), prefix) for prefix, _, _ in panels)]
    if not panels:
        return None
    size = (max(NARROWEST, 3.7 * len(panels) + 1), 2.6 * len(names) + 0.3)
    figure, axes = plt.subplots(len(names), len(panels), figsize=size, squeeze=False)
    for row, system in zip(axes, names, strict=True):
        part = _of(history, system)
        for axis, (prefix, title, limits) in zip(row, panels, strict=True):
            for column in _columns(part, prefix):
                group = column.removeprefix(prefix)
                _band(axis, spread(part, column), _group_colour(group), group)
            axis.set(title=f"{system_name(system)}: {title.lower()}", xlabel="epoch")
            axis.set_ylim(*(limits or (-0.03, max(1.0, 1.1 * axis.get_ylim()[1]))))
            axis.xaxis.get_major_locator().set_params(integer=True)
    handles = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
    figure.legend(handles=list(handles.values()), loc="outside right upper")
    return annotate(figure, edition)


def auxiliary(history: pd.DataFrame, edition: str) -> Figure | None:
    """The weighted auxiliary losses beside the loss of the tasks, on a logarithmic scale; None where there are none."""
    names = [system for system in _systems(history) if _columns(_of(history, system), "aux_")]
    if not names:
        return None
    figure, axes = plt.subplots(
        1, len(names), figsize=(max(NARROWEST, 4.2 * len(names) + 1.6), 3.0), sharey=True, squeeze=False
    )
    columns = _columns(history, "aux_")
    colours = dict(zip(columns, cycle(SPARE_COLOURS), strict=False))
    for axis, system in zip(axes[0], names, strict=True):
        part = _of(history, system)
        _band(axis, spread(part, "train_loss"), "black", "tasks (training loss)")
        for column in _columns(part, "aux_"):
            never = "" if (part[column].dropna() > 0).any() else " (0 throughout)"
            _band(axis, spread(part, column), colours[column], column.removeprefix("aux_") + never)
        axis.set_yscale("log", nonpositive="mask")  # a loss of exactly 0 has no place on this scale
        axis.set(title=f"{system_name(system)}: parts of the loss", xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return annotate(figure, edition)


def weights(shares: Mapping[str, np.ndarray], gates: Mapping[str, np.ndarray], edition: str) -> Figure:
    """What a trained model decides: the share of each group of experts by sample, the gate of each token by modality.

    Args:
        shares: {group: (N,)}, summing to 1 over the groups.
        gates: {modality: (tokens,)}, between 0 and 1, padding left out; empty for a modality that is absent.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.0))
    for height, (group, values) in enumerate(shares.items()):
        # Bars over the number of samples at each share would hide each other; a box tells the same in a line.
        left.boxplot(
            np.asarray(values, float), positions=[height], orientation="horizontal", widths=0.55, patch_artist=True,
            boxprops={"facecolor": _group_colour(group), "alpha": 0.65}, medianprops={"color": "black"},
            flierprops={"markersize": 2.5, "alpha": 0.5}, whis=(5, 95),
        )  # fmt: skip
    left.set_yticks(range(len(shares)), list(shares))
    left.set(title="Share of each group, by sample", xlabel="share (box: quartiles; whiskers: 5 % and 95 %)")
    left.set(xlim=(-0.03, 1.03), ylim=(len(shares) - 0.4, -0.6))
    left.grid(axis="y", visible=False)
    bins = np.linspace(0, 1, 41)
    for modality, values in gates.items():
        label = f"{modality} ({len(values):,} tokens)" if len(values) else f"{modality} (absent)"
        weight = np.full(len(values), 1 / max(1, len(values)))
        right.hist(values, bins, weights=weight, color=_group_colour(modality), alpha=0.6, label=label)
    right.set(title="Gate of each token", xlabel="gate", ylabel="share of the tokens", xlim=(0, 1))
    right.yaxis.set_major_formatter("{x:.0%}")
    right.legend()
    return annotate(figure, edition)


def _systems(history: pd.DataFrame) -> list[str]:
    """In the order of all figures and tables, unknown ones last: a folder of fits has them by the alphabet."""
    order = list(SYSTEM_NAMES)
    found = dict.fromkeys(history["system"])
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _of(history: pd.DataFrame, system: str) -> pd.DataFrame:
    return history[history["system"] == system]


def _columns(history: pd.DataFrame, prefix: str, leave: str = "") -> list[str]:
    """Columns that begin like this and hold something, in their order; `leave` names one to leave out."""
    return [c for c in history.columns if c.startswith(prefix) and c != leave and history[c].notna().any()]


def _colour(system: str) -> str:
    return COLOURS.get(system, "#444444")


def _group_colour(group: str) -> str:
    return GROUP_COLOURS.get(group, "#444444")


def _dot(points: pd.Series | pd.DataFrame) -> str | None:
    """The line through a single epoch cannot be seen: it gets a dot."""
    return "o" if len(points) == 1 else None


def _band(
    axes: Axes, part: pd.DataFrame, colour: str, label: str, *, linestyle: str = "-", linewidth: float = 2
) -> None:
    """A line of means with one deviation to either side."""
    marker = _dot(part)
    axes.plot(
        part.index, part["mean"], color=colour, label=label, linestyle=linestyle, linewidth=linewidth, marker=marker
    )
    if part["sd"].notna().any():
        low, high = part["mean"] - part["sd"], part["mean"] + part["sd"]
        axes.fill_between(part.index, low, high, color=colour, alpha=0.15, linewidth=0)
