"""Token features of posts. Each text and each picture is encoded once: features are kept by content, for all runs."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from tqdm import tqdm

from gexsent.data import media
from gexsent.encoders.text import TextEncoder
from gexsent.encoders.vision import VisionEncoder
from gexsent.errors import DataError
from gexsent.posts.columns import Post
from gexsent.training.data import Samples, Tokens

PIECE = 256  # posts encoded between two writes


def default_cache() -> Path:
    """Where features are kept unless another place is named: $XDG_CACHE_HOME/gexsent, else ~/.cache/gexsent."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gexsent"


def opened_cache(place: str | Path | None) -> "FeatureCache":
    """The features in a folder; "" for the usual one, None for none."""
    return FeatureCache(default_cache() if place == "" else None if place is None else Path(place))


class FeatureCache:
    """Arrays (T, D) float16 by the encoder that made them and the content that they were made of.

    Args:
        folder: holds features.sqlite; None keeps them in memory until it is closed, at the end of a `with`.

    Raises:
        DataError: the file cannot be opened, or is none of ours.
    """

    def __init__(self, folder: Path | None):
        self.path: Path | str = ":memory:"
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                self.path = folder / "features.sqlite"
            self._base = sqlite3.connect(self.path, timeout=60)
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS features (encoder TEXT, content TEXT, width INT, array BLOB, "
                "PRIMARY KEY (encoder, content)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"{self.path}: cannot keep features there: {error}; name another folder with cache="
            ) from error

    def get(self, encoder: str, contents: Sequence[str]) -> dict[str, np.ndarray]:
        """{content: array} of those that are there."""
        found = {}
        with closing(self._base.cursor()) as cursor:
            for content in dict.fromkeys(contents):
                row = cursor.execute(
                    "SELECT width, array FROM features WHERE encoder = ? AND content = ?", (encoder, content)
                ).fetchone()
                if row:
                    found[content] = np.frombuffer(row[1], np.float16).reshape(-1, row[0])
        return found

    def put(self, encoder: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep them, all or none.

        Raises:
            DataError: the disk is full.
        """
        rows = [(encoder, content, array.shape[1], array.tobytes()) for content, array in arrays.items()]
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: cannot be written: {error}; make room, or name another cache=") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()


class Encoders(NamedTuple):
    """What reads the texts and the pictures or clips; None where there is nothing of the kind, or features are brought."""

    text: TextEncoder | None
    vision: VisionEncoder | None
    frames: int  # of a clip


def encode(
    posts: Sequence[Post], visual: str | None, encoders: Encoders, cache: FeatureCache, *, progress: bool = True
) -> tuple[Samples, dict[int, str]]:
    """Features of N posts, called 0, 1, …, and {place: what is wrong with its picture or clip}.

    A post without a text or a picture lacks that modality, and so does one whose picture cannot be decoded.

    Args:
        visual: "image", "clip", "vision" or None: what the posts have beside their text.
    """
    texts, problems = [post.text for post in posts], {}
    text = _texts(texts, encoders.text, cache, progress)
    if visual == "vision":
        vision = _tokens([post.vision for post in posts], _common_width(posts))
    elif visual is None or encoders.vision is None:
        vision = Tokens.empty(len(posts))
    else:
        vision, problems = _media(posts, visual, encoders, cache, progress)
    ids = [str(place) for place in range(len(posts))]
    digest = hashlib.sha256()
    for tokens in (text, vision):
        digest.update(tokens.values.numpy().tobytes() + tokens.offsets.numpy().tobytes())
    return Samples(ids, text, vision, digest.hexdigest()), problems


def content_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _texts(texts: Sequence[str], encoder: TextEncoder | None, cache: FeatureCache, progress: bool) -> Tokens:
    if encoder is None or not any(text.strip() for text in texts):
        return Tokens.empty(len(texts))
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if text.strip() else "" for text in texts]
    spoken = dict(zip(keys, texts, strict=True))
    spoken.pop("", None)

    def make(part: list[str]) -> dict[str, np.ndarray]:
        return dict(zip(part, encoder.encode([spoken[key] for key in part]), strict=True))

    found = _all(list(spoken), encoder.fingerprint, make, cache, "texts", progress)
    return _tokens([found.get(key) for key in keys], encoder.width)


def _media(
    posts: Sequence[Post], visual: str, encoders: Encoders, cache: FeatureCache, progress: bool
) -> tuple[Tokens, dict[int, str]]:
    encoder, frames = encoders.vision, encoders.frames
    name = f"{encoder.fingerprint} {visual}" + (f" {frames}" if visual == "clip" else "")
    keys = [content_of(post.media) if post.media else "" for post in posts]
    paths = {key: post.media for key, post in zip(keys, posts, strict=True) if key}
    bad: dict[str, str] = {}

    def load(key: str) -> tuple[str, Any]:
        try:
            return key, media.open_image(paths[key]) if visual == "image" else media.read_frames(paths[key], frames)[0]
        except DataError as error:
            bad[key] = str(error)
            return key, None

    def make(part: list[str]) -> dict[str, np.ndarray]:
        size = encoder.batch_images if visual == "image" else max(1, encoder.batch_images // frames)
        made = {}
        batches = [part[start : start + size] for start in range(0, len(part), size)]
        for loaded in media.ahead(lambda batch: [load(key) for key in batch], batches):
            there = [(key, picture) for key, picture in loaded if picture is not None]
            encoded = (encoder.encode_images if visual == "image" else encoder.encode_clips)([p for _, p in there])
            made |= zip((key for key, _ in there), encoded, strict=True)
        return made

    found = _all(list(paths), name, make, cache, f"{visual}s", progress)
    width = encoder.image_width if visual == "image" else encoder.frame_width
    problems = {place: bad[key] for place, key in enumerate(keys) if key in bad}
    return _tokens([found.get(key) for key in keys], width), problems


def _all(
    keys: list[str],
    encoder: str,
    make: Callable[[list[str]], dict[str, np.ndarray]],
    cache: FeatureCache,
    what: str,
    progress: bool,
) -> dict[str, np.ndarray]:
    """{key: array} from the cache, and made where it has none; what is made is kept piece by piece."""
    found = cache.get(encoder, keys)
    lacking = [key for key in keys if key not in found]
    with tqdm(total=len(keys), initial=len(found), desc=what, unit="", disable=not progress or not lacking) as bar:
        for part in _pieces(lacking):
            made = make(part)
            cache.put(encoder, made)
            found |= made
            bar.update(len(part))
    return found


def _pieces(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), PIECE):
        yield keys[start : start + PIECE]


def _common_width(posts: Sequence[Post]) -> int:
    widths = {post.vision.shape[1] for post in posts if post.vision is not None and len(post.vision)}
    if len(widths) > 1:
        raise DataError(
            f"the visual features of the posts have different widths: {', '.join(map(str, sorted(widths)))}"
        )
    for place, post in enumerate(posts):
        if post.vision is not None and np.abs(post.vision).max(initial=0) > np.finfo(np.float16).max:
            raise DataError(f"post {place}: visual features beyond float16's 65,504; scale them")
    return widths.pop() if widths else 1


def _tokens(arrays: Sequence[np.ndarray | None], width: int) -> Tokens:
    lengths = [0 if array is None else len(array) for array in arrays]
    there = [array.astype(np.float16) for array in arrays if array is not None and len(array)]
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    if not there:
        return Tokens(torch.zeros(1, width), offsets)
    return Tokens(torch.from_numpy(np.concatenate(there)), offsets)
