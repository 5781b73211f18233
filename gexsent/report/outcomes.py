"""What came out on the test rows: classes confused, intensities missed, probabilities that hold or do not, seeds apart.

Frames are those of the evaluate stage: `predictions` has one row a system, seed, partition and sample, `labels` one row
a partition and sample, `scores` one row a system and seed. `rows` is what `joined` makes of the first two. A missing
label leaves its row out where that label is needed, and nowhere else.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent.datasets import CATEGORIES, LEVELS, SENTIMENTS
from gexsent.evaluation.metrics import confusion
from gexsent.report.columns import Column
from gexsent.report.style import COLOURS, NARROWEST, SYSTEM_NAMES, annotate, panel_grid, system_name

SENTIMENT_NAMES = dict(enumerate(SENTIMENTS, -1))
MANY = 1500  # points in a panel, from which on each is drawn smaller and paler


def joined(predictions: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Each prediction with the labels of its sample, in the order of the predictions.

    Raises:
        ValueError: a prediction without a sample to compare it with.
    """
    rows = predictions.merge(labels, on=["partition", "id"], how="left", validate="many_to_one", indicator=True)
    lacking = rows.loc[rows["_merge"] != "both", "id"]
    if len(lacking):
        raise ValueError(f"{lacking.iloc[0]!r} is predicted and is no test row; run the evaluate stage again")
    return rows.drop(columns="_merge")


def systems(rows: pd.DataFrame) -> list[str]:
    """Those that were predicted, in the order of all figures and tables; names that are not known come last."""
    order = list(SYSTEM_NAMES)
    return sorted(dict.fromkeys(rows["system"]), key=lambda name: order.index(name) if name in order else len(order))


def colour(system: str) -> str:
    return COLOURS.get(system, "#444444")


def named_classes(rows: pd.DataFrame, system: str) -> pd.DataFrame:
    """Columns actual and predicted, by name, of every seed of one system: what `dvc plots` counts."""
    known = rows[(rows["system"] == system) & rows["sentiment"].notna()]
    columns = {"actual": known["sentiment"], "predicted": known["pred_sentiment"]}
    return pd.DataFrame({name: values.astype(int).map(SENTIMENT_NAMES) for name, values in columns.items()})


def confusion_matrices(rows: pd.DataFrame, edition: str) -> Figure:
    """A panel a system: for each true class, the share of its rows that went to each class; all seeds together."""
    names = systems(rows)
    figure, axes = panel_grid(len(names), width=2.15, height=2.5, xlabel="predicted", ylabel="actual")
    for axis, system in zip(axes, names, strict=True):
        known = rows[(rows["system"] == system) & rows["sentiment"].notna()]
        counts = np.zeros((3, 3), int)
        if len(known):
            counts = confusion(known["pred_sentiment"], known["sentiment"], list(SENTIMENT_NAMES))
        _matrix(axis, counts, list(SENTIMENT_NAMES.values()))
        axis.set_title(system_name(system))
    return annotate(figure, edition)


def _matrix(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{share:.0%}\n({counts[row, column]:,})"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black")
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.grid(visible=False)


def predicted_against_true(rows: pd.DataFrame, edition: str) -> Figure:
    """A panel a system: every prediction of every seed over the true intensity, and the median for each true class.

    On the diagonal a prediction is exact. Medians flatter than the diagonal say that a system keeps to the middle.
    """
    known, names = rows[rows["intensity"].notna()], systems(rows)
    figure, axes = panel_grid(len(names), width=2.3, height=2.7, xlabel="true intensity", ylabel="predicted intensity")
    for axis, system in zip(axes, names, strict=True):
        part = known[known["system"] == system]
        dot = {"s": 3, "alpha": 0.12} if len(part) > MANY else {"s": 12, "alpha": 0.35}
        axis.axline((0, 0), slope=1, color="#999999", linewidth=1, linestyle="--")
        # Thousands of dots are a picture in the PDF; lines and text stay sharp.
        axis.scatter(
            part["intensity"], part["pred_intensity"], color=colour(system), linewidths=0, rasterized=True, **dot
        )
        medians = part.groupby(intensity_class(part["intensity"]))["pred_intensity"].median()
        axis.plot(medians.index, medians, "o-", color="black", markersize=4, linewidth=1.2)
        axis.set(title=system_name(system), xlim=(-3.3, 3.3), ylim=(-3.8, 3.8))
        axis.set_xticks(range(-3, 4))
    return annotate(figure, edition)


def intensity_class(values: pd.Series) -> pd.Series:
    """The nearest whole number from −3 to 3, halves to the even one: the classes of Acc-7."""
    return np.round(values.clip(-3, 3)).astype(int)


def error_by_intensity(rows: pd.DataFrame, edition: str) -> Figure:
    """Mean absolute error for each true class of intensity, a line a system; bars give the rows of each class."""
    known = rows[rows["intensity"].notna()]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(NARROWEST, 3.9), sharex=True, height_ratios=(3, 1))
    classes = intensity_class(known["intensity"])
    errors = (known["pred_intensity"] - known["intensity"]).abs()
    for system in systems(known):
        mean = errors[known["system"] == system].groupby(classes).mean()
        upper.plot(mean.index, mean, "o-", color=colour(system), label=system_name(system), markersize=5)
    upper.set(title="Error by true intensity", ylabel="MAE, all seeds")
    upper.set_ylim(bottom=0)
    upper.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    samples = known.drop_duplicates(["partition", "id"])
    counts = intensity_class(samples["intensity"]).value_counts().reindex(range(-3, 4), fill_value=0)
    bars = lower.bar(counts.index, counts, color="#BBBBBB", width=0.7)
    lower.bar_label(bars, fontsize=8, fmt="{:,.0f}")
    lower.set(xlabel="true intensity, rounded", ylabel="rows")
    lower.margins(y=0.35)
    lower.grid(visible=False)
    return annotate(figure, edition)


def recalls(rows: pd.DataFrame, column: str, predicted: str, classes: Sequence[int]) -> pd.DataFrame:
    """Share of the rows of each true class that were found, in percent: a row a system, a column a class; all seeds.

    NaN for a class that no test row has.
    """
    known = rows[rows[column].notna()].astype({column: int})
    hits = 100.0 * (known[predicted].astype(int) == known[column])
    table = hits.groupby([known["system"], known[column]]).mean().unstack()
    return table.reindex(index=systems(rows), columns=list(classes))


def category_recalls(rows: pd.DataFrame, edition: str) -> Figure:
    """A panel a category: recall of each level, a marker a system. The number of rows stands under each level."""
    figure, axes = plt.subplots(1, len(CATEGORIES), figsize=(11, 3.4), sharey=True, width_ratios=list(LEVELS.values()))
    samples = rows.drop_duplicates(["partition", "id"])
    for axis, category in zip(axes, CATEGORIES, strict=True):
        levels = range(LEVELS[category])
        table = recalls(rows, category, f"pred_{category}_level", levels)
        counts = samples[category].value_counts().reindex(levels, fill_value=0)
        for place, system in enumerate(table.index):
            # Side by side, for markers on top of each other hide one; all of a level's nearer to it than to the next.
            shift = min(0.14, 0.8 / len(table)) * (place - (len(table) - 1) / 2)
            axis.plot(
                np.array(levels) + shift, table.loc[system], "o", color=colour(system), label=system_name(system), ms=6
            )
        axis.set_xticks(levels, [f"{level}\n{counts[level]:,} rows" for level in levels], fontsize=8)
        axis.set(title=category, xlabel="true level", xlim=(-0.5, len(levels) - 0.5), ylim=(-4, 104))
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("found, % of the rows of the level")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=5)
    return annotate(figure, edition)


def reliability(rows: pd.DataFrame, *, bins: int = 8, balanced: bool) -> pd.DataFrame:
    """Confidence against accuracy of the sentiment classes, in bins that hold equally many predictions.

    Args:
        rows: of one system.
        bins: at most so many; fewer where a bin would hold less than ten predictions.
        balanced: weigh rows so that all classes count alike. Right where training corrected for uneven classes, since
            probabilities then refer to classes that are equally frequent.

    Returns:
        One row a bin: rows, weight (summing to 1), confidence (mean probability of the class that was chosen) and
        accuracy.
    """
    known = rows[rows["sentiment"].notna()]
    confidence = known[[f"p_sentiment_{name}" for name in SENTIMENTS]].max(axis=1).to_numpy(float)
    right = (known["pred_sentiment"] == known["sentiment"]).to_numpy(float)
    weight = np.ones(len(known))
    if balanced:
        weight = 1 / known["sentiment"].map(known["sentiment"].value_counts()).to_numpy(float)
    order = np.argsort(confidence, kind="stable")
    parts = []
    for part in np.array_split(order, max(1, min(bins, len(order) // 10))):
        if len(part):
            mean = {
                "confidence": np.average(confidence[part], weights=weight[part]),
                "accuracy": np.average(right[part], weights=weight[part]),
            }
            parts.append({"rows": len(part), "weight": weight[part].sum() / weight.sum(), **mean})
    return pd.DataFrame(parts, columns=["rows", "weight", "confidence", "accuracy"])


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of a `reliability` table: the mean gap between confidence and accuracy, 0 to 1."""
    return float((table["weight"] * (table["confidence"] - table["accuracy"]).abs()).sum())


def calibration(rows: pd.DataFrame, edition: str, *, balanced: bool) -> Figure:
    """Confidence against accuracy for each system, all seeds together; on the diagonal a probability means itself."""
    figure, axes = plt.subplots(figsize=(NARROWEST, 3.8))
    axes.axline((0.3, 0.3), slope=1, color="#999999", linewidth=1, linestyle="--")
    for system in systems(rows):
        table = reliability(rows[rows["system"] == system], balanced=balanced)
        label = f"{system_name(system)}: ECE {calibration_error(table):.3f}"
        axes.plot(table["confidence"], table["accuracy"], "o-", color=colour(system), label=label, markersize=5)
    title = "Calibration, classes weighed alike" if balanced else "Calibration"
    axes.set(xlabel="probability of the chosen class", ylabel="share that is right", title=title)
    axes.set(xlim=(0.3, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return annotate(figure, edition)


def seeds(scores: pd.DataFrame, columns: Sequence[Column], edition: str) -> Figure:
    """A panel a metric: every seed of every system as a dot, the mean as a bar. Metrics without a value are left out."""
    drawn = [column for column in columns if column.metric in scores and scores[column.metric].notna().any()]
    names = systems(scores)
    across = min(4, len(drawn))
    down = -(-len(drawn) // across)
    size = (max(NARROWEST, 2.4 * across + 1.4), (0.3 * len(names) + 1.1) * down + 0.3)
    figure, axes = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False)
    for axis in axes.flat[len(drawn) :]:
        axis.axis("off")
    for axis, column in zip(axes.flat, drawn, strict=False):
        for height, system in enumerate(names):
            values = scores.loc[scores["system"] == system, column.metric].dropna()
            axis.plot(values, [height] * len(values), "o", color=colour(system), alpha=0.6, mec="none", markersize=7)
            if len(values):
                axis.plot(values.mean(), height, "|", color="black", markersize=15, mew=2, zorder=3)
        axis.set_title(column.heading, fontsize=9.5)
        axis.tick_params(axis="x", labelsize=8)
        axis.margins(x=0.12)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(names)), [system_name(name) for name in names])
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return annotate(figure, edition)
