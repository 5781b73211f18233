"""Are explanations true of the model? Figures over data sets, from the means that the explain stage leaves.

Every frame has the columns dataset and seed. A line or bar is the mean over seeds, a band its range, a dot a seed.
"""

from collections.abc import Callable, Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gexsent import datasets
from gexsent.report.curves import GROUP_COLOURS
from gexsent.report.explanation import METHOD_NAMES
from gexsent.report.style import annotate

# Colour, marker and line style: each alone tells the methods apart.
LOOKS = {
    "gradients": ("#D55E00", "o", "-"),
    "occlusion": ("#0072B2", "s", "--"),
    "rollout": ("#009E73", "^", "-."),
    "gates": ("#CC79A7", "D", ":"),
    "random": ("#777777", "", "-"),
}
PARTS = {"heads": "heads", "pools": "+ pooling", "attention": "+ attention", "experts": "+ experts", "inputs": "all"}
UNCHANGED = 0.3  # correlation above which an explanation hardly depends on the weights
NARROWEST = 9.0  # inches: the note under the figure takes as much


def verdicts(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What each test says of each method, and whether it passed them all.

    Columns: dataset, method; deletion and insertion, the mean gain over random orders; random_weights, the correlation
    with the explanation of a model of random weights; right_tokens, the share of the relevance on the tokens that carry
    the label (of both modalities) over what chance puts there, NaN where they are not known; passed. To pass, both
    gains must be positive for every seed, the correlation must be at most UNCHANGED, and right_tokens above 1.
    """
    if not len(tables["areas"]):
        return pd.DataFrame()
    keys = ["dataset", "method"]
    gains = tables["areas"].groupby(keys, sort=False)[["deletion", "insertion"]]
    table, least = gains.mean(), gains.min()
    drawn = tables["sanity"][tables["sanity"]["part"] == list(PARTS)[-1]]
    table["random_weights"] = drawn.groupby(keys)["correlation"].mean()
    table["right_tokens"] = np.nan
    if len(tables["truth"]):
        means = tables["truth"].groupby(keys)[["mass", "chance"]].mean()
        table["right_tokens"] = means["mass"] / means["chance"]
    right = table["right_tokens"].isna() | (table["right_tokens"] > 1)
    table["passed"] = (least > 0).all(axis=1) & (table["random_weights"] <= UNCHANGED) & right
    return table.reset_index()


def _unit(dataset: str) -> str:
    return "intensity" if datasets.spec(dataset).main.kind == "regression" else "log-odds"


def draw(tables: dict[str, pd.DataFrame], edition: str) -> Iterator[tuple[str, Figure]]:
    """Name and figure of every table that has rows."""
    for name, figure in FIGURES.items():
        if len(tables[name]):
            yield name, figure(tables[name], edition)


def curves(table: pd.DataFrame, edition: str) -> Figure:
    """The score as tokens are hidden (above) or shown (below) in the order of each method, a column a data set."""
    names = _datasets(table)
    figure, grid = _grid(2, len(names), height=5.6)
    points = [column for column in table if column.startswith("at_")]
    fractions = [100 * float(column.removeprefix("at_")) for column in points]
    for column, dataset in enumerate(names):
        for row, kind in enumerate(("deletion", "insertion")):
            axes = grid[row, column]
            for method, (colour, marker, style) in LOOKS.items():
                part = table[(table["dataset"] == dataset) & (table["kind"] == kind) & (table["method"] == method)]
                values = part[points].to_numpy(float)
                axes.fill_between(fractions, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
                axes.plot(
                    fractions,
                    values.mean(0),
                    style,
                    color=colour,
                    marker=marker,
                    markersize=4.5,
                    label=METHOD_NAMES[method],
                )
            axes.axhline(0, color="#444444", linewidth=0.8)
            axes.set_xlabel("% of the tokens hidden" if row == 0 else "% of the tokens shown")
            axes.set_title(f"{datasets.title(dataset)}: {kind}")
        grid[0, column].set_ylabel(f"support ({_unit(dataset)})")
        grid[1, column].set_ylabel(f"support ({_unit(dataset)})")
    _legend(figure, grid[0, 0])
    return annotate(figure, edition)


def agreement(table: pd.DataFrame, edition: str) -> Figure:
    """A matrix a data set: mean rank correlation of the relevance of two methods; and over seeds its range."""
    names, methods = _datasets(table), [m for m in LOOKS if m != "random"]
    figure, grid = _grid(1, len(names), height=3.9)
    short = ["gradients", "occlusion", "rollout", "gates"]
    for axes, dataset in zip(grid[0], names, strict=True):
        part = table[table["dataset"] == dataset].groupby(["first", "second"])["correlation"]
        means, lows, highs = part.mean(), part.min(), part.max()
        matrix = np.full((4, 4), np.nan)
        for (a, b), value in means.items():
            i, j = sorted((methods.index(a), methods.index(b)), reverse=True)
            matrix[i, j] = value
            text = f"{value:.2f}\n({lows[a, b]:.2f} to {highs[a, b]:.2f})".replace("-", "−")
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if value > 0.55 else "black")
        axes.imshow(matrix[1:, :3], cmap="Greens", vmin=0, vmax=1, extent=(-0.5, 2.5, 3.5, 0.5))
        axes.set_xticks(range(3), short[:3])
        axes.set_yticks(range(1, 4), short[1:], rotation=90, va="center")
        axes.set_title(datasets.title(dataset))
        axes.set_aspect("auto")
        axes.set_ylim(3.5, 0.5)
        axes.grid(visible=False)
    return annotate(figure, edition)


def sanity(table: pd.DataFrame, edition: str) -> Figure:
    """Correlation of each method with itself as weights are drawn anew from the output down, a panel a data set."""
    names = _datasets(table)
    figure, grid = _grid(1, len(names), height=3.6, sharey=True)
    for axes, dataset in zip(grid[0], names, strict=True):
        for method, (colour, marker, style) in LOOKS.items():
            part = table[(table["dataset"] == dataset) & (table["method"] == method)]
            if len(part):
                values = part.set_index("part")["correlation"].reindex(list(PARTS))
                axes.plot(range(6), [1, *values], style, color=colour, marker=marker, label=METHOD_NAMES[method])
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.set_xticks(range(6), ["trained", *PARTS.values()], rotation=35, ha="right", rotation_mode="anchor")
        axes.set_title(datasets.title(dataset))
    grid[0, 0].set_ylabel("rank correlation\nwith the trained model's")
    _legend(figure, grid[0, 0])
    return annotate(figure, edition)


def truth(table: pd.DataFrame, edition: str) -> Figure:
    """The share of the relevance on the tokens that carry the label, a panel a data set and modality."""
    panels = list(dict.fromkeys(zip(table["dataset"], table["modality"], strict=True)))
    what = {"text": "on the adjective", "vision": "on the face's moving parts"}
    figure, grid = _grid(1, len(panels), height=3.3)
    methods = [m for m in LOOKS if m != "random"]
    for axes, (dataset, modality) in zip(grid[0], panels, strict=True):
        part = table[(table["dataset"] == dataset) & (table["modality"] == modality)]
        for place, method in enumerate(methods):
            values = part.loc[part["method"] == method, "mass"]
            axes.bar(place, values.mean(), 0.62, color=LOOKS[method][0], alpha=0.85)
            axes.plot([place] * len(values), values, ".", color="black", markersize=6)
        axes.axhline(part["chance"].mean(), color="black", linestyle="--", linewidth=1.2, label="by chance")
        axes.set_xticks(range(4), ["gradients", "occlusion", "rollout", "gates"], rotation=35, ha="right",
                        rotation_mode="anchor", fontsize=9)  # fmt: skip
        axes.set_title(f"{datasets.title(dataset)}:\n{what[modality]}", fontsize=10)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 1.15 * max(part["mass"].max(), part["chance"].max()))
    grid[0, 0].set_ylabel("share of the relevance")
    grid[0, 0].legend(loc="upper right", fontsize=8)
    return annotate(figure, edition)


def usage(table: pd.DataFrame, edition: str, *, seed: int = 0) -> Figure:
    """Expert by data set and label, for one seed (experts of two seeds have nothing in common but their number).

    A cell is the share of the group's assignments; even use is one over the number of experts.
    """
    part = table[table["seed"] == seed].dropna(subset="share")
    labels = ["negative", "neutral", "positive"]
    columns = [(d, label) for d in _datasets(part) for label in labels]
    groups = list(GROUP_COLOURS)  # a data set without vision has no rows for it
    rows = sorted(set(zip(part["group"], part["expert"], strict=True)), key=lambda row: (groups.index(row[0]), row[1]))
    matrix = part.set_index(["group", "expert", "dataset", "label"])["share"].unstack(["dataset", "label"])
    matrix = matrix.reindex(index=pd.MultiIndex.from_tuples(rows), columns=pd.MultiIndex.from_tuples(columns))
    figure, axes = plt.subplots(figsize=(NARROWEST, 0.36 * len(rows) + 1.7))
    seaborn.heatmap(
        matrix.to_numpy(float),
        cmap="cividis",
        vmin=0,
        annot=True,
        fmt=".0%",
        annot_kws={"fontsize": 8},
        xticklabels=[label for _, label in columns],
        yticklabels=[f"{group} {expert}" for group, expert in rows],
        cbar_kws={"label": "share of the group's assignments"},
        ax=axes,
    )
    axes.tick_params(labelsize=9, length=0)
    axes.grid(visible=False)
    for start, dataset in enumerate(_datasets(part)):
        axes.text(3 * start + 1.5, -0.25, datasets.title(dataset), ha="center", va="bottom", weight="bold", fontsize=10)
    axes.vlines(range(3, len(columns), 3), 0, len(rows), color="white", linewidth=3)
    changes = [place for place in range(1, len(rows)) if rows[place][0] != rows[place - 1][0]]
    axes.hlines(changes, 0, len(columns), color="white", linewidth=3)
    return annotate(figure, edition)


def gates(table: pd.DataFrame, edition: str) -> Figure:
    """Mean gates, and shares of the expert groups, on plain samples (pale) and on sarcastic ones (full colour)."""
    names = _datasets(table)
    figure, grid = _grid(2, len(names), height=5.4)
    for column, dataset in enumerate(names):
        part = table[table["dataset"] == dataset]
        kinds = {"gate_text": "text", "gate_word": "adjective", "gate_vision": "vision"}
        shown = {k: v for k, v in kinds.items() if k in part and part[k].notna().any()}
        colours = [GROUP_COLOURS["vision" if name == "vision" else "text"] for name in shown.values()]
        _pairs(grid[0, column], part, shown, colours)
        grid[0, column].set(title=f"{datasets.title(dataset)}: mean gate", ylim=(0, 1))
        groups = {f"share_{name}": name for name in GROUP_COLOURS}
        _pairs(grid[1, column], part, groups, list(GROUP_COLOURS.values()))
        grid[1, column].set(title=f"{datasets.title(dataset)}: share of the groups", ylim=(0, 1))
    grid[0, 0].set_ylabel("gate")
    grid[1, 0].set_ylabel("share")
    kinds = {"plain": 0.4, "sarcastic": 0.95}
    patches = [Patch(color="#444444", alpha=alpha, label=kind) for kind, alpha in kinds.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=2, fontsize=9)
    return annotate(figure, edition)


def modalities(table: pd.DataFrame, edition: str) -> Figure:
    """How much support is lost without a modality, and without one modality's view of the other."""
    names = _datasets(table)
    shown = {
        "without_text": "text",
        "without_vision": "vision",
        "unguided_text": "vision-\nguided\ntext",
        "unguided_vision": "text-\nguided\nvision",
    }
    colours = [GROUP_COLOURS["text"], GROUP_COLOURS["vision"]] * 2
    figure, grid = _grid(1, len(names), height=3.5)
    for axes, dataset in zip(grid[0], names, strict=True):
        part = table[table["dataset"] == dataset]
        for place, (name, colour) in enumerate(zip(shown, colours, strict=True)):
            axes.bar(place, part[name].mean(), 0.62, color=colour, alpha=0.9 if place < 2 else 0.45)
            axes.plot([place] * len(part), part[name], ".", color="black", markersize=6)
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.axhline(
            part["score"].mean(), color="black", linestyle="--", linewidth=1.2, label="all the support there is"
        )
        axes.set_xticks(range(4), list(shown.values()), fontsize=8.5)
        axes.set(title=datasets.title(dataset), ylabel=f"support lost ({_unit(dataset)})")
        axes.grid(axis="x", visible=False)
    _legend(figure, grid[0, 0])
    return annotate(figure, edition)


def _pairs(axes: Axes, part: pd.DataFrame, names: dict[str, str], colours: Sequence[str]) -> None:
    for place, (name, colour) in enumerate(zip(names, colours, strict=True)):
        for shift, kind, alpha in ((-0.19, "plain", 0.4), (0.19, "sarcastic", 0.95)):
            values = part.loc[part["sarcasm"] == kind, name].dropna()
            if len(values):
                axes.bar(place + shift, values.mean(), 0.34, color=colour, alpha=alpha)
                axes.plot([place + shift] * len(values), values, ".", color="black", markersize=5)
    axes.set_xticks(range(len(names)), list(names.values()))
    axes.grid(axis="x", visible=False)


def _datasets(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["dataset"]))


def _grid(rows: int, columns: int, *, height: float, **options) -> tuple[Figure, np.ndarray]:
    return plt.subplots(rows, columns, figsize=(max(NARROWEST, 3.4 * columns), height), squeeze=False, **options)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)


FIGURES: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "curves": curves,
    "agreement": agreement,
    "sanity": sanity,
    "truth": truth,
    "modalities": modalities,
    "experts": usage,
    "gates": gates,
}
