"""Damaged input: what each protocol takes away from a model, and what the model then predicts.

Text tokens are frozen states on disk. Hiding some of them is quick and kinder than it looks: those that stay have read
those that went. The exact protocol (LNLN, Zhang et al. 2024, arXiv 2409.20012) masks words *before* the encoder reads
them; `conditions` takes such texts, encoded anew, beside the samples. Everything here is drawn once for all rows from a
seed of its own, so that every system meets the same damage and a batch's size or order changes nothing. What is lost
at a level is lost at each higher one too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gexsent.decode import decode
from gexsent.model import Batch, Output
from gexsent.tasks import Task
from gexsent.training.data import Samples, Tokens, in_order

# Protocol -> levels, the first of which is no damage.
LEVELS = {
    "tokens": tuple(tenth / 10 for tenth in range(10)),  # share of the token features of each modality
    "words": (0.0, 0.3, 0.6, 0.9),  # the same, text masked before the encoder
    "typos": (0.0, 0.05, 0.1, 0.2),  # share of the letters, before the encoder
    "noise": (0.0, 0.5, 1.0, 2.0),  # on visual features, in their own deviations
    "no_text": (0.0, 0.25, 0.5, 0.75, 1.0),  # share of the samples that lose all of it
    "no_vision": (0.0, 0.25, 0.5, 0.75, 1.0),
}
WHOLE = "whole"  # the condition without damage: level 0 of every protocol
GROUPS = ("text", "vision", "shared")  # of experts, in the order of Output.shares
Fit = tuple[str, int]  # system and seed
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Condition:
    """One level of one protocol in one draw."""

    protocol: str
    level: float
    draw: int = 0


@dataclass(frozen=True)
class Damaged:
    """Samples whose batches are changed on their way to the model: all that `forward` asks of Samples."""

    samples: Samples
    change: Callable[[Batch, Tensor], Batch]  # a batch and the rows (B,) that it was made of

    @property
    def text(self) -> Tokens:
        return self.samples.text

    def batch(self, rows: Tensor) -> Batch:
        return self.change(self.samples.batch(rows), rows)


def dropped_positions(lengths: Tensor, rate: float, seed: int) -> Tensor:
    """Lengths (N,) -> (N, longest) bool, True at positions to drop.

    Of n tokens rate·n are dropped, rounded up or down by chance so that the mean is exact: a sample of a single token
    loses it with probability `rate`. The same seed gives nested sets.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = lengths.cpu().unsqueeze(1)  # (N, 1)
    scores = torch.rand(len(lengths), max(1, int(lengths.max())), generator=generator)
    spare = torch.rand(len(lengths), 1, generator=generator)
    there = torch.arange(scores.shape[1]) < lengths
    rank = scores.masked_fill(~there, 2).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return there & (rank < (rate * lengths + spare).floor())


def hide_text(batch: Batch, dropped: Tensor) -> Batch:
    """Take positions (B, ≥ Lt) out of the text's mask. A text that loses all of them is absent."""
    return batch._replace(text_mask=batch.text_mask & ~dropped[:, : batch.text_mask.shape[1]])


def blank_vision(batch: Batch, dropped: Tensor, fill: Tensor) -> Batch:
    """Put the mean feature (Dv,), which is zero to a model that standardises, at positions (B, ≥ Lv); the mask stays."""
    blank = dropped[:, : batch.vision_mask.shape[1]].unsqueeze(-1)
    return batch._replace(vision=torch.where(blank, fill, batch.vision))


def without(batch: Batch, modality: str) -> Batch:
    """Take `text` or `vision` away from every sample."""
    name = f"{modality}_mask"
    return batch._replace(**{name: torch.zeros_like(getattr(batch, name))})


def add_noise(tokens: Tokens, level: float, deviation: Tensor, seed: int) -> Tokens:
    """Gaussian noise of `level` deviations (D,) on every token. The same seed gives the same noise, scaled."""
    noise = torch.randn(tokens.values.shape, generator=torch.Generator().manual_seed(seed))
    return Tokens(tokens.values.float() + level * (deviation * noise).to(tokens.values.device), tokens.offsets)


def lost_samples(count: int, share: float, seed: int) -> np.ndarray:
    """(count,) bool: a share of the samples, to the nearest whole number, drawn at random; nested for one seed."""
    return np.random.default_rng(seed).permutation(count) < round(share * count)


def conditions(
    samples: Samples,
    *,
    fill: Tensor,
    deviation: Tensor,
    draws: int,
    read_anew: Iterable[tuple[Condition, Tokens]] = (),
) -> Iterator[tuple[Condition, Samples | Damaged]]:
    """Every condition that needs a forward pass, with the samples as they are seen in it.

    What concerns vision, or the loss of one of two modalities, is left out where no sample has vision.

    Args:
        fill, deviation: mean and deviation (Dv,) of the visual tokens that training saw.
        draws: how often masks and noise are drawn.
        read_anew: text features of all samples under damage that was done before the encoder.
    """
    device = samples.text.values.device
    fill = fill.to(device)
    has_vision = bool((samples.vision.lengths > 0).any())

    def gaps(tokens: Tokens, rate: float, seed: int) -> Tensor:
        return dropped_positions(tokens.lengths, rate, seed).to(device)

    yield Condition(WHOLE, 0.0), samples
    for draw in range(draws):
        for rate in LEVELS["tokens"][1:]:
            text, vision = gaps(samples.text, rate, 4 * draw), gaps(samples.vision, rate, 4 * draw + 1)
            yield (
                Condition("tokens", rate, draw),
                Damaged(samples, lambda b, rows, t=text, v=vision: blank_vision(hide_text(b, t[rows]), v[rows], fill)),
            )
        for level in LEVELS["noise"][1:] if has_vision else ():
            noisy = add_noise(samples.vision, level, deviation, 4 * draw + 2)
            yield Condition("noise", level, draw), replace(samples, vision=noisy)
    for modality in ("text", "vision") if has_vision else ():
        yield (
            Condition(f"no_{modality}", 1.0),
            Damaged(samples, lambda batch, rows, m=modality: without(batch, m)),
        )
    for condition, text in read_anew:
        seen = replace(samples, text=text)
        if condition.protocol == "words":
            vision = gaps(samples.vision, condition.level, 4 * condition.draw + 1)
            seen = Damaged(seen, lambda batch, rows, v=vision: blank_vision(batch, v[rows], fill))
        yield condition, seen


def predict(
    models: Mapping[Fit, nn.Module],
    views: Iterable[tuple[Condition, Samples | Damaged]],
    rows: Tensor,
    tasks: Sequence[Task],
    *,
    draws: int,
    batch: int,
) -> Iterator[tuple[Condition, Fit, Columns]]:
    """What `forward` gives for `rows`, of every model under every condition that is its own.

    The draws are dealt out to the seeds: there are as many runs as seeds or draws, whichever are more.
    """
    seeds = sorted({seed for _, seed in models})
    for condition, view in views:
        seen = list(inputs(view, rows, batch=batch))  # padded and damaged once for all models
        for fit, model in models.items():
            shared = condition.protocol in (WHOLE, "no_text", "no_vision")
            if shared or condition.draw in draws_of(seeds.index(fit[1]), len(seeds), draws):
                yield condition, fit, forward(model, seen, tasks)


def inputs(view: Samples | Damaged, rows: Tensor, *, batch: int) -> Iterator[tuple[Tensor, Batch]]:
    """Batches of samples of similar length, each with the places in `rows` (N,) that it was made of."""
    for picked in in_order(view.text.lengths[rows], batch):
        yield picked, view.batch(rows[picked])


@torch.inference_mode()
def forward(model: nn.Module, seen: Iterable[tuple[Tensor, Batch]], tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """Prediction columns (N,) for the rows that `inputs` were made of, in their order.

    Of a model whose experts stand in groups also `share_<group>` of each, and `gate_<modality>`: the mean gate over the
    tokens of a sample that are still there, NaN where there is none.
    """
    model.eval()
    order, heads, routes = [], [], []
    for picked, part in seen:
        output = model(part)
        order.append(picked)
        heads.append({name: value.float().cpu() for name, value in output.heads.items()})
        routes.append(_routes(output, part))
    back = torch.cat(order).argsort(stable=True)
    heads, routes = (
        {name: torch.cat([part[name] for part in parts])[back].numpy() for name in parts[0]}
        for parts in (heads, routes)
    )
    return decode(heads, tasks) | routes


def _routes(output: Output, batch: Batch) -> dict[str, Tensor]:
    if output.shares is None:
        return {}
    shares = dict(zip((f"share_{group}" for group in GROUPS), output.shares.float().cpu().unbind(1), strict=True))
    masks = {"text": batch.text_mask, "vision": batch.vision_mask}
    gates = {
        f"gate_{m}": (output.gates[m].sum(1) / mask.sum(1)).float().cpu() for m, mask in masks.items()
    }  # 0 / 0: NaN
    return shares | gates


def routing(outcomes: Mapping[Fit, Mapping[Condition, Columns]]) -> pd.DataFrame:
    """Columns system, seed, protocol, level, draw, and the means of `share_*` and `gate_*` over the samples that have one:
    a row a fit and condition, of the models that have groups of experts."""
    records = []
    for (system, seed), found in outcomes.items():
        for condition, columns in found.items():
            means = {
                name: float(pd.Series(values).mean())
                for name, values in columns.items()
                if name.startswith(("share_", "gate_"))
            }
            if means:
                records.append({"system": system, "seed": seed} | asdict(condition) | means)
    return pd.DataFrame(records).round(6)


def draws_of(seed: int, seeds: int, draws: int) -> list[int]:
    """The draws that the fits of one seed meet: 3 seeds and 2 draws are the runs (0, 0), (1, 1), (2, 0)."""
    return sorted({run % draws for run in range(max(seeds, draws)) if run % seeds == seed})


def mixed(whole: Columns, gone: Columns, protocol: str, draws: Iterable[int]) -> Iterator[tuple[Condition, Columns]]:
    """The levels of `no_text` or `no_vision` between none and all: a model sees each sample by itself, so that its
    predictions for a share of damaged samples are those of both extremes, put together."""
    count = len(next(iter(whole.values())))
    for draw in draws:
        for level in LEVELS[protocol][1:]:
            lost = lost_samples(count, level, 4 * draw + 3)
            columns = {name: np.where(lost, gone[name], whole[name]) for name in whole}
            yield Condition(protocol, level, draw), columns
