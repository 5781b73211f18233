"""What the machine can do at best: matrix products, copies in memory, and the disk."""

import functools
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import in_rounds, seconds_a_call
from benchmarks.worker import Worker

OURS = (1536, 384, 128)  # rows, inner width, columns: 64 texts of 24 words through the first layer of a lite model
PROJECT = "float32, as the project"
WAYS = {  # the kind of Worker, the numbers, the device
    PROJECT: ("project", "float32", "cpu"),
    "float32, MKL pinned": ("pinned", "float32", "cpu"),
    "float32, MKL free": ("free", "float32", "cpu"),
    "bfloat16, torch pinned": ("pinned", "bfloat16", "cpu"),
    "bfloat16, torch free": ("free", "bfloat16", "cpu"),
}
GPU_WAYS = {"float32, GPU": ("project", "float32", "cuda"), "bfloat16, GPU": ("project", "bfloat16", "cuda")}
COPY = "copy in memory"


def products(
    workers: Mapping[str, Worker], size: Sequence[int], rounds: int, at_least: float
) -> dict[str, list[float]]:
    """Seconds of one product of this size in each way, in rounds; on a GPU too where there is one."""
    ways = WAYS | (GPU_WAYS if workers["project"].ask("machine.gpu") else {})
    calls = {}
    for name, (kind, dtype, device) in ways.items():
        asked = {"size": list(size), "dtype": dtype, "device": device, "at_least": at_least}
        calls[name] = functools.partial(workers[kind].ask, "machine.product", **asked)
    return in_rounds(calls, rounds)


def moves(worker: Worker, folder: Path, megabytes: int, rounds: int, at_least: float) -> dict[str, list[float]]:
    """Seconds a byte, in rounds: of copies in memory, in the processor's cache (and on a GPU), and of the disk."""
    asked = {COPY: {"megabytes": 256}, "copy in cache": {"megabytes": 0.5}}
    if worker.ask("machine.gpu"):
        asked["copy on the GPU"] = {"megabytes": 256, "device": "cuda"}
    calls = {n: lambda a=a: 1 / worker.ask("machine.copy", **a, at_least=at_least) for n, a in asked.items()}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        calls["write to disk"] = lambda: 1 / worker.ask("machine.write", folder=place, megabytes=megabytes)
        calls["read from disk"] = lambda: 1 / worker.ask("machine.read", folder=place)
        worker.ask("machine.write", folder=place, megabytes=megabytes)  # so that there is something to read
        return in_rounds(calls, rounds)


def product(*, size: Sequence[int], dtype: str, device: str = "cpu", at_least: float) -> float:
    """Seconds of one matrix product."""
    first, second = _matrices(tuple(size), dtype, device)
    return seconds_a_call(lambda: first @ second, at_least)


@functools.cache
def _matrices(size: tuple[int, int, int], dtype: str, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(*size[:2], generator=generator), torch.randn(*size[1:], generator=generator)
    return tuple(side.to(device, getattr(torch, dtype)) for side in sides)


def product_flops(size: Sequence[int]) -> int:
    """Multiplications and additions of one product."""
    return 2 * size[0] * size[1] * size[2]


def copy(*, megabytes: float, device: str = "cpu", at_least: float) -> float:
    """Bytes a second that a copy reads and writes; both count."""
    source, target = _blocks(megabytes, device)
    return 2 * source.nbytes / seconds_a_call(lambda: target.copy_(source), at_least)


@functools.cache
def _blocks(megabytes: float, device: str) -> tuple[Tensor, Tensor]:
    count = int(megabytes * 2**20 / 4)
    return torch.ones(count, device=device), torch.zeros(count, device=device)


def write(*, folder: str, megabytes: int) -> float:
    """Bytes a second that reach the disk, not only the memory in front of it."""
    content = os.urandom(2**20) * megabytes
    path = Path(folder) / "disk.bin"
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return len(content) / (time.perf_counter() - start)


def read(*, folder: str) -> float:
    """Bytes a second of what `write` left, read from the disk where the system can be asked to forget its copy."""
    path = Path(folder) / "disk.bin"
    forget(path)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        target = bytearray(2**20)
        while file.readinto(target):
            pass
    return path.stat().st_size / (time.perf_counter() - start)


def forget(path: Path) -> None:
    """Ask the system to drop its copy of a file in memory; only Linux can be asked."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def gpu() -> str:
    """Name of the GPU; empty where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
