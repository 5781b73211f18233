"""One sample explained: the picture with its heat map, or the frames of a clip with their bars; the words; who decided.

Relevance is support for the prediction. Orange speaks for it, blue against it; bars also go up and down, so that a
print without colour says the same.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from gexsent.explain.explanation import Explanation
from gexsent.report.curves import GROUP_COLOURS
from gexsent.report.style import annotate

FOR, AGAINST = "#D55E00", "#0072B2"
HEAT = LinearSegmentedColormap.from_list("support", [AGAINST, "#FFFFFF", FOR])
METHOD_NAMES = {
    "occlusion": "Occlusion",
    "gradients": "Integrated gradients",
    "rollout": "Gate × attention rollout",
    "gates": "Gates",
    "random": "Random order",
}
MOST = 20  # words in a figure: of a longer text those of largest relevance, in their order
LOOKING = 4  # words of a text whose attention is drawn over the picture
SIDE = 224  # pixels that a picture is drawn with


def card(explanation: Explanation, title: str, edition: str, *, method: str = "gradients") -> Figure:
    """All that is known of one sample, on one slide.

    From the top: what is seen, with the relevance of each patch or frame, and beside it the shares of the expert groups
    and what each modality is worth; the relevance of each word; and which experts fired for it.
    """
    figure = plt.figure(figsize=(10.5, 6.2))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(5, 4, 3.2))
    seen, who = top.subfigures(1, 2, width_ratios=(5, 3))
    _vision(seen, explanation, method)
    _who(who, explanation)
    kept = _longest(explanation.text[method])
    words, fired = middle.subplots(), bottom.subplots()
    if len(kept):
        _words(words, explanation, kept, method)
        _experts(fired, explanation, kept)
    else:
        _nothing(words, "no text")
        fired.axis("off")
    figure.suptitle(_plain(title), x=0.01, ha="left", fontsize=12, weight="bold")
    return annotate(figure, edition)


def gallery(
    explanations: Sequence[Explanation], titles: Sequence[str], edition: str, *, method: str = "gradients"
) -> Figure:
    """Small cards side by side: the picture with its heat map or the weightiest frame, and the weightiest words."""
    figure = plt.figure(figsize=(2.6 * len(explanations), 4.7))
    for part, explanation, title in zip(
        np.atleast_1d(figure.subfigures(1, len(explanations))), explanations, titles, strict=True
    ):
        upper, lower = part.subplots(2, 1, height_ratios=(1, 1.25))
        _thumbnail(upper, explanation, method)
        upper.set_title(_plain(title), fontsize=9, weight="normal", loc="left")
        kept = _longest(explanation.text[method], 10)
        _bars(lower, explanation.text[method][kept], across=True)
        lower.set_yticks(range(len(kept)), [_plain(explanation.tokens[place]) for place in kept], fontsize=8)
        lower.invert_yaxis()
        lower.set_xlabel("support", fontsize=8)
        lower.tick_params(axis="x", labelsize=8)
        lower.locator_params(axis="x", nbins=4)
    return annotate(figure, edition)


def attention(explanation: Explanation, title: str, edition: str, *, method: str = "gradients") -> Figure:
    """Where the words look in the picture or the frames, and which words these look at. It needs text and vision.

    Attention says what was read, not what it was worth: words are chosen by their relevance, not by how they look.
    """
    kept = _longest(explanation.text[method])
    pictured = explanation.kind == "image" and bool(explanation.pictures)
    figure = plt.figure(figsize=(10.5, max(1.6 + 0.19 * len(kept), 5.2 if pictured else 3)))
    left, right = figure.subfigures(1, 2, width_ratios=(5, 3))
    if pictured:
        _looks_at_patches(left, explanation, _longest(explanation.text[method], LOOKING))
    else:
        _looks_at_rows(left.subplots(), explanation, kept)
    axes = right.subplots()
    read = explanation.cross["vision"].mean(0)
    axes.barh(range(len(kept)), read[kept], color=GROUP_COLOURS["vision"], edgecolor="white", linewidth=0.5)
    axes.axvline(1 / len(read), color="black", linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(kept)), [_plain(explanation.tokens[place]) for place in kept], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_title("How the vision looks at the words", fontsize=10)
    axes.set_xlabel("attention, mean over visual tokens (dashed: all alike)", fontsize=9)
    figure.suptitle(_plain(title), x=0.01, ha="left", fontsize=12, weight="bold")
    return annotate(figure, edition)


def _looks_at_patches(part: Figure, explanation: Explanation, kept: np.ndarray) -> None:
    """A small picture for each word; what its first visual token, which stands for the whole picture, gets is said."""
    grid = part.subplots(2, -(-len(kept) // 2), squeeze=False)
    for axes in grid.flat[len(kept) :]:
        axes.axis("off")
    for axes, place in zip(grid.flat, kept, strict=False):
        whole, patches = np.split(explanation.cross["text"][place], [1])
        side = round(len(patches) ** 0.5)
        _overlay(axes, explanation.pictures[0], patches.reshape(side, side))
        axes.set_title(_plain(explanation.tokens[place]), fontsize=9)
        axes.set_xlabel(f"framed {patches.max():.0%}, whole {whole[0]:.0%}", fontsize=8)


def _looks_at_rows(axes: Axes, explanation: Explanation, kept: np.ndarray) -> None:
    values = explanation.cross["text"][kept]
    drawn = axes.imshow(values, cmap="Greys", vmin=0, aspect="auto")
    axes.set_yticks(range(len(kept)), [_plain(explanation.tokens[place]) for place in kept], fontsize=8)
    axes.set_xticks(range(values.shape[1]), range(1, values.shape[1] + 1), fontsize=8)
    axes.set_xlabel("frame" if explanation.kind == "clip" else "visual token", fontsize=9)
    axes.grid(visible=False)
    axes.set_title("How the words look at the vision", fontsize=10)
    axes.figure.colorbar(drawn, ax=axes, label="attention").ax.tick_params(labelsize=8)


def _words(axes: Axes, explanation: Explanation, kept: np.ndarray, method: str) -> None:
    _bars(axes, explanation.text[method][kept])
    words = [_plain(explanation.tokens[place]) for place in kept]
    axes.set_xlim(-0.5, len(kept) - 0.5)  # as the strip of experts below it
    axes.set_xticks(range(len(kept)), words, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_title(f"What the words say ({METHOD_NAMES[method].lower()})", fontsize=10)
    axes.set_ylabel("support", fontsize=9)


def _thumbnail(axes: Axes, explanation: Explanation, method: str) -> None:
    if not explanation.pictures:
        _nothing(axes)
    elif explanation.kind == "image":
        _overlay(axes, explanation.pictures[0], explanation.heat(method))
    else:
        values = explanation.vision[method]
        place = int(np.abs(values).argmax())
        _picture(axes, explanation.pictures[place])
        axes.set_xlabel(f"frame {place + 1}: {_signed(values[place])}", fontsize=8)


def _vision(part: Figure, explanation: Explanation, method: str) -> None:
    """A picture beside its overlay, or a strip of frames over their bars."""
    if explanation.kind == "image" and explanation.pictures:
        plain, heated = part.subplots(1, 2)
        _picture(plain, explanation.pictures[0])
        plain.set_title("What is shown", fontsize=10)
        drawn = _overlay(heated, explanation.pictures[0], explanation.heat(method))
        heated.set_title("What counts in it", fontsize=10)
        bar = part.colorbar(drawn, ax=heated, shrink=0.75, label="support")
        bar.ax.tick_params(labelsize=8)
    elif explanation.kind == "clip" and explanation.pictures:
        count = len(explanation.pictures)
        grid = part.add_gridspec(2, count, height_ratios=(1, 1.5))
        for place, picture in enumerate(explanation.pictures):
            _picture(part.add_subplot(grid[0, place]), picture)
        axes = part.add_subplot(grid[1, :])
        _bars(axes, explanation.vision[method], thickness=min(0.8, 0.2 * count))  # as wide as the frames at most
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_xticks(range(count), range(1, count + 1), fontsize=8)
        axes.set_xlabel("frame", fontsize=9)
        axes.set_ylabel("support", fontsize=9)
    else:
        _nothing(part.subplots())


def _who(part: Figure, explanation: Explanation) -> None:
    shares, worth = part.subplots(2, 1, height_ratios=(1, 2.1))
    start = 0.0
    for (name, colour), share in zip(GROUP_COLOURS.items(), explanation.shares, strict=True):
        shares.barh(0, share, left=start, color=colour, edgecolor="white")
        if share > 0.12:
            ink = "black" if name == "shared" else "white"
            shares.text(start + share / 2, 0, f"{name}\n{share:.0%}", ha="center", va="center", fontsize=8, color=ink)
        start += share
    shares.set(xlim=(0, 1), xticks=[], yticks=[])
    shares.set_title("Shares of the expert groups", fontsize=10)
    shares.spines[:].set_visible(False)
    names = ("the text", "the vision", "vision-guided text", "text-guided vision")
    falls = np.array([falls[m] for falls in (explanation.left_out, explanation.guided) for m in ("text", "vision")])
    _bars(worth, falls, across=True)
    for row, fall in enumerate(falls):
        worth.annotate(_signed(fall), (max(fall, 0), row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    worth.set_yticks(range(4), names, fontsize=8)
    worth.invert_yaxis()
    worth.margins(x=0.25)
    worth.tick_params(axis="x", labelsize=8)
    worth.set_title("Support that is lost without …", fontsize=10)


def _experts(axes: Axes, explanation: Explanation, kept: np.ndarray) -> None:
    """Gates of the text experts and, below a line, of the shared experts, for the words that are shown."""
    own, shared = explanation.experts["text"][kept], explanation.experts["shared"][kept]  # text comes first
    axes.imshow(np.concatenate([own, shared], 1).T, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    count = own.shape[1]
    axes.axhline(count - 0.5, color=FOR, linewidth=1.5)
    names = [f"text {e + 1}" for e in range(count)] + [f"shared {e + 1}" for e in range(shared.shape[1])]
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.set_title("Experts that fired for each word (black: it alone)", fontsize=10)


def _bars(axes: Axes, values: np.ndarray, *, across: bool = False, thickness: float = 0.8) -> None:
    colours = [FOR if value >= 0 else AGAINST for value in values]
    draw = axes.barh if across else axes.bar
    draw(range(len(values)), values, thickness, color=colours, edgecolor="white", linewidth=0.5)
    (axes.axvline if across else axes.axhline)(0, color="#444444", linewidth=0.8)
    axes.grid(axis="y" if across else "x", visible=False)


def _picture(axes: Axes, picture: Image.Image) -> None:
    axes.imshow(_small(picture), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _overlay(axes: Axes, picture: Image.Image, heat: np.ndarray):
    """The picture in grey under its heat map, drawn smoothly from the patches; its strongest patch is framed."""
    grey = np.asarray(_small(picture).convert("L"), float)[..., None] / 255  # (H, W, 1)
    limit = float(np.abs(heat).max()) or 1.0
    smooth = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize(grey.shape[1::-1], Image.Resampling.BICUBIC)
    ).clip(-limit, limit)
    colour = HEAT(0.5 + 0.5 * smooth / limit)[..., :3]
    strength = 0.75 * np.abs(smooth / limit)[..., None]
    axes.imshow(((1 - strength) * (0.25 + 0.75 * grey) + strength * colour).clip(0, 1))
    row, column = divmod(int(np.abs(heat).argmax()), heat.shape[1])
    height, width = grey.shape[0] / heat.shape[0], grey.shape[1] / heat.shape[1]
    frame = plt.Rectangle((column * width, row * height), width, height, fill=False, edgecolor="black", linewidth=1.5)
    axes.add_patch(frame)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return plt.cm.ScalarMappable(plt.Normalize(-limit, limit), HEAT)


def _small(picture: Image.Image) -> Image.Image:
    """As the encoder sees it: the middle square. Few flat colours make small files."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return square.quantize(64, dither=Image.Dither.NONE).convert("RGB")


def _nothing(axes: Axes, what: str = "no picture") -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, what, ha="center", va="center", color="#777777", fontsize=9)


def _longest(values: np.ndarray, most: int = MOST) -> np.ndarray:
    """Places of the `most` values of largest size, in order."""
    return np.sort(np.argsort(-np.abs(values), kind="stable")[:most])


def _signed(value: float) -> str:
    value = round(float(value), 2)
    return f"{value:+.2f}".replace("-", "−") if value else "0.00"


def _plain(text: str) -> str:
    """Text as it is: matplotlib would take what stands between two dollar signs for a formula."""
    return text.replace("$", r"\$")
