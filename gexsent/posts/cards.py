"""Draw why the first rows of a table were scored as they were: a card of each (see gexsent.report.explanation)."""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

from gexsent.errors import DataError
from gexsent.explain.post import explain
from gexsent.posts.columns import Post, posts
from gexsent.posts.score import Job
from gexsent.predictor import Predictor


def check(predictor: Predictor) -> None:
    """Whether this model's predictions can be drawn, asked before any work.

    Raises:
        DataError: another system than `gexsent`, or matplotlib is not installed.
    """
    if predictor.config.system != "gexsent":
        raise DataError(f"--explain: the model is {predictor.config.system!r}: only `gexsent` can be explained")
    try:
        import gexsent.report.style  # noqa: F401
    except ImportError as error:
        raise DataError(f"--explain: {error.name} is not installed: pip install 'gexsent[pipeline]'") from error


def draw(job: Job, folder: Path, *, most: int, model: str) -> list[Path]:
    """Write `<folder>/row_<n>.png` and .pdf of the first `most` rows; n counts as a spreadsheet does, from 2.

    A row that has no prediction gets no card.

    Args:
        model: what the model is called, which stands under each card.
    """
    import matplotlib.pyplot as plt

    from gexsent.report import style
    from gexsent.report.explanation import card

    style.use_style()
    paths = []
    kind = job.columns.visual
    for number, row in itertools.islice(_numbered(job), most):
        seen = {kind: row.vision if kind == "vision" else row.media} if kind else {}
        try:
            explanation = explain(job.predictor, row.text, **seen)
        except DataError:  # its row says what is wrong
            continue
        title = " ".join(row.text.split())
        title = title if len(title) <= 80 else f"{title[:79]}…"
        figure = card(explanation, f"Row {number}: {title or 'no text'}", "")
        figure.supxlabel(f"Model: {model}.", fontsize=7.5, color="#666666", x=0.01, ha="left")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # the font draws a box instead
            paths.append(style.save(figure, folder, f"row_{number:04d}"))
        plt.close(figure)
    return paths


def _numbered(job: Job) -> Iterator[tuple[int, Post]]:
    for piece in job.pieces:
        yield from zip(piece.index, posts(piece, job.columns, job.root), strict=True)
