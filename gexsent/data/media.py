"""Pictures and clips as users have them: odd modes, wrong extensions, broken files."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import av
from PIL import Image, ImageOps, UnidentifiedImageError

from gexsent.errors import DataError

MAX_SIDE = 16_384
MAX_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = None  # our own limit, checked before decoding, says what to do


def open_image(path: Path) -> Image.Image:
    """Decode a picture to RGB, whatever its mode and whatever its extension claims.

    Animations give their first frame, transparency is laid on white, 16-bit greys are scaled, rotation is applied.

    Raises:
        DataError: missing, empty, not a picture, cut short, or larger than 16,384 a side or 50 megapixels.
    """
    _exists(path)
    try:
        with Image.open(path) as image:  # by content: the extension plays no part
            if max(image.size) > MAX_SIDE or image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: {image.width}x{image.height} pixels is too large; scale it down first")
            image.seek(0)
            image.load()
            return to_rgb(image)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture in any format that Pillow reads") from error
    except Exception as error:  # a damaged picture raises almost anything
        raise DataError(f"{path}: damaged picture: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What the system says, without the path that it adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as upright RGB: transparency is laid on white, 16-bit greys are scaled."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits of grey, which convert() would clip to white
        high = image.getextrema()[1]
        if image.mode.startswith("I;16") or 255 < high <= 65_535:
            scale = 255 / 65_535
        else:  # floats from 0 to 1, bytes in a wider type, or anything else
            scale = 255 if 0 < high <= 1 and image.mode == "F" else 1 if high <= 255 else 255 / high
        return image.convert("F").point(lambda value: value * scale).convert("L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def read_frames(path: Path, count: int) -> tuple[list[Image.Image], list[float]]:
    """At most `count` frames at evenly spaced places of a clip, and their times in seconds.

    Frames are taken at the middle of `count` equal parts of what decodes, so a clip that was cut short gives what it
    has and a clip of one frame gives that frame.

    Raises:
        DataError: missing, empty, not a video, without a video stream, or nothing decodes.
    """
    _exists(path)
    try:
        # Two passes, count and pick, so that a long clip is never in memory; container frame counts are unreliable.
        total = sum(1 for _ in _decoded(path))
        wanted = {min(total - 1, int((part + 0.5) * total / count)) for part in range(count)} if total else set()
        picked = [(frame.to_image(), frame.time) for index, frame in enumerate(_decoded(path)) if index in wanted]
    except DataError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{path}: not a video that can be decoded: {_reason(error)}") from error
    if not picked:
        raise DataError(f"{path}: no frame of the video stream can be decoded")
    images, times = zip(*picked, strict=True)
    return list(images), [time or 0.0 for time in times]


def _decoded(path: Path):
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError(f"{path}: there is no video stream in this file")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        started = False
        try:
            for frame in container.decode(stream):
                started = True
                yield frame
        except av.FFmpegError:
            if not started:  # a clip that breaks off later is used up to there
                raise


def check(path: Path, kind: str) -> None:
    """Decode a picture, or the first frame of a clip.

    Raises:
        DataError: as open_image and read_frames.
    """
    if kind == "image":
        open_image(path)
        return
    _exists(path)
    try:
        frame = next(_decoded(path), None)
    except DataError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{path}: not a video that can be decoded: {_reason(error)}") from error
    if frame is None:
        raise DataError(f"{path}: no frame of the video stream can be decoded")


Item, Loaded = TypeVar("Item"), TypeVar("Loaded")


def ahead(load: Callable[[Item], Loaded], items: Iterable[Item]) -> Iterator[Loaded]:
    """load(item) of each item, in order; the next one is loaded in a thread while the caller works with this one."""
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for item in items:
            coming, ready = pool.submit(load, item), coming
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def digest(path: Path) -> str:
    """sha256 of a file's bytes, to find exact duplicates."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _exists(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
