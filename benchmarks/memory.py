"""What the features of many samples take in memory, and how fast a batch is gathered from them."""

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import timing
from benchmarks.worker import Worker
from gexsent.features import Output, extract
from gexsent.stages.fits import load_samples
from gexsent.training.data import Samples
from gexsent.training.device import pick_device

MOSEI = 23_000  # samples of CMU-MOSEI, rounded
SIDES = {"text": (24, 768), "vision": (8, 512)}  # tokens and width of one sample
BATCH = 64
BYTES = sum(2 * tokens * width for tokens, width in SIDES.values())  # of one sample as float16
_held: list[Samples] = []  # by this process


class Line(NamedTuple):
    """y = start + slope x, and `off`: how far the worst of the points lies from it, as a share of its y."""

    start: float
    slope: float
    off: float

    def at(self, x: float) -> float:
        return self.start + self.slope * x


def line(x: list[float], y: list[float]) -> Line:
    """The straight line with the least squares through at least three points: two would always lie on it.

    Raises:
        ValueError: fewer than three.
    """
    if len(x) < 3:
        raise ValueError(f"{len(x)} points say nothing about whether growth is linear; give three or more")
    slope, start = np.polyfit(x, y, 1)
    off = np.abs(start + slope * np.asarray(x) - y) / np.abs(y)
    return Line(float(start), float(slope), float(off.max()))


def grow(folder: Path, sizes: Sequence[int], rounds: int, at_least: float) -> tuple[list[dict], dict[str, list[float]]]:
    """Stores of so many samples, each loaded by a process of its own: what `load` says of each, and {samples: seconds of one
    batch, a round each}. The stores are deleted again."""
    with contextlib.ExitStack() as open_ones:
        workers = [open_ones.enter_context(Worker()) for _ in sizes]
        loads = []
        for size, worker in zip(sizes, workers, strict=True):
            with tempfile.TemporaryDirectory(dir=folder) as store:
                worker.ask("memory.build", folder=store, samples=size)
                loads.append(worker.ask("memory.load", folder=store))
        calls = {
            f"{size:,}": lambda w=w: w.ask("memory.gather", at_least=at_least)
            for size, w in zip(sizes, workers, strict=True)
        }
        return loads, timing.in_rounds(calls, rounds)


def build(*, folder: str, samples: int) -> float:
    """Write stores of made-up features as the extract stage does; the seconds that it took."""
    start = time.perf_counter()
    ids = [f"{row:06d}" for row in range(samples)]
    for side, (tokens, width) in SIDES.items():
        some = np.random.default_rng(0).standard_normal((tokens, width)).astype(np.float16)
        output = Output(Path(folder) / side, width, "made up")
        extract([output], ids, lambda part, some=some: [[some] * len(part)], label=side)
    return time.perf_counter() - start


def load(*, folder: str) -> dict[str, float]:
    """Load stores as the train stage does, in a fresh process: bytes that it then holds, its peak, and the seconds."""
    before, start = held(), time.perf_counter()
    forget_peak()
    start_peak = peak()
    _held.append(load_samples(SimpleNamespace(features=Path(folder))))
    return {"held": held() - before, "peak": peak() - start_peak, "seconds": time.perf_counter() - start}


def gather(*, at_least: float) -> float:
    """Seconds of one batch of random rows from what `load` has loaded."""
    (samples,) = _held
    return timing.seconds_a_call(lambda: samples.batch(torch.randint(len(samples.ids), (BATCH,))), at_least)


def held() -> int:
    """Bytes of its own that this process holds now, files that it has open in memory left out."""
    return _status("RssAnon") or peak()


def peak() -> int:
    """The most bytes that this process has held so far; on a GPU, of its memory."""
    if pick_device() != "cpu":
        return torch.cuda.max_memory_allocated()
    # The system's other count starts from what the parent of this process took.
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or (found if sys.platform == "darwin" else 1024 * found)


def forget_peak() -> None:
    """Start the count of `peak` anew, on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """A number of bytes that Linux keeps of this process; 0 elsewhere."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((1024 * int(text.split()[1]) for text in lines if text.startswith(f"{name}:")), 0)
