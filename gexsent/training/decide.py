"""Decision thresholds: the shift of each class's logit that makes the expected macro-F1 largest.

Macro-F1 is not won by the most probable class: a rare class would hardly ever be chosen. Given the model's own class
probabilities p (N, K), choosing n_c samples of class c has the expected score mean over c of

    2 * sum of p[chosen as c, c] / (n_c + sum of p[:, c])

(the plug-in rule of Lipton et al. 2014, arXiv 1402.1892, and Dembczynski et al. 2013, with the macro average over
classes). Where the model knows nothing it chooses each class as often as it occurs; where it knows much it chooses the
most probable one. No label is used: the shifts are found on the model's scores of the validation rows.
"""

import torch
from torch import Tensor

from gexsent.tasks import Task

CANDIDATES = 129  # of each shift in one sweep
SWEEPS = 4  # of coordinate ascent over the shifts; more change nothing


def probabilities(task: Task, logits: Tensor) -> Tensor:
    """Logits (N, outputs) whose softmax or sigmoid is a frequency -> class or level probabilities (N, K)."""
    if task.kind == "classes":
        return logits.softmax(1)
    above = logits.sigmoid().cummin(1).values  # P(level > k) falls with k, whatever the heads say
    above = torch.cat([torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])], 1)
    return above[:, :-1] - above[:, 1:]


def decisions(task: Task, scores: Tensor) -> Tensor:
    """Scores (..., N, outputs) -> class or level index (..., N), as `decode` reads them."""
    if task.kind == "classes":
        return scores.argmax(-1)
    return (scores > 0).int().cumprod(-1).sum(-1)


def expected_macro_f1(probability: Tensor, chosen: Tensor) -> Tensor:
    """(N, K), (..., N) indices -> (...): the mean over classes of the expected F1."""
    picked = torch.nn.functional.one_hot(chosen.long(), probability.shape[1]).to(probability.dtype)  # (..., N, K)
    hits = (picked * probability).sum(-2)
    return (2 * hits / (picked.sum(-2) + probability.sum(0)).clamp_min(1e-12)).mean(-1)


def best_shifts(task: Task, scores: Tensor, frequency_logits: Tensor) -> Tensor:
    """Shifts (outputs,) to add to the scores so that the expected macro-F1 of the decisions is largest.

    Args:
        scores: (N, outputs) of the rows that decide.
        frequency_logits: (N, outputs) the same with the correction of training, so that they mean frequencies.
    """
    scores = scores.double()
    probability = probabilities(task, frequency_logits.double())
    shifts = torch.zeros(scores.shape[1], dtype=torch.float64)
    best = expected_macro_f1(probability, decisions(task, scores))
    for _ in range(SWEEPS):
        for output in range(len(shifts)):
            tried = shifts.repeat(CANDIDATES, 1)
            tried[:, output] = _candidates(task, scores + shifts, output) + shifts[output]
            values = expected_macro_f1(probability, decisions(task, scores + tried[:, None]))
            # Between equal values take the least change, so that a flat stretch does not drag a shift far away.
            values = values - 1e-9 * (tried[:, output] - shifts[output]).abs()
            if values.max() > best + 1e-9:
                best, shifts = values.max(), tried[values.argmax()]
    return shifts.float()


def _candidates(task: Task, scores: Tensor, output: int) -> Tensor:
    # Changes of one shift at which evenly many rows change their decision.
    if task.kind == "classes":
        others = scores.clone()
        others[:, output] = float("-inf")
        margin = others.max(1).values - scores[:, output]
    else:
        margin = -scores[:, output]
    return margin.quantile(torch.linspace(0, 1, CANDIDATES, dtype=margin.dtype)) + 1e-6
