"""What is explained, one number a sample, and how that number changes when tokens are hidden.

Positions run over both modalities: T = Lt + Lv, the text tokens first. A hidden token is one that the mask takes away,
which is how training hides tokens (`training.data.hide_tokens`): the model has met such inputs, unlike zeros or noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gexsent.datasets import INTENSITY, SENTIMENT
from gexsent.model import Batch
from gexsent.tasks import Task

CHUNK = 512  # variants of samples in one forward pass: more gain nothing on a core, and cost memory


@dataclass(frozen=True)
class Target:
    """Support for what the model says of the whole input.

    It is positive for the whole input, positive relevance speaks for the prediction, hiding what mattered makes the score
    fall, and below zero the prediction is another one. For a regression it is the distance from 0 in the direction of the
    prediction, in the head's own units; for classes the log-odds of the predicted one against the strongest of the
    others; for yes or no the log-odds of the answer; for levels those of the nearer of the two thresholds around it.

    choice: (B,) sign, class, answer or level, as predicted from the whole input.
    """

    task: Task
    choice: Tensor

    @classmethod
    def of(cls, heads: dict[str, Tensor], task: Task | None = None) -> "Target":
        """What these head outputs say of a task; without one, of the intensity where there is such a head, else of the
        sentiment."""
        task = task or (INTENSITY if INTENSITY.name in heads else SENTIMENT)
        raw = heads[task.name]
        if task.kind == "classes":
            return cls(task, raw.argmax(1))
        if task.kind == "ordinal":
            return cls(task, (raw > 0).int().cumprod(1).sum(1))
        return cls(task, torch.where(raw[:, 0] < 0, -1.0, 1.0))

    def score(self, heads: dict[str, Tensor], rows: Tensor | None = None) -> Tensor:
        """Head outputs of N samples -> (N,); `rows` (N,) says which sample of the target each of them is."""
        choice = self.choice if rows is None else self.choice[rows]
        raw = heads[self.task.name]
        if self.task.kind in ("regression", "binary"):
            return choice * raw[:, 0]
        choice = choice[:, None]
        if self.task.kind == "classes":
            return raw.gather(1, choice)[:, 0] - raw.scatter(1, choice, -torch.inf).amax(1)
        ends = raw.new_full((len(raw), 1), torch.inf)
        passed, next_one = torch.cat([ends, raw], 1).gather(1, choice), torch.cat([-raw, ends], 1).gather(1, choice)
        return torch.minimum(passed, next_one)[:, 0]


@torch.no_grad()
def target_of(model: nn.Module, batch: Batch) -> Target:
    """The target that the model's own prediction sets."""
    return Target.of(model(batch).heads)


def real(batch: Batch) -> Tensor:
    """(B, T): True at the real tokens of both modalities."""
    return torch.cat([batch.text_mask, batch.vision_mask], 1)


def split(values: Tensor, batch: Batch) -> dict[str, Tensor]:
    """(B, T, ...) -> {text: (B, Lt, ...), vision: (B, Lv, ...)}."""
    text, vision = values.split([batch.text_mask.shape[1], batch.vision_mask.shape[1]], 1)
    return {"text": text, "vision": vision}


def hidden(batch: Batch, keep: Tensor) -> Batch:
    """The batch with every token hidden that `keep` (B, T) does not keep."""
    kept = split(keep, batch)
    return batch._replace(text_mask=batch.text_mask & kept["text"], vision_mask=batch.vision_mask & kept["vision"])


@torch.no_grad()
def scores_with(model: nn.Module, batch: Batch, target: Target, rows: Tensor, keep: Tensor) -> Tensor:
    """Variant n is sample rows[n] with the tokens that keep[n] keeps: (N,), (N, T) -> scores (N,).

    Variants that show the same are scored once: of many orders of few tokens a good part is.
    """
    shown = torch.cat([rows[:, None].int(), (keep & real(batch)[rows]).int()], 1)
    distinct, place = shown.unique(dim=0, return_inverse=True)
    results = [torch.zeros(0)]
    for part in distinct.split(CHUNK):
        own, kept = part[:, 0].long(), part[:, 1:].bool()
        variant = hidden(Batch(*(tensor[own] for tensor in batch)), kept)
        results.append(target.score(model(variant).heads, own))
    return torch.cat(results)[place]
