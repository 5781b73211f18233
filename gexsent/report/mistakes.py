"""Where a system errs, row by row: the worst errors, with text and picture where they may be shown, and where they lie.

`rows` are those of `outcomes.joined`. Of a row of real data only what `worst` gives may be shown without being asked
for: its id, its labels, and what was predicted.
"""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gexsent.data import media
from gexsent.datasets import SENTIMENTS
from gexsent.errors import DataError
from gexsent.report.outcomes import SENTIMENT_NAMES, colour, systems
from gexsent.report.style import NARROWEST, annotate, system_name


def errors(rows: pd.DataFrame) -> pd.Series:
    """How wrong each prediction is, NaN without a label.

    Absolute error of the intensity where there is one; elsewhere 1 minus the probability of the true class.
    """
    if "intensity" in rows:
        return (rows["pred_intensity"] - rows["intensity"]).abs().astype(float)
    true = rows["sentiment"].astype("Float64").to_numpy(float, na_value=np.nan)
    probability = rows[[f"p_sentiment_{name}" for name in SENTIMENTS]].to_numpy(float)
    index = np.where(np.isnan(true), 0, true + 1).astype(int)
    return pd.Series(1 - probability[np.arange(len(rows)), index], rows.index).where(~np.isnan(true))


def worst(rows: pd.DataFrame, system: str, count: int) -> pd.DataFrame:
    """The `count` test rows that a system misses by most, on the mean over its seeds: one seed's slip is not a pattern.

    Returns:
        id, actual, predicted (mean intensity, or the commonest class), error (mean over seeds), and `seeds wrong`: how
        many seeds of how many have the wrong sign, or the wrong class. Equal errors stand in the order of the ids.
    """
    known = rows[rows["system"] == system].assign(error=lambda part: errors(part)).dropna(subset="error")
    intense = "intensity" in rows
    actual, predicted = ("intensity", "pred_intensity") if intense else ("sentiment", "pred_sentiment")
    wrong = np.sign(known[predicted].astype(float)) != np.sign(known[actual].astype(float))
    groups = known.assign(wrong=wrong).groupby("id", sort=True)
    value = groups[predicted].mean() if intense else groups[predicted].agg(lambda part: part.mode().iloc[0])
    table = pd.DataFrame(
        {
            "actual": groups[actual].first(),
            "predicted": value,
            "error": groups["error"].mean(),
            "seeds wrong": groups["wrong"].sum().astype(str) + " of " + groups.size().astype(str),
        }
    )
    if not intense:
        for column in ("actual", "predicted"):
            table[column] = table[column].astype(int).map(SENTIMENT_NAMES)
    return table.sort_values("error", ascending=False, kind="stable").head(count).reset_index()


def shown(root: Path, samples: pd.DataFrame, table: pd.DataFrame, edition: str, *, frames: int = 2) -> Figure:
    """The rows of a `worst` table with their text and picture, or frames of their clip. Ask before showing real data.

    Args:
        root: the folder that `media` of the samples is relative to.
        samples: id, text, media, kind.
    """
    found = samples.set_index("id").loc[table["id"]]
    across = frames if (found["kind"] == "clip").any() else 1
    height = 1.0 if (found["kind"] != "none").any() else 0.75  # a row of words alone needs less room
    figure = plt.figure(figsize=(NARROWEST, height * len(table) + 0.3))
    grid = figure.add_gridspec(max(1, len(table)), across + 1, width_ratios=[1] * across + [7 - across])
    for place, (sample, row) in enumerate(zip(found.to_dict("records"), table.to_dict("records"), strict=True)):
        pictures, trouble = _pictures(root, sample, across)
        for number in range(across):
            axes = figure.add_subplot(grid[place, number])
            _picture(axes, pictures[number] if number < len(pictures) else None, trouble if number == 0 else "")
        axes = figure.add_subplot(grid[place, across])
        axes.axis("off")
        is_word = isinstance(row["actual"], str)
        actual, predicted = (row[c] if is_word else f"{row[c]:+.2f}" for c in ("actual", "predicted"))
        head = f"{row['id']}: actual {actual}, predicted {predicted}".replace(" -", " −")
        text = textwrap.fill(textwrap.shorten(sample["text"], 240) or "(no text)", 70)
        wrong = f"wrong {'class' if is_word else 'sign'} with {row['seeds wrong']} seeds"
        axes.text(0, 0.98, _plain(head), va="top", fontsize=9, weight="bold", transform=axes.transAxes)
        axes.text(0, 0.76, wrong, va="top", fontsize=8, color="#777777", transform=axes.transAxes)
        axes.text(0, 0.52, _plain(text), va="top", fontsize=9, transform=axes.transAxes)
    return annotate(figure, edition)


def _pictures(root: Path, sample: dict, frames: int) -> tuple[list, str]:
    """Pictures of a sample, and what to say where there are none: a file may have gone since it was encoded."""
    try:
        if sample["kind"] == "image":
            return [media.open_image(root / sample["media"])], ""
        if sample["kind"] == "clip":
            return media.read_frames(root / sample["media"], frames)[0], ""
    except DataError:
        return [], "cannot\nbe read"
    return [], "no picture"


def _picture(axes: Axes, image, trouble: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if image is None:
        axes.text(0.5, 0.5, trouble, ha="center", va="center", color="#777777", fontsize=8, transform=axes.transAxes)
    else:
        # Few flat colours, not resampled again, make a third of the bytes: decoded frames are full of faint noise.
        small = image.resize((96, max(1, round(96 * image.height / image.width))))
        axes.imshow(small.quantize(64, dither=Image.Dither.NONE).convert("RGB"), interpolation="nearest")


def _plain(text: str) -> str:
    """Text as it is: matplotlib would take what stands between two dollar signs for a formula."""
    return text.replace("$", r"\$")


def by_sarcasm(rows: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The generated sample alone: mean error of each system and seed on plain and on sarcastic rows.

    Args:
        truth: id and sarcastic (0 or 1), as the generator leaves it.

    Returns:
        One row a system and seed, the columns `plain` and `sarcastic`.
    """
    known = rows.assign(error=errors(rows)).merge(truth[["id", "sarcastic"]], on="id", validate="many_to_one")
    kind = known["sarcastic"].map({0: "plain", 1: "sarcastic"})
    table = known.groupby([known["system"], known["seed"], kind])["error"].mean().unstack()
    table = table.reindex(columns=["plain", "sarcastic"]).rename_axis(columns=None)
    return table.loc[systems(rows)].reset_index()


def sarcasm(table: pd.DataFrame, unit: str, edition: str) -> Figure:
    """A `by_sarcasm` table: plain beside sarcastic rows of each system, the mean over seeds a bar and each seed a dot."""
    figure, axes = plt.subplots(figsize=(NARROWEST, 3.2))
    names = systems(table)
    for place, system in enumerate(names):
        part = table[table["system"] == system]
        for shift, kind, alpha in ((-0.19, "plain", 0.35), (0.19, "sarcastic", 0.9)):
            values = part[kind].dropna()
            if len(values):
                axes.bar(place + shift, values.mean(), 0.34, color=colour(system), alpha=alpha)
                axes.plot([place + shift] * len(values), values, "o", color="black", markersize=3.5, alpha=0.7)
                ink = "white" if kind == "sarcastic" else "black"
                axes.text(place + shift, 0, f"{values.mean():.2f}\n", ha="center", va="center", fontsize=8.5, color=ink)
    axes.set_xticks(range(len(names)), [system_name(name) for name in names])
    axes.set(title="Error on plain rows (pale) and on sarcastic rows (full colour)", ylabel=unit)
    axes.grid(axis="x", visible=False)
    return annotate(figure, edition)
