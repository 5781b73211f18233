"""Figures of how far GEXSent's predictions can be trusted. Frames are those of `evaluation.trust`, all data sets together.

Lines differ in colour and in dash or marker, so that a print without colour still tells them apart.
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gexsent import datasets
from gexsent.evaluation.trust import CHOSEN
from gexsent.report.reliability_tables import METHOD_NAMES, SIGNAL_NAMES
from gexsent.report.style import COLOURS, SYSTEM_NAMES, annotate

REFERENCE = "gexsent"
WIDEST = 10.5  # inches
SCALING_LOOKS = {
    "as stored": ("#7F7F7F", "s", ":"),
    "temperature": ("#0072B2", "^", "--"),
    "temperature and bias": ("#D55E00", "o", "-"),
}
SIGNAL_LOOKS = {
    "confidence": ("#D55E00", "-"),
    "agreement": ("#0072B2", "--"),
    "gate_text": ("#009E73", "-."),
    "gate_vision": ("#CC79A7", (0, (5, 1, 1, 1, 1, 1))),
    "share_entropy": ("#E69F00", (0, (3, 1))),
    "words": ("#7F7F7F", (0, (1, 1))),
}
METHOD_LOOKS = {"sets": ("#009E73", "s"), "plain": ("#D55E00", "o"), "normalised": ("#0072B2", "^")}
FEWEST = 0.1  # coverage from which curves are drawn: of a few rows any risk may be seen
LOSSES = {"intensity": "MAE of the answered", "sentiment": "error rate of the answered"}


def draw(frames: dict[str, pd.DataFrame], edition: str) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure that the frames have something for."""
    if "bins" in frames:
        yield "calibration", calibration(frames["bins"], frames["calibration"], edition)
    if "curves" in frames:  # kept for GEXSent alone, as the figures are about it
        yield "risk_coverage", risk_coverage(frames["curves"], edition)
        yield "signals", gains(frames["selective"], edition)
        yield "coverage", coverage(frames["conformal"], edition)
        for dataset in _datasets(frames["curves"]):
            yield f"subgroups_{dataset}", subgroups(frames["subgroups"], dataset, edition)


def _datasets(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["dataset"]))


def calibration(bins: pd.DataFrame, scores: pd.DataFrame, edition: str) -> Figure:
    """Reliability diagrams, a panel a data set: accuracy against confidence before and after scaling.

    The seeds' predictions are binned together; the errors in the legends are means over seeds.
    """
    names = _datasets(bins)
    figure, axes = plt.subplots(1, len(names), figsize=(WIDEST, 4.5), sharey=True, squeeze=False)
    for axis, dataset in zip(axes[0], names, strict=True):
        axis.axline((0.3, 0.3), slope=1, color="black", linewidth=0.8)
        for scaling, (colour, marker, dash) in SCALING_LOOKS.items():
            part = _only(bins, dataset=dataset, scaling=scaling)
            row = _only(scores, dataset=dataset, scaling=scaling, system=REFERENCE).iloc[0]
            label = f"{scaling}: {row['ece_mean']:.3f}"
            axis.plot(
                part["confidence"], part["accuracy"], marker=marker, linestyle=dash, color=colour, label=label, ms=5
            )
        axis.set(title=datasets.title(dataset), xlabel="probability of the chosen class")
        axis.set(xlim=(0.3, 1.02), ylim=(-0.02, 1.02))
        axis.legend(title="calibration error", loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    axes[0, 0].set_ylabel("share that is right")
    return annotate(figure, edition)


def _only(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def _grid(frame: pd.DataFrame, height: float, **shared: str | bool) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A figure, and axes for each (data set, task) that the frame has: a row a task, a column a data set."""
    names = _datasets(frame)
    found = set(zip(frame["dataset"], frame["task"], strict=True))
    tasks = [task for task in LOSSES if any((dataset, task) in found for dataset in names)]
    size = (WIDEST, height * len(tasks) + 0.9)
    figure, axes = plt.subplots(len(tasks), len(names), figsize=size, squeeze=False, **shared)
    panels = {}
    for row, task in zip(axes, tasks, strict=True):
        for axis, dataset in zip(row, names, strict=True):
            if (dataset, task) not in found:
                axis.axis("off")
                continue
            axis.set_title(f"{datasets.title(dataset)}, {task}")
            panels[dataset, task] = axis
    return figure, panels


def risk_coverage(curves: pd.DataFrame, edition: str) -> Figure:
    """A panel a data set and task: the loss of what is answered, over the share that is answered.

    Lines are means over seeds, bands reach from the best to the worst seed.
    """
    curves = curves[curves["coverage"] >= FEWEST]
    figure, panels = _grid(curves, 2.9)
    handles = {}
    for (dataset, task), axis in panels.items():
        part = _only(curves, dataset=dataset, task=task)
        for signal, own in part.groupby("signal", sort=False):
            by_seed = own.pivot(index="coverage", columns="seed", values="risk")
            colour, dash = SIGNAL_LOOKS.get(signal, ("black", "-"))
            thin = signal == "oracle"
            (line,) = axis.plot(
                by_seed.index, by_seed.mean(axis=1), color=colour, linestyle=dash, linewidth=1 if thin else 1.8
            )
            handles[SIGNAL_NAMES.get(signal, "Oracle")] = line
            if not thin:
                axis.fill_between(
                    by_seed.index, by_seed.min(axis=1), by_seed.max(axis=1), color=colour, alpha=0.13, lw=0
                )
        whole = part[part["coverage"] == part["coverage"].max()]["risk"].mean()
        handles["Random order"] = axis.axhline(whole, color="black", linewidth=1, linestyle=(0, (6, 3)))
        axis.set(xlabel="share answered", ylabel=LOSSES[task], xlim=(0, 1))
        axis.set_ylim(0, 1.25 * max(whole, part[part["signal"] != "oracle"].groupby("signal")["risk"].mean().max()))
        axis.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4, fontsize=9)
    return annotate(figure, edition)


def gains(selective: pd.DataFrame, edition: str) -> Figure:
    """A panel a data set and task: how much of an oracle's gain over random order each signal has, with its interval."""
    own = _only(selective, system=REFERENCE)
    names = [signal for signal in SIGNAL_NAMES if signal in set(own["signal"])]
    figure, panels = _grid(own, 0.28 * len(names) + 1.0, sharex=True, sharey=True)
    for (dataset, task), axis in panels.items():
        part = _only(own, dataset=dataset, task=task).set_index("signal")
        axis.axvline(0, color="black", linewidth=1)
        for height, signal in enumerate(names):
            if signal not in part.index or not np.isfinite(part.loc[signal, "gain"]):
                axis.text(0.02, height, "–", va="center", transform=axis.get_yaxis_transform())
                continue
            row, colour = part.loc[signal], SIGNAL_LOOKS[signal][0]
            axis.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=2.2)
            axis.plot(row["gain"], height, "o", color=colour, ms=6.5, mec="white", mew=0.8)
        axis.set(xlabel="0: random order, 1: oracle", ylim=(len(names) - 0.5, -0.5))
        axis.set_xlim(min(-0.4, 1.1 * own["low"].min()), 1.05)
        axis.set_yticks(range(len(names)), [SIGNAL_NAMES[name] for name in names])
        axis.tick_params(labelbottom=True)
        axis.grid(axis="y", visible=False)
    return annotate(figure, edition)


def coverage(conformal: pd.DataFrame, edition: str) -> Figure:
    """A panel a data set and task: measured coverage less the promised one, with intervals over groups."""
    own = _only(conformal, system=REFERENCE)
    figure, panels = _grid(own, 2.6, sharey=True)
    handles = {}
    for (dataset, task), axis in panels.items():
        part = _only(own, dataset=dataset, task=task)
        axis.axhline(0, color="black", linewidth=1)
        methods = list(dict.fromkeys(part["method"]))
        for place, method in enumerate(methods):
            rows, (colour, marker) = _only(part, method=method), METHOD_LOOKS[method]
            shift = 0.24 * (place - (len(methods) - 1) / 2)
            x, gap = np.arange(len(rows)) + shift, 100 * (rows["coverage"] - rows["level"])
            axis.vlines(
                x, 100 * (rows["low"] - rows["level"]), 100 * (rows["high"] - rows["level"]), color=colour, lw=1.8
            )
            (handles[METHOD_NAMES[method]],) = axis.plot(x, gap, marker, color=colour, ms=6, mec="white", mew=0.7)
        axis.set_xticks(np.arange(len(rows)), [f"{level:.0%}" for level in rows["level"]], fontsize=8.5)
        axis.set(xlabel="promised coverage", xlim=(-0.5, len(rows) - 0.5))
        axis.set_ylabel("measured − promised, points", fontsize=9)
        axis.grid(axis="x", visible=False)
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3, fontsize=9)
    return annotate(figure, edition)


def subgroups(table: pd.DataFrame, dataset: str, edition: str) -> Figure:
    """A panel a measure, a row a subgroup: GEXSent and text alone, with 95 % intervals; a ring marks GEXSent's worst
    subgroup of each family, a dashed line its value over all rows, a black one the coverage that was promised."""
    part = _only(table, dataset=dataset)
    measures = dict.fromkeys(zip(part["task"], part["measure"], strict=True))
    measures = sorted(measures, key=lambda pair: list(LOSSES).index(pair[0]))
    own = part[part["system"] == REFERENCE]
    keys = own.drop_duplicates(["family", "subgroup"])[["family", "subgroup", "rows"]].to_dict("records")
    figure, axes = plt.subplots(1, len(measures), figsize=(WIDEST, 0.36 * len(keys) + 1.7), sharey=True, squeeze=False)
    for axis, (task, measure) in zip(axes[0], measures, strict=True):
        for system, shift, marker in ((REFERENCE, -0.13, "o"), ("text_only", 0.17, "s")):
            rows = _only(part, task=task, measure=measure, system=system).set_index(["family", "subgroup"])
            for height, key in enumerate(keys):
                if (key["family"], key["subgroup"]) not in rows.index:
                    continue
                row, y = rows.loc[(key["family"], key["subgroup"])], height + shift
                label = SYSTEM_NAMES[system] if height == 0 else None
                axis.hlines(y, row["low"], row["high"], color=COLOURS[system], linewidth=2)
                axis.plot(row["value"], y, marker, color=COLOURS[system], ms=6, mec="white", mew=0.7, label=label)
                if system == REFERENCE and row["worst"]:
                    axis.plot(row["value"], y, "o", mfc="none", mec="black", mew=1.6, ms=11)
                if system == REFERENCE and key["subgroup"] == "all rows":
                    axis.axvline(row["value"], color=COLOURS[system], linewidth=0.8, linestyle="--", zorder=0)
        if measure == "coverage":
            axis.axvline(CHOSEN, color="black", linewidth=1, zorder=1)
        axis.set(title=task, xlabel=f"coverage, promised {CHOSEN}" if measure == "coverage" else measure)
        axis.grid(axis="y", visible=False)
        for height in range(1, len(keys)):
            if keys[height]["family"] != keys[height - 1]["family"]:
                axis.axhline(height - 0.5, color="#BBBBBB", linewidth=0.8)
    labels = [f"{key['subgroup']} ({key['rows']:,})" for key in keys]
    axes[0, 0].set_yticks(range(len(keys)), labels, fontsize=9)
    axes[0, 0].set_ylim(len(keys) - 0.5, -0.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    return annotate(figure, edition)
