"""What the encoders gave: lengths, norms, where in a picture or clip the classes differ, and whether there is signal.

Everything reads finished feature stores. What is fitted here (components, a linear readout) is fitted to the rows that
are passed in, which are training rows alone.
"""

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gexsent.features import FeatureStore
from gexsent.report.style import annotate

COLOURS = {"text": "#0072B2", "vision": "#009E73"}
PARTS = 8  # of a sequence, when places are compared between sequences of different length
KINDS = {
    "absent": "No sample has vision: the encoder was given nothing, and there are no tokens to look at.",
    "vector": "Each sample has one vector for its whole picture: there are no places in it to compare.",
    "grid": "Each picture gives a class token, then a token for each patch of a square grid.",
    "sequence": "Each sample gives a sequence of tokens, in order of time.",
}
RIDGE = 100.0  # on standardised features; of little weight for thousands of rows, and of much for a few


def summary(stores: dict[str, FeatureStore]) -> pd.DataFrame:
    """One row a modality: width, samples with and without tokens, tokens in all, their mean and largest number, MB."""
    rows = {}
    for name, store in stores.items():
        lengths = store.lengths
        there = lengths[lengths > 0]
        rows[name] = {
            "width": store.width,
            "samples with tokens": len(there),
            "without (absent)": len(lengths) - len(there),
            "tokens": int(lengths.sum()),
            "mean a sample": round(float(there.mean()), 1) if len(there) else 0.0,
            "longest": int(lengths.max(initial=0)),
            "MB": round(lengths.sum() * store.width * 2 / 1e6, 1),  # float16
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def kind(store: FeatureStore) -> str:
    """What a store's tokens are: "absent", "vector" (one each), "grid" (a class token and g x g), or "sequence"."""
    lengths = set(store.lengths[store.lengths > 0].tolist())
    if not lengths:
        return "absent"
    if lengths == {1}:
        return "vector"
    (length, *others) = lengths
    side = round((length - 1) ** 0.5)
    return "grid" if not others and side > 1 and side * side == length - 1 else "sequence"


def lengths(stores: dict[str, FeatureStore], edition: str) -> Figure:
    """How many tokens the samples have, a panel for each modality that is there."""
    figure, panels = _panels(stores, height=2.8)
    for axes, (name, store) in panels:
        values = store.lengths[store.lengths > 0]
        low, high = int(values.min()), int(values.max())
        step = max(1, -(-(high - low + 1) // 40))
        pad = 2 if low == high else 0
        axes.hist(values, np.arange(low - 0.5, high + step + 0.5, step), color=COLOURS[name], edgecolor="white")
        axes.set(title=name.capitalize(), xlabel=f"tokens (median {np.median(values):.0f})", ylabel="samples")
        axes.set_xlim(max(0, low - 0.5 - pad), high + 0.5 + pad)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x", visible=False)
    return annotate(figure, edition)


def norms(stores: dict[str, FeatureStore], edition: str) -> Figure:
    """How long the vectors are: the first token of each sample apart from the others."""
    figure, panels = _panels(stores, height=2.8)
    for axes, (name, store) in panels:
        first, rest = _norms(store)
        edges = np.linspace(0, 1.05 * max(first.max(), rest.max(initial=0)), 60)
        weights = [np.full(len(part), 1 / max(len(part), 1)) for part in (first, rest)]
        if len(rest):
            axes.hist(rest, edges, weights=weights[1], color=COLOURS[name], alpha=0.75, label="other tokens")
        label = "first token" if len(rest) else "the only token"
        axes.hist(first, edges, weights=weights[0], histtype="step", color="black", linewidth=1.3, label=label)
        axes.set(title=name.capitalize(), xlabel="Euclidean norm of a token", ylabel="share of the tokens")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper left")
    return annotate(figure, edition)


def _norms(store: FeatureStore) -> tuple[np.ndarray, np.ndarray]:
    first, rest = [], []
    for values, counts in _by_shard(store):
        size = np.linalg.norm(values, axis=1)
        starts = np.concatenate([[0], np.cumsum(counts)])[:-1][counts > 0]
        is_first = np.zeros(len(size), bool)
        is_first[starts] = True
        first.append(size[is_first])
        rest.append(size[~is_first])
    return np.concatenate(first), np.concatenate(rest)


def pooled(store: FeatureStore) -> np.ndarray:
    """Mean token of each sample (N, D) float32; NaN where a sample has none."""
    result = np.full((len(store.ids), store.width), np.nan, np.float32)
    row = 0
    for values, counts in _by_shard(store):
        end = np.cumsum(counts)
        for count, stop in zip(counts, end, strict=True):
            if count:
                result[row] = values[stop - count : stop].mean(0)
            row += 1
    return result


def sentences(pieces: Sequence[Sequence[str]], states: Sequence[np.ndarray], edition: str) -> Figure:
    """Two texts, token by token: the norm of each state, and the cosine of each pair across the texts.

    Args:
        pieces: the tokens of both texts.
        states: their states, (L, D) each.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), width_ratios=(2, 3))
    (a, b), (first, second) = pieces, (np.asarray(s, np.float32) for s in states)
    names = [*a, "", *b]
    size = [*np.linalg.norm(first, axis=1), 0, *np.linalg.norm(second, axis=1)]
    left.barh(range(len(names)), size, color=COLOURS["text"])
    left.set_yticks(range(len(names)), names, fontsize=8)
    left.invert_yaxis()
    left.set(title="Norm of each token", xlabel="Euclidean norm")
    left.grid(axis="y", visible=False)
    cosine = _unit(first) @ _unit(second).T
    right.imshow(cosine, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(cosine):
        right.text(column, row, f"{round(float(value), 2) + 0.0:.2f}", ha="center", va="center", fontsize=7,
                   color="white" if abs(value) > 0.65 else "black")  # fmt: skip
    right.set_xticks(range(len(b)), b, rotation=45, ha="right", fontsize=8)
    right.set_yticks(range(len(a)), a, fontsize=8)
    right.set_title("Cosine: first text down, second across")
    right.grid(visible=False)
    return annotate(figure, edition)


def patches(images: Sequence, states: Sequence[np.ndarray], titles: Sequence[str], edition: str) -> Figure:
    """Pictures above, and below them how far each patch is from the picture's mean patch. Shows rows.

    Args:
        images: PIL images.
        states: (1 + g * g, D) for each, the class token first.
        titles: of the pictures.
    """
    figure, grid = plt.subplots(2, len(images), figsize=(2.2 * len(images) + 0.6, 4.4), squeeze=False)
    maps = [unusual(state) for state in states]
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        grid[0, column].imshow(image)
        grid[0, column].set_title(title.replace("$", r"\$"), fontsize=8.5)
        last = grid[1, column].imshow(maps[column], cmap="magma", vmin=0, vmax=max(m.max() for m in maps))
    for axes in grid.flat:
        axes.axis("off")
    figure.colorbar(last, ax=grid[1].tolist(), shrink=0.8, label="cosine distance\nfrom the mean patch")
    return annotate(figure, edition)


def unusual(states: np.ndarray) -> np.ndarray:
    """Class token and patches (1 + g * g, D) -> (g, g): 1 - cosine of each patch and the mean patch."""
    states = np.asarray(states, np.float32)[1:]
    side = round(len(states) ** 0.5)
    return (1 - _unit(states) @ _unit(states.mean(0, keepdims=True))[0]).reshape(side, side)


def film(images: Sequence, times: Sequence[float], states: np.ndarray, edition: str) -> Figure:
    """Frames of a clip with their times, and how far each has moved from the first, as cosine distance. Shows rows."""
    unit = _unit(np.asarray(states, np.float32))
    figure, strip = plt.subplots(1, len(images), figsize=(0.85 * len(images) + 0.3, 1.55), squeeze=False)
    for axes, image, time, moved in zip(strip[0], images, times, 1 - unit @ unit[0], strict=True):
        axes.imshow(image)
        axes.set_title(f"{time:.1f} s", fontsize=9)
        axes.set_xlabel(f"{abs(moved):.3f}", fontsize=9)
        axes.set(xticks=[], yticks=[])
    strip[0, 0].set_ylabel("distance below", fontsize=8)
    return annotate(figure, edition)


def separation(store: FeatureStore, negative: Sequence[int], positive: Sequence[int]) -> tuple[np.ndarray, float]:
    """At each place of a picture or clip: distance of the class means, in units of the spread inside the classes.

    A grid has its places (without the class token); a sequence has PARTS, or fewer where the longest is shorter. Where
    a sample has no token it does not count.

    Args:
        store: of a grid or a sequence.
        negative, positive: rows of both classes, at least two of each with tokens.

    Returns:
        (places,): ||m+ - m-|| / s, s² the mean over the classes of the variance, summed over features.
        What two random halves of one class would show: sqrt(1 / n+ + 1 / n-).
    """
    parts = None if kind(store) == "grid" else min(PARTS, int(store.lengths.max()))
    means, spreads, counts = [], [], []
    for rows in (negative, positive):
        rows = [row for row in rows if store.lengths[row]]
        total = squares = 0.0
        for row in rows:
            tokens = _places(store.row(row).astype(np.float64), parts)  # (places, D)
            total, squares = total + tokens, squares + tokens**2
        mean = total / len(rows)
        means.append(mean)
        spreads.append(((squares - len(rows) * mean**2) / (len(rows) - 1)).sum(1))
        counts.append(len(rows))
    distance = np.linalg.norm(means[1] - means[0], axis=1) / np.sqrt(np.maximum(np.mean(spreads, axis=0), 1e-12))
    return distance, (1 / counts[0] + 1 / counts[1]) ** 0.5


def _places(tokens: np.ndarray, parts: int | None) -> np.ndarray:
    """The patches of a grid (parts is None), or the middle token of each of `parts` equal parts of a sequence."""
    if parts is None:
        return tokens[1:]
    return tokens[((np.arange(parts) + 0.5) * len(tokens) / parts).astype(int)]


def where(store: FeatureStore, negative: Sequence[int], positive: Sequence[int], edition: str) -> Figure:
    """`separation` as a map of the picture, or along the clip."""
    distance, chance = separation(store, negative, positive)
    title = "Where negative and positive rows differ"
    note = f"distance of class means / spread\n(by chance about {chance:.2f})"
    if kind(store) == "grid":
        side = round(len(distance) ** 0.5)
        figure, axes = plt.subplots(figsize=(5, 3.4))
        drawn = axes.imshow(distance.reshape(side, side), cmap="viridis", vmin=0)
        axes.set(xticks=[], yticks=[], title=title)
        figure.colorbar(drawn, label=note)
    else:
        figure, axes = plt.subplots(figsize=(6, 3))
        axes.plot(range(1, len(distance) + 1), distance, marker="o", color=COLOURS["vision"])
        axes.axhline(chance, color="#666666", linestyle="--", linewidth=1, label="by chance")
        axes.set(
            title=title,
            xlabel="place in the clip, first to last",
            ylabel=note.split("\n")[0],
            ylim=(0, 1.15 * max(distance.max(), chance)),
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="lower right")
    return annotate(figure, edition)


def components(
    features: dict[str, np.ndarray], values: np.ndarray, edition: str, *, cells: bool = False, limit: float = 3.0
) -> Figure:
    """The first two principal components of each modality's pooled features, coloured by label.

    Args:
        features: {modality: (N, D)}, rows with NaN left out; modalities without any row get no panel.
        values: labels (N,).
        cells: show the mean label of cells with at least three rows, and no single row.
        limit: of the colour scale, to both sides of 0.
    """
    shown = {name: ~np.isnan(array[:, 0]) for name, array in features.items()}
    shown = {name: mask for name, mask in shown.items() if mask.sum() > 2}
    figure, axes = plt.subplots(1, len(shown), figsize=(4.7 * len(shown), 3.7), squeeze=False)
    scale = {"cmap": "coolwarm_r", "vmin": -limit, "vmax": limit}
    for panel, (name, mask) in zip(axes[0], shown.items(), strict=True):
        pca = PCA(2, svd_solver="full")
        points, colour = pca.fit_transform(features[name][mask].astype(np.float64)), values[mask]
        if cells:
            drawn = panel.hexbin(*points.T, C=colour, gridsize=22, mincnt=3, linewidths=0.2, **scale)
        else:
            drawn = panel.scatter(*points.T, c=colour, s=22, edgecolors="#555555", linewidths=0.3, **scale)
        share = pca.explained_variance_ratio_
        panel.set(title=name.capitalize(), xlabel=f"first component ({share[0]:.0%} of the variance)")
        panel.set_ylabel(f"second ({share[1]:.0%})")
    figure.colorbar(
        drawn,
        ax=axes[0].tolist(),
        label="mean label of a cell" if cells else "label",
        ticks=np.linspace(-limit, limit, 3),
    )
    return annotate(figure, edition)


def readout(features: dict[str, np.ndarray], values: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Pearson's r of labels and a ridge regression's predictions for groups that it was not fitted to (five parts).

    Args:
        features: {modality: (N, D)}; a row of NaN is an absent modality and stands at the mean.
        values: labels (N,), without NaN.
        groups: (N,); at least two of them.

    Returns:
        One row a modality that any sample has, and one for all of these together: features, rows, r.
    """
    there = {name: array for name, array in features.items() if not np.isnan(array).all()}
    views = dict(there)
    if len(there) > 1:
        views[" + ".join(there)] = np.concatenate(list(there.values()), axis=1)
    folds = GroupKFold(min(5, len(set(groups))))
    rows = {}
    for name, array in views.items():
        array = array.astype(np.float64)
        filled = np.where(np.isnan(array), np.nanmean(array, axis=0), array)
        model = make_pipeline(StandardScaler(), Ridge(RIDGE))
        predicted = cross_val_predict(model, filled, values, groups=groups, cv=folds)
        rows[name] = {
            "features": array.shape[1],
            "rows": len(values),
            "Pearson r": round(float(np.corrcoef(predicted, values)[0, 1]), 3),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _by_shard(store: FeatureStore) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Float32 tokens (ΣT, D) and lengths of a shard at a time: a large store never stands in memory whole."""
    for number, shard in enumerate(store.shards):
        first = number * store.shard_rows
        yield np.asarray(shard, np.float32), store.lengths[first : first + store.shard_rows]


def _panels(stores: dict[str, FeatureStore], height: float):
    """A figure and (axes, (name, store)) for each modality that any sample has."""
    there = {name: store for name, store in stores.items() if store.lengths.any()}
    figure, axes = plt.subplots(1, len(there), figsize=(4.5 * len(there), height), squeeze=False)
    return figure, list(zip(axes[0], there.items(), strict=True))
