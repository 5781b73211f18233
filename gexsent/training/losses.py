"""Losses of the four kinds of task, missing labels left out, uneven classes corrected by logit adjustment.

Logit adjustment (Menon et al. 2021, arXiv 2007.07314): while training, the log of each class's share among the
training labels is added to its logit. The plain logits then learn what the scores would be if classes were equally
frequent, which is what a macro average rewards. `balance` scales the added term; 0 turns the correction off.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gexsent.tasks import Task


@dataclass(frozen=True)
class Criterion:
    """Loss of one model, made from training targets alone.

    Args:
        tasks: in the order of the target columns.
        shifts: {task: (outputs,)} what is added to the logits while training; empty for regression.
    """

    tasks: tuple[Task, ...]
    shifts: dict[str, Tensor]

    @classmethod
    def fit(cls, tasks: tuple[Task, ...], targets: Tensor, balance: float) -> "Criterion":
        """Count classes among the training targets (N, tasks), with one added to each count."""
        shifts = {}
        for column, task in enumerate(tasks):
            known = targets[:, column]
            known = known[~known.isnan()]
            if task.kind == "classes":
                counts = torch.bincount(known.long(), minlength=task.outputs) + 1.0
                shifts[task.name] = balance * (counts / counts.sum()).log()
            elif task.kind in ("binary", "ordinal"):
                above = (known[:, None] > torch.arange(task.outputs)).sum(0) + 1.0  # (outputs,)
                shifts[task.name] = balance * (above / (len(known) + 2 - above)).log()
        return cls(tasks, shifts)

    def to(self, device: torch.device | str) -> "Criterion":
        return Criterion(self.tasks, {name: shift.to(device) for name, shift in self.shifts.items()})

    def __call__(self, heads: dict[str, Tensor], targets: Tensor) -> dict[str, Tensor]:
        """Heads {task: (B, outputs)}, targets (B, tasks) -> {task: ()}; 0 for a task without a label in the batch."""
        losses = {}
        for column, task in enumerate(self.tasks):
            target, scores = targets[:, column], heads[task.name].float()
            known = ~target.isnan()  # (B,); multiplied with and not picked by, or the host would wait for their number
            target = torch.where(known, target, 0)
            if task.kind == "regression":
                each = (scores[:, 0] - target).abs()  # (B,)
            elif task.kind == "classes":
                each = F.cross_entropy(scores + self.shifts[task.name], target.long(), reduction="none")
            else:
                above = (target[:, None] > torch.arange(task.outputs, device=target.device)).to(scores.dtype)
                shifted = scores + self.shifts[task.name]
                each = F.binary_cross_entropy_with_logits(shifted, above, reduction="none").mean(1)
            losses[task.name] = torch.where(known, each, 0).sum() / known.sum().clamp_min(1)
        return losses


def total(losses: dict[str, Tensor]) -> Tensor:
    """The plain mean over tasks: no task is worth more than another."""
    return torch.stack(list(losses.values())).mean()
