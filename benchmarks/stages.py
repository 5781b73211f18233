"""The stages of the pipeline one by one: what they take, and the work that no implementation could do without."""

import functools
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import av
import numpy as np
import pandas as pd

from benchmarks import counting, machine, memory, systems, timing
from gexsent.data import media
from gexsent.encoders import tiny
from gexsent.encoders.text import TextEncoder
from gexsent.encoders.vision import VisionEncoder
from gexsent.evaluation import compare
from gexsent.evaluation.measures import Measure, measures
from gexsent.sample.faces import Person, draw
from gexsent.sample.scripts import vocabulary
from gexsent.stages.fits import load_samples
from gexsent.training import loop

SYSTEM, SHAPE = "gexsent", "mosei"
GROUPS, FITS, DRAWS = 600, 40, 1000  # test videos, fits, draws of the bootstrap
STORED = 400  # samples of a store that is read


class Stage(NamedTuple):
    """A call, how many samples (or draws) it deals with, and its work by the ceilings: flops of products, bytes that the
    other operations read and write, bytes from the disk."""

    call: Callable[[], object]
    samples: int
    flops: int = 0
    moved: int = 0
    disk: int = 0


def measure(*, large: bool, side: int, folder: str, megabytes: int, rounds: int, at_least: float) -> dict[str, dict]:
    """{"work": {stage: samples and work by ceiling}, "seconds": {stage or ceiling: a round each}}; of a ceiling the seconds
    are those of one flop or one byte.

    Args:
        large: encoders of the full edition's sizes (weights drawn at random take as long), else the sample's.
        side: of the square matrices whose product is the ceiling.
        megabytes: of the file that is written and read for the disk's ceiling.
    """
    size, flops = [side] * 3, machine.product_flops([side] * 3)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        stages = {name: make(large, Path(place)) for name, make in STAGES.items()}
        machine.write(folder=place, megabytes=megabytes)
        limits = {
            "products": lambda: machine.product(size=size, dtype="float32", at_least=at_least) / flops,
            "other operations": lambda: 1 / machine.copy(megabytes=0.5, at_least=at_least),
            "disk": lambda: 1 / machine.read(folder=place),
        }
        calls = {n: lambda s=s: timing.seconds_a_call(s.call, at_least) for n, s in stages.items()}
        work = {name: [stage.samples, stage.flops, stage.moved, stage.disk] for name, stage in stages.items()}
        return {"work": work, "seconds": timing.in_rounds(limits | calls, rounds)}


def _encode_text(large: bool, folder: Path) -> Stage:
    model, tokenizer = tiny.text()
    if large:
        from transformers import ModernBertConfig, ModernBertModel

        model = ModernBertModel(ModernBertConfig(attn_implementation="sdpa"))
    encoder = TextEncoder(model, tokenizer, max_tokens=128)
    draw_lots = random.Random(0)
    texts = [" ".join(draw_lots.choices(sorted(vocabulary()), k=22)) for _ in range(16)]  # 24 tokens with the two ends
    work = counting.count(lambda: encoder.encode(texts))
    return Stage(lambda: encoder.encode(texts), len(texts), *work)


def _encode_images(large: bool, folder: Path) -> Stage:
    tower, transform = tiny.vision()
    if large:
        from open_clip.transform import image_transform
        from open_clip.transformer import VisionTransformer

        tower = VisionTransformer(224, 32, 768, 12, 12, 4.0, output_dim=512)
        transform = image_transform((224, 224), is_train=False)
    encoder = VisionEncoder(tower, transform)
    images = [draw(_person(), 0.5, 224) for _ in range(8)]
    work = counting.count(lambda: encoder.encode_images(images))
    return Stage(lambda: encoder.encode_images(images), len(images), *work)


def _picture(large: bool, folder: Path) -> Stage:
    path = folder / "picture.jpg"
    draw(_person(), 0.5, 480).save(path, quality=90)
    return Stage(lambda: _cold(path, media.open_image), 1, moved=3 * 480 * 480, disk=path.stat().st_size)


def _clip(large: bool, folder: Path) -> Stage:
    path, side, frames = folder / "clip.mp4", 320, 100  # four seconds
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        pictures = [av.VideoFrame.from_image(draw(_person(), step / 4, side)) for step in range(5)]
        for index in range(frames):
            container.mux(stream.encode(pictures[5 * index // frames]))
        container.mux(stream.encode(None))
    decoded = 2 * frames * side * side * 3 // 2 + 8 * 3 * side * side  # in two passes; of those kept RGB too
    return Stage(lambda: _cold(path, lambda clip: media.read_frames(clip, 8)), 1, 0, decoded, path.stat().st_size)


def _read_features(large: bool, folder: Path) -> Stage:
    memory.build(folder=str(folder / "store"), samples=STORED)
    shards = sorted((folder / "store").glob("*/shard-*.npy"))
    size = sum(path.stat().st_size for path in shards)

    def call() -> None:
        for path in shards:
            machine.forget(path)
        load_samples(SimpleNamespace(features=folder / "store"))

    return Stage(call, STORED, 0, 2 * size, size)  # read into memory once at the least


def _training_step(large: bool, folder: Path) -> Stage:
    steps = systems.Steps(SYSTEM, systems.SHAPES[SHAPE])
    steps()  # the first one makes the optimiser's state
    return Stage(steps, systems.BATCH, *counting.count(steps))


def _forward_pass(large: bool, folder: Path) -> Stage:
    job, params = systems.job(SYSTEM, systems.SHAPES[SHAPE])
    model = systems.Steps(SYSTEM, systems.SHAPES[SHAPE]).run.averaged

    def call() -> None:
        loop.forward(model, job.samples, job.valid_rows, batch=params.batch)

    return Stage(call, len(job.valid_rows), *counting.count(call))


def _bootstrap(large: bool, folder: Path) -> Stage:
    known = measures("mosei")
    matrices = {name: _terms(measure) for name, measure in known.items()}
    columns = sum(matrix[0].size for matrix in matrices.values())
    # The draws are made of random numbers, counted, and turned into floats: eight bytes each, written and read.
    drawn = 2 * 3 * 8 * DRAWS * GROUPS
    call = functools.partial(compare.score_draws, known, matrices, GROUPS, DRAWS, 0)
    return Stage(call, DRAWS, 2 * DRAWS * GROUPS * columns, drawn)


def _terms(measure: Measure) -> np.ndarray:
    """(groups, fits, terms): sums of groups that a measure could have."""
    names = "pred_intensity", "intensity", "pred_sentiment", "sentiment"
    terms = measure.terms(pd.DataFrame({name: [0.0, 1.0] for name in names})).shape[1]
    return np.random.default_rng(0).integers(1, 9, (GROUPS, FITS, terms)).astype(np.float64)


def _cold(path: Path, call: Callable[[Path], object]) -> None:
    machine.forget(path)
    call(path)


def _person() -> Person:
    return Person.draw_lots(random.Random(0))


STAGES = {
    "decode a picture": _picture,
    "decode a clip": _clip,
    "encode text": _encode_text,
    "encode images": _encode_images,
    "read features": _read_features,
    "training step": _training_step,
    "forward pass": _forward_pass,
    "bootstrap": _bootstrap,
}
