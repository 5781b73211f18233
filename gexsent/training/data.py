"""Samples in memory as flat token arrays, and the batches made from them.

Tokens of all samples lie end to end, as on disk; a batch gathers its rows and pads to its own longest sample. Nothing
here knows a split: what is passed in is what training can see.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gexsent.model.batch import Batch
from gexsent.tasks import Task


@dataclass(frozen=True)
class Tokens:
    """Ragged token features of one modality for N samples. Where they lie is known on the CPU, so that a batch on a
    GPU can be cut out without waiting for it."""

    values: Tensor  # (ΣT, D) float16 or float32, on any device
    offsets: Tensor  # (N + 1,) int64, on the CPU

    @classmethod
    def empty(cls, count: int) -> "Tokens":
        """A modality that no sample has: width 1, no tokens."""
        return cls(torch.zeros(1, 1), torch.zeros(count + 1, dtype=torch.int64))

    @property
    def lengths(self) -> Tensor:
        return self.offsets.diff()

    def to(self, device: torch.device | str) -> "Tokens":
        return Tokens(self.values.to(device), self.offsets)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B,), on the CPU -> float32 tokens (B, L, D), zeros at padding, and mask (B, L); L is at least 1."""
        start, length = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        position = torch.arange(max(1, int(length.max())))  # (L,)
        mask = position < length[:, None]  # (B, L)
        index = (start[:, None] + position).clamp_max(len(self.values) - 1).to(self.values.device, non_blocking=True)
        mask = mask.to(self.values.device, non_blocking=True)
        tokens = self.values.index_select(0, index.flatten()).float().unflatten(0, mask.shape)
        return torch.where(mask.unsqueeze(-1), tokens, 0), mask

    def statistics(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (D,) over all tokens of these rows; 0 and 1 where there are none."""
        owner = torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths)
        wanted = torch.zeros(len(self.lengths), dtype=torch.bool)
        wanted[rows] = True
        kept = self.values[: len(owner)][wanted[owner].to(self.values.device)].double()
        if not len(kept):
            return torch.zeros(self.values.shape[1]), torch.ones(self.values.shape[1])
        return kept.mean(0).float(), kept.std(0, correction=0).float()


@dataclass(frozen=True)
class Samples:
    """Features of N samples and, where they may be seen, targets."""

    ids: list[str]
    text: Tokens
    vision: Tokens
    digest: str  # of the features: fits are kept for as long as it stays the same
    frozen_text: Tokens | None = None  # where `text` enters layers that are tuned: what leaves them before they are

    def rows(self, ids: list[str]) -> Tensor:
        """Positions (B,) of these ids, on the CPU as all rows are."""
        position = {id_: row for row, id_ in enumerate(self.ids)}
        return torch.tensor([position[id_] for id_ in ids], dtype=torch.int64)

    def batch(self, rows: Tensor) -> Batch:
        return Batch(*self.text.gather(rows), *self.vision.gather(rows))

    def to(self, device: torch.device | str) -> "Samples":
        return Samples(self.ids, self.text.to(device), self.vision.to(device), self.digest)


def targets(labels: dict[str, np.ndarray], tasks: tuple[Task, ...]) -> Tensor:
    """Label columns {name: (N,) float with NaN for missing} -> targets (N, tasks) float32, NaN kept."""
    return torch.from_numpy(np.stack([task.target(labels[task.label]) for task in tasks], 1).astype(np.float32))


def epoch(lengths: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every position 0..N-1 once, in batches of similar length, both batches and their order random.

    Shuffled positions are cut into stretches of 16 batches, each sorted by length: little padding, much chance. A last
    batch of one is dropped, because it says nothing about its class.
    """
    order = torch.randperm(len(lengths), generator=generator)
    batches = []
    for stretch in order.split(16 * batch):
        batches += stretch[lengths[stretch].argsort(stable=True)].split(batch)
    batches = [rows for rows in batches if len(rows) > 1]
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[index]


def in_order(lengths: Tensor, batch: int) -> Iterator[Tensor]:
    """Every position once, shortest first: for evaluation, where order means nothing."""
    yield from lengths.argsort(stable=True).split(batch)


def hide_tokens(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Hide each token with probability `share`; a sample that would lose all keeps all of that modality."""
    masks = []
    for mask in (batch.text_mask, batch.vision_mask):
        kept = mask & (torch.rand(mask.shape, generator=generator) >= share).to(mask.device, non_blocking=True)
        masks.append(torch.where(kept.any(1, keepdim=True), kept, mask))
    return Batch(batch.text, masks[0], batch.vision, masks[1])


def hide_modality(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Hide the whole text or the whole vision, whichever a fair coin says, of each sample with probability `share`.

    Only samples with both are touched: none loses all (ModDrop, Neverova et al. 2016, arXiv 1501.00102). Nothing is
    drawn where `share` is 0.
    """
    if not share:
        return batch
    drawn, coin = torch.rand(2, len(batch.text), generator=generator).to(batch.text_mask.device, non_blocking=True)
    hidden = (drawn < share) & batch.text_mask.any(1) & batch.vision_mask.any(1)
    text, vision = (hidden & (coin < 0.5)).unsqueeze(1), (hidden & (coin >= 0.5)).unsqueeze(1)  # (B, 1)
    return Batch(batch.text, batch.text_mask & ~text, batch.vision, batch.vision_mask & ~vision)
