"""What GEXSent decides inside a forward pass and does not return: attention, pooling weights, routes.

Forward hooks keep the projections that the modules make, and the weights are computed from them once more. The tests
hold the result against what the modules pass on, so that a change of the model cannot leave this file behind.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gexsent.model import Batch, GEXSent, Output
from gexsent.model.batch import best
from gexsent.model.rows import Rows

OTHER = {"text": "vision", "vision": "text"}


@dataclass(frozen=True)
class Trace:
    """Weights of one batch. L is the length of the modality itself, M that of the other; 0 at padding.

    output: of the model.
    attention: {modality: (B, L, L)} gated self-attention, mean over heads; the rows of real tokens sum to 1.
    cross: {modality: (B, L, M)} from its tokens to the other modality's, mean over heads; rows sum to 1, or to 0 where
        there is nothing to look at.
    pool: {modality: (B, L)} share of each token in the pooled vector, gates included; sums to 1, or to 0 if absent.
    experts: {group: (B, positions, E)} gate of each expert for each token, 0 where it did not fire. The shared group's
        positions are those of both modalities, text first.
    """

    output: Output
    attention: dict[str, Tensor]
    cross: dict[str, Tensor]
    pool: dict[str, Tensor]
    experts: dict[str, Tensor]


@torch.no_grad()
def trace(model: GEXSent, batch: Batch) -> Trace:
    """Run the model and read what it decided. The model must be whole: hierarchical mixture and gated attention."""
    names = [f"experts.groups.{group}.router" for group in model.experts.groups]
    for m in OTHER:
        names += [f"attention.{m}.query_key_value", f"attention.{m}.cross.query", f"attention.{m}.cross.key_value"]
        names.append(f"pools.{m}.score")
    kept: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, result: kept.update({name: result})

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        output = model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    masks = {"text": batch.text_mask, "vision": batch.vision_mask}
    rows = {m: Rows(mask) for m, mask in masks.items()}
    attention, cross, pool = {}, {}, {}
    for m, other in OTHER.items():
        block, mask = model.attention[m], masks[m]
        gate = output.gates[m].unsqueeze(-1)  # (B, L, 1); 0 at padding, which is not read
        query, key, _ = rows[m].pad(kept[f"attention.{m}.query_key_value"]).chunk(3, -1)
        visible = mask | ~mask.any(1, keepdim=True)
        attention[m] = _weights(query * gate, key * gate, visible, block.heads) * mask.unsqueeze(-1)
        key = block.cross.first_nothing(kept[f"attention.{m}.cross.key_value"], rows[other]).chunk(2, -1)[0]
        absent = ~masks[other].any(1, keepdim=True)
        visible = torch.cat([absent, masks[other]], 1)  # the first is the learned token that stands for nothing
        weights = _weights(rows[m].pad(kept[f"attention.{m}.cross.query"]), key, visible, block.heads)
        cross[m] = weights[..., 1:] * mask.unsqueeze(-1)
        score = kept[f"pools.{m}.score"].squeeze(-1).masked_fill(~mask, -1e4).softmax(1)
        share = score * output.gates[m] * mask
        pool[m] = share / share.sum(1, keepdim=True).clamp_min(1e-6)
    routes = {}
    for group, experts in model.experts.groups.items():
        read = [rows[group]] if group in rows else [*rows.values()]
        gates = _gates(kept[f"experts.groups.{group}.router"], experts.top_k)
        parts = gates.split([part.count for part in read])
        routes[group] = torch.cat([part.pad(values) for part, values in zip(read, parts, strict=True)], 1)
    return Trace(output, attention, cross, pool, routes)


def _weights(query: Tensor, key: Tensor, mask: Tensor, heads: int) -> Tensor:
    """(B, L, d), (B, M, d), keys visible (B, M) -> softmax(q k' / sqrt(d_head)), mean over heads (B, L, M)."""
    query, key = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key))  # (B, heads, ., d_head)
    logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return logits.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1).mean(1)


def _gates(logits: Tensor, top_k: int) -> Tensor:
    """Router logits (N, E) -> gates (N, E): the softmax, renormalised over the chosen ones, 0 elsewhere."""
    top, chosen = best(logits.float().softmax(-1), top_k)
    return torch.zeros_like(logits.float()).scatter(1, chosen, top / top.sum(-1, keepdim=True))
