"""Training of every system on the same made-up features: the real training step, and the memory that it takes."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import timing
from benchmarks.memory import peak
from benchmarks.worker import Worker
from gexsent import datasets, params
from gexsent.model import SYSTEMS, ModelConfig, fine_tuned
from gexsent.training import loop
from gexsent.training.data import Samples, Tokens
from gexsent.training.device import pick_device

ROOT = Path(__file__).parents[1]
BASELINE = "text_only"
NAMES = [name for name in SYSTEMS if not fine_tuned(name)]  # the others need the layers of an encoder
BATCH, ROWS = 64, 512  # of a step; samples in all, every fourth for validation


class Shape(NamedTuple):
    """What a sample looks like: tokens and features of each modality, and the data set whose tasks are learned."""

    dataset: str
    text: tuple[int, int]
    vision: tuple[int, int]


SHAPES = {
    "mosei": Shape("mosei", (24, 768), (8, 512)),  # ModernBERT's words, CLIP's frames
    "lite": Shape("memotion", (24, 384), (49, 576)),  # MiniLM's words, seven by seven patches of MobileNet
}
TITLES = {"mosei": "MOSEI's shape", "lite": "lite's shape"}


@functools.cache
def samples(shape: Shape) -> Samples:
    """Features drawn at random, as float16 like those of the store; every sample has all its tokens."""
    generator = torch.Generator().manual_seed(0)
    sides = []
    for tokens, width in (shape.text, shape.vision):
        values = torch.randn(ROWS * tokens, width, generator=generator).half()
        sides.append(Tokens(values, torch.arange(ROWS + 1) * tokens))
    return Samples([str(row) for row in range(ROWS)], *sides, digest="made up")


def job(system: str, shape: Shape) -> tuple[loop.Job, params.TrainParams]:
    """A fit of the lite edition, with labels drawn at random, and its settings."""
    found = params.load(ROOT / "params.yaml", "lite", shape.dataset)
    chosen = datasets.spec(shape.dataset).tasks
    config = ModelConfig(
        system=system,
        text_features=shape.text[1],
        vision_features=shape.vision[1],
        outputs={task.name: task.outputs for task in chosen},
        temporal=shape.dataset == "mosei",
        frames=shape.vision[0],
        **vars(found.model),
    )
    generator = torch.Generator().manual_seed(0)
    highest = torch.tensor([max(1, task.outputs - 1) for task in chosen])
    targets = (torch.rand(ROWS, len(chosen), generator=generator) * (highest + 1)).floor().clamp_max(highest)
    rows = torch.arange(ROWS)
    valid = rows % 4 == 0
    fit = loop.Job(config, 0, samples(shape), chosen, targets, rows[~valid], rows[valid])
    return fit, found.train


class Steps:
    """Training steps of one system, one after another, on batches that come round again."""

    def __init__(self, system: str, shape: Shape):
        torch.manual_seed(0)
        self.run = loop._Run(*job(system, shape), pick_device())
        self.run.model.train()
        self.batches = [rows for rows in self.run.job.train_rows.split(BATCH) if len(rows) == BATCH]
        self.done = 0

    def __call__(self) -> None:
        self.run.one_step(self.batches[self.done % len(self.batches)])
        self.done += 1


def training(*, shape: str, names: Sequence[str], rounds: int, at_least: float) -> dict[str, list[float]]:
    """Seconds of one training step of BATCH samples of each system, in rounds."""
    return timing.times({name: Steps(name, SHAPES[shape]) for name in names}, rounds, at_least)


def memories(shape: str, names: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Bytes that a training step of each system takes at its peak, in rounds."""
    with Worker() as worker:
        calls = {
            name: functools.partial(worker.ask, "systems.memory", copied=True, shape=shape, system=name)
            for name in names
        }
        return timing.in_rounds(calls, rounds, warm=False)


def memory(*, shape: str, system: str) -> int:
    """Bytes by which a process that has computed nothing grows at the peak of a few training steps. On a GPU: its peak."""
    samples(SHAPES[shape])
    before = peak()
    step = Steps(system, SHAPES[shape])
    for _ in range(2):
        step()
    return peak() - before
