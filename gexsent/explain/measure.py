"""Every measurement of this folder for the samples of a batch, as rows of tables: what the stage averages."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gexsent.explain import faithful
from gexsent.explain.modality import guided, left_out
from gexsent.explain.relevance import METHODS, completeness
from gexsent.explain.target import Target, real, split, target_of
from gexsent.explain.trace import OTHER, trace
from gexsent.explain.truth import on_target
from gexsent.model import Batch, GEXSent, ModelConfig

RANDOM = "random"
KINDS = ("deletion", "insertion")
POINTS = [f"at_{fraction:g}" for fraction in faithful.FRACTIONS]


def measure(
    model: GEXSent,
    batch: Batch,
    ids: Sequence[str],
    generator: torch.Generator,
    right: Mapping[str, Tensor] | None = None,
) -> dict[str, pd.DataFrame]:
    """Tests of all methods on B samples.

    Args:
        ids: of the B samples.
        generator: of the random orders.
        right: {modality: (B, L)} the tokens that carry the label, where that is known.

    Returns:
        curves: id, method (and `random`), kind (deletion or insertion), one column a fraction.
        areas: id, method, deletion and insertion: how much better than random orders, in units of the score.
        agreement: id, first, second, correlation.
        modalities: id, score; `without_*` and `unguided_*` falls of the score; `turns_*` whether hiding that modality
            turns the prediction round; sizes of the `change` and `gap` of integrated gradients (`completeness`).
        truth: id, method, modality, mass, chance, hit; empty without `right`.
    """
    target, there = target_of(model, batch), real(batch)
    relevance = {name: method(model, batch, target) for name, method in METHODS.items()}
    curves = _curves(model, batch, target, relevance, generator)
    areas = []
    for name in relevance:
        gains = {
            kind: sign * (faithful.area(curves[name, kind]) - faithful.area(curves[RANDOM, kind])).numpy()
            for kind, sign in (("deletion", -1), ("insertion", 1))
        }
        areas.append(pd.DataFrame({"id": ids, "method": name, **gains}))
    pairs = [
        pd.DataFrame({"id": ids, "first": a, "second": b, "correlation": faithful.agreement(*values, there)})
        for a, b in combinations(METHODS, 2)
        if (values := (relevance[a], relevance[b]))
    ]
    score = curves[RANDOM, "deletion"][:, 0]
    change, gap = completeness(model, batch, target, relevance["gradients"])
    falls = {"without": left_out(model, batch, target), "unguided": guided(model, batch, target)}
    modalities = {f"{kind}_{m}": fall.numpy() for kind, parts in falls.items() for m, fall in parts.items()}
    turns = {f"turns_{m}": (fall > score).numpy() for m, fall in falls["without"].items()}
    own = {"score": score.numpy(), "change": change.abs().numpy(), "gap": gap.abs().numpy()}
    on_right = [
        pd.DataFrame({"id": ids, "method": name, "modality": m} | {k: v.numpy() for k, v in shares.items()})
        for name, values in relevance.items()
        for m in right or {}
        if (shares := on_target(split(values, batch)[m], right[m], split(there, batch)[m]))
    ]
    return {
        "curves": pd.concat(
            pd.DataFrame({"id": ids, "method": name, "kind": kind} | dict(zip(POINTS, points.T.numpy(), strict=True)))
            for (name, kind), points in curves.items()
        ),
        "areas": pd.concat(areas),
        "agreement": pd.concat(pairs),
        "modalities": pd.DataFrame({"id": ids, **own, **modalities, **turns}),
        "truth": pd.concat(on_right) if on_right else pd.DataFrame(),
    }


def _curves(
    model: GEXSent, batch: Batch, target: Target, relevance: Mapping[str, Tensor], generator: torch.Generator
) -> dict[tuple[str, str], Tensor]:
    """{(method, kind): (B, FRACTIONS)}, RANDOM first, which is the mean over its orders."""
    orders = [(RANDOM, kind, draw) for kind in KINDS for draw in faithful.random_orders(batch, generator)]
    orders += [(name, kind, values) for name, values in relevance.items() for kind in KINDS]
    found = faithful.curves(model, batch, target, [(values, kind == "insertion") for _, kind, values in orders])
    parts: dict[tuple[str, str], list[Tensor]] = {}
    for (name, kind, _), points in zip(orders, found, strict=True):
        parts.setdefault((name, kind), []).append(points)
    return {key: torch.stack(points).mean(0) for key, points in parts.items()}


def routing(model: GEXSent, batch: Batch, ids: Sequence[str], word: Tensor | None = None) -> dict[str, pd.DataFrame]:
    """What gates and routers do on B samples.

    Args:
        word: (B, Lt) True at the token whose gate is asked for apart from the others.

    Returns:
        gates: id, mean gate of the text, the vision and the word; shares of the three groups. NaN where there is none.
        experts: id, group, expert, share: of the assignments of this sample's tokens inside the group.
    """
    seen = trace(model, batch)
    masks = {"text": batch.text_mask, "vision": batch.vision_mask}
    gates = {m: _mean(seen.output.gates[m], masks[m]) for m in OTHER}
    if word is not None:
        gates["word"] = _mean(seen.output.gates["text"], word & batch.text_mask)
    shares = {f"share_{g}": seen.output.shares[:, i].numpy() for i, g in enumerate(("text", "vision", "shared"))}
    experts = []
    for group, values in seen.experts.items():
        fired = (values > 0).sum(1).double()  # (B, E)
        share = (fired / fired.sum(1, keepdim=True)).numpy()  # NaN where the group had no token
        experts += [
            pd.DataFrame({"id": ids, "group": group, "expert": expert + 1, "share": column})
            for expert, column in enumerate(share.T)
        ]
    return {
        "gates": pd.DataFrame({"id": ids} | {f"gate_{k}": v for k, v in gates.items()} | shares),
        "experts": pd.concat(experts),
    }


def sanity(model: GEXSent, config: ModelConfig, batch: Batch, ids: Sequence[str], *, seed: int) -> pd.DataFrame:
    """Columns id, method, part, correlation: of a method with itself after the weights down to `part` are drawn anew."""
    there, target = real(batch), target_of(model, batch)
    before = {name: method(model, batch, target) for name, method in METHODS.items()}
    rows = []
    for part in faithful.PARTS:
        changed = faithful.randomised(model, config, part, seed=seed)
        again = target_of(changed, batch)
        for name, method in METHODS.items():
            same = faithful.agreement(before[name], method(changed, batch, again), there)
            rows.append(pd.DataFrame({"id": ids, "method": name, "part": part, "correlation": same}))
    return pd.concat(rows)


def _mean(values: Tensor, mask: Tensor) -> np.ndarray:
    """(B, L) -> (B,): mean over the mask, NaN where it is empty."""
    return ((values * mask).sum(1) / mask.sum(1)).numpy()
