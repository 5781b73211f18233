"""What the machine can do at best: matrix products, copies in memory, and the disk."""

import functools
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import seconds_a_call

LARGE = (1024, 1024, 1024)  # rows, inner width, columns: the ceiling
OURS = (1536, 384, 128)  # 64 texts of 24 words through the first layer of a lite model


def product(*, size: tuple[int, int, int], dtype: str, device: str = "cpu", at_least: float) -> float:
    """Seconds of one matrix product."""
    first, second = _matrices(tuple(size), dtype, device)
    return seconds_a_call(lambda: first @ second, at_least)


@functools.cache
def _matrices(size: tuple[int, int, int], dtype: str, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(*size[:2], generator=generator), torch.randn(*size[1:], generator=generator)
    return tuple(side.to(device, getattr(torch, dtype)) for side in sides)


def product_flops(size: tuple[int, int, int]) -> int:
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
