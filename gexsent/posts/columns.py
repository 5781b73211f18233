"""Which column of a table means what, and what a row of it gives a model: a text, a picture or clip, or features."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.posts.files import missing

NAME = "columns.json"
VISUAL = ("image", "clip", "vision")


@dataclass(frozen=True)
class Columns:
    """Names of columns; None where a table has no such column.

    text: what was said or written. image: the path of a picture. clip: of a video. vision: visual features brought along,
    arrays (T, D) or paths of .npy files. A table has at most one of the last three.
    """

    text: str | None = None
    image: str | None = None
    clip: str | None = None
    vision: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in VISUAL if getattr(self, name) is not None]
        if len(given) > 1:
            raise DataError(f"{given[0]}= and {given[1]}= were both given: a table has one kind of visual input")
        if self.text is None and not given:
            raise DataError("name the column of the texts (text=), of the pictures (image=) or of the clips (clip=)")

    @property
    def visual(self) -> str | None:
        """Which of image, clip and vision there is."""
        return next((name for name in VISUAL if getattr(self, name) is not None), None)

    def named(self) -> dict[str, str]:
        """{what it means: the column}."""
        return {name: column for name, column in asdict(self).items() if column is not None}

    def save(self, folder: Path) -> None:
        """Write columns.json into a model's folder."""
        write_atomically(folder / NAME, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "Columns | None":
        """What `save` wrote; None where there is no such file, as of a model that the pipeline trained.

        Raises:
            DataError: the file does not name columns.
        """
        path = folder / NAME
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not all(value is None or isinstance(value, str) for value in values.values()):
                raise TypeError("a name of a column is a text")
            return cls(**values)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise DataError(f"{path}: expected the columns {names}: {error}") from error


class Post(NamedTuple):
    """One row: what there is of it, and what is wrong with the rest ("" for nothing)."""

    text: str
    media: Path | None  # of a picture or a clip
    vision: np.ndarray | None  # (T, D)
    problem: str


def require(frame: pd.DataFrame, columns: Iterable[str], source: str) -> None:
    """Every one of these columns is there.

    Raises:
        DataError: naming the one that is not, and those that are.
    """
    for column in columns:
        if column not in frame:
            raise DataError(f"{source}: no column {column!r}; its columns are {', '.join(map(str, frame.columns))}")


def posts(frame: pd.DataFrame, columns: Columns, root: Path) -> list[Post]:
    """What each row gives. A row that lacks its picture, or names one that cannot be used, keeps its text."""
    result = []
    kind = columns.visual
    nothing = [None] * len(frame)
    texts = nothing if columns.text is None else frame[columns.text].tolist()
    cells = nothing if kind is None else frame[getattr(columns, kind)].tolist()
    for text, cell in zip(map(as_text, texts), cells, strict=True):
        media = vision = None
        problem = ""
        if kind is not None and not missing(cell):
            try:
                if kind == "vision":
                    vision = _features(cell, root)
                else:
                    media = place(cell, root)
            except DataError as error:
                problem = f"{kind}: {error}"
        result.append(Post(text, media, vision, problem))
    return result


def as_text(cell: Any) -> str:
    """A cell as a text: a list of words is joined, what is missing is no text, a number is written out."""
    if isinstance(cell, str):
        return cell.encode(errors="replace").decode()  # half an emoji is no letter, and no tokenizer takes it
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    if isinstance(cell, (list, tuple, np.ndarray)):
        return " ".join(as_text(word) for word in cell)
    return "" if missing(cell) else str(cell)


def place(cell: Any, root: Path) -> Path:
    """The file that a cell names, which must lie in `root` or below.

    Raises:
        DataError: not a path, a URL, outside of that folder, or no such file.
    """
    if not isinstance(cell, (str, Path)):
        raise DataError(f"expected the path of a file, found {type(cell).__name__}")
    name = str(cell).strip()
    if "://" in name:
        raise DataError(f"{name}: is not fetched; download it and name the file")
    try:
        path = root / Path(name).expanduser()
        inside = path.resolve().is_relative_to(root.resolve())
        there = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a null byte, a loop of links, no such user
        raise DataError(f"{name[:80]!r}: not the path of a file: {error}") from error
    if not inside:
        raise DataError(f"{name}: lies outside {root}; name the folder of the files with media_root")
    if path.is_dir():
        raise DataError(f"{name}: is a folder, not a file")
    if not there:
        raise DataError(f"{name}: there is no such file in {root}")
    return path


def _features(cell: Any, root: Path) -> np.ndarray:
    if isinstance(cell, (str, Path)):
        path = place(cell, root)
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{cell}: cannot be read as a .npy file: {error}") from error
    else:
        try:
            values = np.stack([np.asarray(token) for token in cell])
        except (TypeError, ValueError) as error:
            raise DataError(f"expected an array (T, D): {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iuf":
        raise DataError("expected an array (T, D) of numbers")
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinity, and is refused as one
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError("the features hold NaN or infinity")
    return values
