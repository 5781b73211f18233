"""What a data set looks like, before anything is trained: labels, splits, sizes, pictures, and the sample's own rule.

Frames are those of the prepare stage: `samples` (id, group, split, text, media, kind) and `labels` (id and some of
intensity, sentiment, humour, sarcasm, offensive, motivational).
"""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gexsent.data import media
from gexsent.datasets import CATEGORIES, LEVELS, SENTIMENTS
from gexsent.report.style import SENTIMENT_COLOURS, annotate

SENTIMENT_NAMES = dict(enumerate(SENTIMENTS, -1))
LEVEL_COLOURS = ("#D9D9D9", "#9ECAE1", "#4292C6", "#08519C")  # grey for absent, then light to dark
BAR = "#56799B"
BINS = np.arange(-3.25, 3.5, 0.5)  # centred on whole and half numbers: what lies next to 0 shares a bar, in its colours


def target(labels: pd.DataFrame) -> str:
    """The column that says most about sentiment: intensity where there is one, else the three classes."""
    return "intensity" if "intensity" in labels else "sentiment"


def describe(value: float, column: str) -> str:
    """A label as readers see it: a signed intensity, or the name of a class."""
    return f"{value:+.1f}" if column == "intensity" else SENTIMENT_NAMES[int(value)]


def distribution(labels: pd.DataFrame, edition: str) -> Figure:
    """How often each label occurs: intensity and sentiment, or sentiment and the four categories by level."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(3, 2))
    if "intensity" in labels:
        _intensities(left, labels)
        _sentiments(right, labels)
    else:
        _sentiments(left, labels)
        _levels(right, labels)
    return annotate(figure, edition)


def _intensities(axes: Axes, labels: pd.DataFrame) -> None:
    parts = [labels.loc[labels["sentiment"] == sentiment, "intensity"].to_numpy() for sentiment in SENTIMENT_NAMES]
    axes.hist(parts, BINS, stacked=True, color=list(SENTIMENT_COLOURS.values()), edgecolor="white", linewidth=0.8)
    axes.axvline(labels["intensity"].median(), color="black", linewidth=1, linestyle="--")
    axes.set(title="Intensity", xlabel="intensity, in bins of half a point (dashed: median)", ylabel="rows")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x", visible=False)


def _sentiments(axes: Axes, labels: pd.DataFrame) -> None:
    counts = labels["sentiment"].value_counts().reindex(list(SENTIMENT_NAMES), fill_value=0)
    bars = axes.bar(list(SENTIMENT_NAMES.values()), counts, color=[SENTIMENT_COLOURS[s] for s in counts.index])
    axes.bar_label(bars, [f"{count:,}\n{count / counts.sum():.0%}" for count in counts], fontsize=9, padding=2)
    axes.margins(y=0.22)
    axes.set(title="Sentiment in three classes", ylabel="rows")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x", visible=False)


def _levels(axes: Axes, labels: pd.DataFrame) -> None:
    present = [category for category in CATEGORIES if category in labels]
    start = np.zeros(len(present))
    for level, colour in enumerate(LEVEL_COLOURS):
        shares = np.array([(labels[category].dropna() == level).mean() for category in present], float)
        axes.barh(present, shares, left=start, color=colour, edgecolor="white", label=str(level))
        for row, (share, left) in enumerate(zip(shares, start, strict=True)):
            if share >= 0.08:
                ink = "white" if level > 1 else "black"
                axes.text(left + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color=ink)
        start += shares
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the rows with a label")
    axes.set_title("Four categories by level (0: absent)", pad=26)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(visible=False)
    axes.legend(ncols=max(LEVELS.values()), loc="lower left", bbox_to_anchor=(-0.02, 0.98), columnspacing=1)


def splits(samples: pd.DataFrame, labels: pd.DataFrame, edition: str) -> Figure:
    """Each split's share of the classes, with its rows and groups: similar bars mean that the splits are alike."""
    merged = samples[["id", "group", "split"]].merge(labels[["id", "sentiment"]], on="id", validate="one_to_one")
    names = [name for name in ("train", "valid", "test") if name in set(merged["split"])]
    names = names or sorted(set(merged["split"]))
    figure, axes = plt.subplots(figsize=(9, 1.3 + 0.3 * len(names)))
    start = np.zeros(len(names))
    for sentiment, name in SENTIMENT_NAMES.items():
        shares = np.array([(merged.loc[merged["split"] == s, "sentiment"] == sentiment).mean() for s in names], float)
        axes.barh(names, shares, left=start, color=SENTIMENT_COLOURS[sentiment], edgecolor="white", label=name)
        for row, (share, left) in enumerate(zip(shares, start, strict=True)):
            if share >= 0.05:
                axes.text(left + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white")
        start += shares
    for row, name in enumerate(names):
        part = merged[merged["split"] == name]
        note = f"{len(part):,} rows in {part['group'].nunique():,} groups"
        axes.text(1.01, row, note, va="center", fontsize=8.5)
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1))
    axes.set_title("Classes in each split", pad=26)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(visible=False)
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.01, 0.99))
    return annotate(figure, edition)


def sizes(samples: pd.DataFrame, edition: str) -> Figure:
    """Words in a text, and rows in a group."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9))
    words = samples["text"].str.split().str.len().to_numpy()
    cut = int(np.quantile(words, 0.99)) + 1
    cut = cut if words.max() > 1.25 * cut else words.max()  # the longest texts share a bar, where they are much longer
    _bars(left, np.minimum(words, cut), cut)
    left.axvline(np.median(words), color="black", linewidth=1, linestyle="--")
    left.set(title="Length of the texts", xlabel=f"words (dashed: median {np.median(words):.0f})", ylabel="rows")
    if words.max() > cut:
        left.annotate(
            f"{(words >= cut).sum():,} texts of {cut} to {words.max()}\nwords are counted here",
            (cut, (words >= cut).sum()), (0.98, 0.85), textcoords="axes fraction", ha="right", fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#666666"},
        )  # fmt: skip
    members = samples["group"].value_counts()
    _bars(right, members.to_numpy(), int(members.max()))
    right.set(title="Size of the groups", xlabel="rows in a group", ylabel="groups")
    counts = members.value_counts()
    if counts.max() > 20 * counts.min():
        right.set(yscale="symlog", ylabel="groups (log scale)")  # a few large groups would not be seen otherwise
    if len(counts) <= 8:
        right.set(xlim=(members.min() - 1.5, members.max() + 1.5), xticks=range(members.min() - 1, members.max() + 2))
        right.margins(y=0.15)
        for size, count in counts.items():
            right.annotate(f"{count:,}", (size, count), (0, 2), textcoords="offset points", ha="center", fontsize=9)
    return annotate(figure, edition)


def _bars(axes: Axes, values: np.ndarray, highest: int) -> None:
    step = max(1, -(-highest // 40))  # at most about forty bars, each of whole numbers
    edges = np.arange(values.min() - 0.5, highest + step + 0.5, step)
    axes.hist(values, edges, color=BAR, edgecolor="white", linewidth=0.6)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x", visible=False)


def spread(labels: pd.DataFrame, count: int) -> list[str]:
    """`count` ids from the lowest label to the highest, at even distances in rank; fewer where there are fewer rows."""
    column = target(labels)
    ordered = labels.dropna(subset=[column]).sort_values([column, "id"])["id"].tolist()
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def pictures(
    root: Path, samples: pd.DataFrame, labels: pd.DataFrame, ids: list[str], edition: str, *, frames: int = 3
) -> Figure:
    """The picture, or `frames` frames, of each of these samples, with label and text. Shows rows: ask before real data.

    A sample without media has its text alone.
    """
    rows = samples.set_index("id").loc[ids]
    values, column = labels.set_index("id")[target(labels)], target(labels)
    frames = 0 if (rows["kind"] == "none").all() else frames
    lines = not (rows["kind"] == "image").any()  # clips and mere texts have a line each, pictures stand side by side
    across = 1 if lines else min(4, len(ids))
    down = -(-len(ids) // across)
    figure = plt.figure(figsize=(0.9 * frames + 4, down + 0.3) if lines else (2.25 * across, 2.85 * down + 0.3))
    grid = figure.add_gridspec(
        down, frames + 1 if lines else across, width_ratios=[0.9] * frames + [4] if lines else None
    )
    for place, (id_, row) in enumerate(rows.iterrows()):
        label = f"{id_}: {describe(values[id_], column)}"
        images = _images(root, row, frames)
        if lines:
            for number, image in enumerate(images):
                _show(figure.add_subplot(grid[place, number]), image)
            axes = figure.add_subplot(grid[place, frames])
            axes.text(0, 0.78, _plain(label), fontsize=9, weight="bold", va="center")
            axes.text(0, 0.4, _plain(textwrap.fill(textwrap.shorten(row["text"], 160), 42)), fontsize=9, va="center")
            axes.axis("off")
        else:
            axes = figure.add_subplot(grid[divmod(place, across)])
            _show(axes, images[0] if images else None)
            axes.set_title(_plain(label), fontsize=8.5)
            axes.set_xlabel(_plain(textwrap.fill(textwrap.shorten(row["text"], 84), 30)), fontsize=7.5)
    return annotate(figure, edition)


def _images(root: Path, row: pd.Series, frames: int) -> list:
    if row["kind"] == "image":
        return [media.open_image(root / row["media"])]
    return media.read_frames(root / row["media"], frames)[0] if row["kind"] == "clip" else []


def _show(axes: Axes, image) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if image is None:
        axes.text(0.5, 0.5, "no picture", ha="center", va="center", color="#666666", transform=axes.transAxes)
    else:
        axes.imshow(image)


def _plain(text: str) -> str:
    """Text as it is: matplotlib would take what stands between two dollar signs for a formula."""
    return text.replace("$", r"\$")


def rule(truth: pd.DataFrame, labels: pd.DataFrame, edition: str) -> Figure:
    """The generated sample alone: how often words (t) meet a face (v), and the mean label of each meeting.

    truth: id, words, face, sarcastic, as the generator leaves it. Sarcastic cells have a black frame.
    """
    column = target(labels)
    merged = truth.merge(labels[["id", column]], on="id").astype({column: float})
    levels = np.arange(-2, 3)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    for axes, how, title in (
        (left, "count", "How many rows"),
        (right, "mean", f"Mean {column}"),
    ):
        table = merged.pivot_table(column, "words", "face", how).reindex(index=levels[::-1], columns=levels)
        peak = table.abs().max(axis=None)
        colours, low = ("Blues", 0) if how == "count" else ("RdBu", -peak)
        axes.imshow(table.to_numpy(float), cmap=colours, vmin=low, vmax=peak)
        for (row, place), value in np.ndenumerate(table.to_numpy(float)):
            words, face = levels[::-1][row], levels[place]
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.65 * peak else "black"
                text = f"{value:.0f}" if how == "count" else f"{round(value, 1) + 0.0:+.1f}"
                axes.text(place, row, text, ha="center", va="center", color=ink, fontsize=9)
            if words * face < 0:
                box = plt.Rectangle((place - 0.46, row - 0.46), 0.92, 0.92, fill=False, color="black", linewidth=1.3)
                axes.add_patch(box)
        axes.set_xticks(range(5), [f"{level:+d}" if level else "0" for level in levels])
        axes.set_yticks(range(5), [f"{level:+d}" if level else "0" for level in levels[::-1]])
        axes.set(title=title, xlabel="face, v", ylabel="words, t")
        axes.grid(visible=False)
    return annotate(figure, edition)
