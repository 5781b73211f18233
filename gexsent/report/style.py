"""One look for every figure, the names of systems and metrics as readers see them, and files that are the same bytes on
two runs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
from fontTools import subset
from IPython import get_ipython
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

SYSTEM_NAMES = {
    "gexsent": "GEXSent",
    "gexsent_finetuned": "GEXSent, fine-tuned",
    "text_only": "Text only",
    "vision_only": "Vision only",
    "late_fusion": "Late fusion",
    "tfn": "TFN",
    "lmf": "LMF",
    "mult": "MulT",
    "misa": "MISA",
    "flat_moe": "Flat mixture",
    "dense_ffn": "Dense network",
    "random_router": "Random router",
    "no_sample_level": "No sample level",
    "no_shared_group": "No shared experts",
    "uniform_gates": "Uniform gates",
    "no_gam": "No gated attention",
    "released": "Released code",
    "released_live_gate": "Released, live gate",
    "released_masked": "Released, padding masked",
    "released_masked_whole_text": "Released, padding masked, whole text",
    "released_renormalised": "Released, renormalised",
}
VARIANT_NAMES = {"dropout": "modality dropout"}  # what follows the + of a system's name


def system_name(system: str) -> str:
    """As readers see it; a system that has no name yet is written out from its key."""
    name, _, variant = system.partition("+")
    shown = SYSTEM_NAMES.get(name, name.replace("_", " ").capitalize())
    return f"{shown} + {VARIANT_NAMES.get(variant, variant)}" if variant else shown


# Okabe and Ito's palette, which stays apart for colour-blind eyes; GEXSent always has the strongest colour.
COLOURS = {
    "gexsent": "#D55E00",
    "gexsent_finetuned": "#882255",
    "text_only": "#0072B2",
    "vision_only": "#009E73",
    "late_fusion": "#CC79A7",
    "tfn": "#E69F00",
    "lmf": "#56B4E9",
    "mult": "#000000",
    "misa": "#C9B400",
    "released": "#7F7F7F",
}
# For whatever has no colour of its own: seaborn's colour-blind palette, of which the import takes a second.
SPARE_COLOURS = ("#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC", "#CA9161", "#FBAFE4", "#949494", "#ECE133")
SENTIMENT_COLOURS = {-1: "#B2182B", 0: "#9E9E9E", 1: "#2166AC"}
EDITION_NOTES = {
    "sample": "Sample edition: generated data and tiny random encoders. It shows that the machinery works, and says "
    "nothing about sentiment.",
    "quick": "Quick run: 60 generated rows and two epochs. It shows that the notebook runs, and nothing else.",
    "lite": "Lite edition: real data, small frozen encoders.",
    "full": "Full edition: real data, ModernBERT-base and CLIP ViT-B/32.",
}
SHAPING = ("GDEF", "GPOS", "GSUB")  # tables of a font: ligatures, marks and kerning
NARROWEST = 9.0  # inches: the note under a figure takes as much


def use_style() -> None:
    """Set matplotlib's defaults; call it once, before the first figure."""
    plt.style.use("seaborn-v0_8-whitegrid")
    plt.rcParams.update(
        {
            "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
            "font.size": 10.8,
            "axes.labelsize": 10.8,
            "axes.titlesize": 10.8,
            "legend.fontsize": 9.9,
            "legend.title_fontsize": 10.8,
            "xtick.labelsize": 9.9,
            "ytick.labelsize": 9.9,
            "axes.linewidth": 1.25,
            "xtick.major.pad": 6,
            "ytick.major.pad": 6,
            "xtick.bottom": False,
            "ytick.left": False,
            "patch.edgecolor": "white",
            "patch.force_edgecolor": True,
            "figure.dpi": 100,
            "savefig.dpi": 160,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titley": 1.0,  # at once: finding a place for it is a fifth of the layout, and no axis has ticks above it
            "grid.color": "#E6E6E6",
            "pdf.fonttype": 42,  # text stays text in the PDF
        }
    )
    if shell := get_ipython():
        # A notebook would crop each figure to what is drawn, and draw it once more to find out what that is. The layout
        # above leaves nothing to crop.
        from matplotlib_inline.config import InlineBackend

        InlineBackend.instance(parent=shell).print_figure_kwargs = {"bbox_inches": None}


def panel_grid(count: int, *, width: float, height: float, xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """Panels that share both axes: up to five in a row, more of them in rows of at most four, for print to be readable.

    Args:
        width, height: of a panel, in inches.
        xlabel, ylabel: stand at the lowest panel of each column and at the first of each row.
    """
    down = 1 if count <= 5 else math.ceil(count / 4)
    across = math.ceil(count / down)
    size = (max(NARROWEST, width * across + 0.9), height * down + 0.6)
    figure, axes = plt.subplots(down, across, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis in axes.flat[max(0, count - across) : count]:
        axis.set_xlabel(xlabel)
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    return figure, list(axes.flat[:count])


def annotate(figure: Figure, edition: str) -> Figure:
    """Write under the figure what kind of numbers it holds; nothing where it belongs to no edition ("")."""
    if edition:
        note = EDITION_NOTES.get(edition, f"Edition {edition}.")
        figure.supxlabel(note, fontsize=7.5, color="#666666", x=0.01, ha="left")
    return figure


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write folder/name.png and name.pdf without dates, so that two runs give the same bytes; returns the PNG.

    The layout is found once and then kept: it takes as long as the drawing, and all forms of a figure shall agree. Each
    form is drawn once: `Figure.savefig` would draw it twice, the first time only to find the layout.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure.set_dpi(plt.rcParams["savefig.dpi"])
    FigureCanvasAgg(figure).print_png(folder / f"{name}.png", metadata={"Software": None})
    figure.set_layout_engine("none")
    dates = {"CreationDate": None, "Creator": None, "Producer": None}
    with _plain_fonts():
        FigureCanvasPdf(figure).print_pdf(folder / f"{name}.pdf", metadata=dates)
    return folder / f"{name}.png"


@contextmanager
def _plain_fonts() -> Iterator[None]:
    """Fonts are embedded without their tables for the shaping of text, which is done by then: no viewer reads them, and
    cutting them down to the letters of a figure takes longer than drawing it."""
    options = subset.Options
    subset.Options = lambda **given: options(drop_tables=[*options().drop_tables, *SHAPING], **given)
    try:
        yield
    finally:
        subset.Options = options


def show(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Save a figure, show the PNG below the cell of a notebook, with `alt` for those who cannot see it, and close it."""
    display(Image(filename=str(save(figure, folder, name)), alt=alt))
    plt.close(figure)
