"""The two figures of a report."""

import math
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from gexsent.posts.report import Report

STRONG, QUIET = "#D55E00", "#555555"


def scores(report: "Report") -> Figure:
    """A panel per label and metric: every system's score with its 95 % interval, GEXSent's in colour."""
    from gexsent.posts.report import NAMES

    panels = list(report.scores.groupby(["label", "metric"], sort=False))
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (4.2 * columns, 2.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, ((label, metric), part) in zip(axes.flat, panels, strict=False):
        part = part[np.isfinite(part["value"])].iloc[::-1]
        for place, row in enumerate(part.itertuples()):
            colour = STRONG if row.system == "gexsent" else QUIET
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axis.plot(row.value, place, "o", color=colour)
        axis.set_yticks(range(len(part)), [NAMES[system] for system in part["system"]])
        axis.set_ylim(-0.6, len(part) - 0.4)
        axis.set_title(f"{label}: {metric} ({'lower' if metric == 'MAE' else 'higher'} is better)", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    plt.close(figure)
    return figure


def outcomes(report: "Report") -> Figure:
    """A panel per label: shares of each true class by what was predicted, or predicted over true numbers."""
    from gexsent.posts.report import counts_of

    figure, axes = plt.subplots(
        1, len(report.tasks), figsize=(4.6 * len(report.tasks), 4.2), squeeze=False, layout="constrained"
    )
    for axis, task in zip(axes.flat, report.tasks, strict=True):
        if task.kind == "regression":
            true, predicted = report.outcomes[f"true_{task.name}"], report.outcomes[f"pred_{task.name}"]
            ends = [np.nanmin([true.min(), predicted.min()]), np.nanmax([true.max(), predicted.max()])]
            axis.plot(ends, ends, color=QUIET, linewidth=1, linestyle="--", label="as it should be")
            axis.scatter(true, predicted, s=8, color=STRONG, alpha=0.4, linewidths=0)
            axis.legend(loc="upper left", frameon=False)
            axis.set(xlabel="true", ylabel="predicted")
        else:
            table = counts_of(report.outcomes, task)
            shares = table / np.maximum(table.sum(1, keepdims=True), 1)
            axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
            if len(task.classes) <= 10:
                for (row, column), share in np.ndenumerate(shares):
                    axis.text(
                        column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black"
                    )
            axis.set_xticks(range(len(task.classes)), task.classes, rotation=30, ha="right")
            axis.set_yticks(range(len(task.classes)), task.classes)
            axis.set(xlabel="predicted", ylabel="true")
        axis.set_title(task.label, fontsize=11)
    plt.close(figure)
    return figure
