"""Hierarchical gated mixture of experts (H-GMoE).

Two decisions, each made from the input. For every *token*, a router picks top-k experts inside a group. For every
*sample*, a second router weighs the three groups: experts for text, experts for vision, experts shared by both.
Sources: Jordan and Jacobs 1994 (hierarchical mixtures), Shazeer et al. 2017 (top-k gating, arXiv 1701.06538),
Fedus et al. 2021 (load balance, 2101.03961), Zoph et al. 2022 (router z-loss, 2202.08906).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gexsent.model.batch import best, masked_mean
from gexsent.model.rows import Rows, join, readable


class Routed(NamedTuple):
    """Result of one group for N tokens and E experts."""

    tokens: Tensor  # (N, d)
    gates: Tensor  # (N, k) weights of the chosen experts, summing to 1
    chosen: Tensor  # (N, k) indices of the chosen experts
    usage: Tensor  # (E,) share of the assignments, summing to 1
    balance: Tensor  # () E * sum(usage * mean router probability): 1 when even, E when all go to one expert
    z: Tensor  # () mean squared logsumexp of the router's logits


class Mixed(NamedTuple):
    """Result of the hierarchical mixture. Losses are unweighted, `balance` and `z` summed over the groups."""

    text: Tensor  # (B, Lt, d)
    vision: Tensor  # (B, Lv, d)
    shares: Tensor | None  # (B, 3) weights of the text, vision and shared group; none where there are no groups
    losses: dict[str, Tensor]  # balance, z, group
    usage: dict[str, Tensor]  # {group: (E,)}


class SortedExperts(torch.autograd.Function):
    """The experts on rows that are sorted by expert, each from its first product to its last while its rows are at hand.

    The same as `torch.cat([expert(i, part) for i, part in enumerate(rows.split(counts))])`, without the copies: of parts
    into a whole, and in the backward pass of each expert's gradient into zeros as large as all weights.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *weights_and_counts: Any) -> Tensor:
        """Rows (M, d), weights (E, d, 2 h), (E, 2 h), (E, h, d), (E, d), and E numbers that sum to M -> (M, d)."""
        w_in, b_in, w_out, b_out, counts = weights_and_counts
        inner = rows.new_empty(len(rows), w_in.shape[2])
        hidden, result = rows.new_empty(len(rows), w_out.shape[1]), torch.empty_like(rows)
        parts = zip(*(tensor.split(counts) for tensor in (rows, inner, hidden, result)), strict=True)
        for index, (part, part_inner, part_hidden, part_result) in enumerate(parts):
            torch.addmm(b_in[index], part, w_in[index], out=part_inner)
            value, gate = part_inner.chunk(2, -1)
            torch.mul(value, F.gelu(gate), out=part_hidden)
            torch.addmm(b_out[index], part_hidden, w_out[index], out=part_result)
        ctx.save_for_backward(rows, inner, hidden, w_in, w_out)
        ctx.counts = counts
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, hidden, w_in, w_out = ctx.saved_tensors
        to_rows, to_w_in, to_w_out = (torch.empty_like(tensor) for tensor in (rows, w_in, w_out))
        to_b_in, to_b_out = w_in.new_empty(w_in.shape[0], w_in.shape[2]), w_in.new_empty(w_in.shape[:2])
        parts = zip(*(tensor.split(ctx.counts) for tensor in (rows, inner, hidden, grad, to_rows)), strict=True)
        for index, (part, part_inner, part_hidden, to_result, to_part) in enumerate(parts):
            torch.mm(part_hidden.T, to_result, out=to_w_out[index])
            torch.sum(to_result, 0, out=to_b_out[index])
            to_hidden = to_result @ w_out[index].T
            value, gate = part_inner.chunk(2, -1)
            to_inner = torch.empty_like(part_inner)
            to_value, to_gate = to_inner.chunk(2, -1)
            torch.mul(to_hidden, F.gelu(gate), out=to_value)
            to_gate.copy_(torch.ops.aten.gelu_backward(to_hidden * value, gate))
            torch.mm(part.T, to_inner, out=to_w_in[index])
            torch.sum(to_inner, 0, out=to_b_in[index])
            torch.mm(to_inner, w_in[index].T, out=to_part)
        return to_rows, to_w_in, to_b_in, to_w_out, to_b_out, None


class ExpertGroup(nn.Module):
    """E gated feed-forward experts (GEGLU) behind a top-k router, without the residual.

    y = sum over the chosen i of g_i E_i(h), where g renormalises the router's softmax over the chosen ones.

    Args:
        width: d of the tokens.
        hidden: inner width of an expert.
        count: number of experts E.
        top_k: experts per token; equal to `count` it is the dense mixture. With 1 the renormalised gate is always 1, and
            the router learns from its auxiliary losses alone.
        learned_router: else the router keeps its random weights, and nothing that it reads learns from it where to go:
            what learning to route is worth.
    """

    def __init__(self, width: int, *, hidden: int, count: int, top_k: int, learned_router: bool = True):
        super().__init__()
        if not 1 <= top_k <= count:
            raise ValueError(f"top_k must lie between 1 and the number of experts {count}, found {top_k}")
        self.count, self.top_k, self.learned_router = count, top_k, learned_router
        self.router = nn.Linear(width, count, bias=False).requires_grad_(learned_router)
        self.w_in = nn.Parameter(torch.empty(count, width, 2 * hidden))
        self.b_in = nn.Parameter(torch.zeros(count, 2 * hidden))
        self.w_out = nn.Parameter(torch.empty(count, hidden, width))
        self.b_out = nn.Parameter(torch.zeros(count, width))
        for weight in (self.w_in, self.w_out):
            nn.init.uniform_(weight, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)

    def expert(self, index: int, tokens: Tensor) -> Tensor:
        """(n, d) -> (n, d) through one expert."""
        value, gate = (tokens @ self.w_in[index] + self.b_in[index]).chunk(2, -1)
        return (value * F.gelu(gate)) @ self.w_out[index] + self.b_out[index]

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Routed:
        """(N, d) -> the same tokens through their experts. Rows that are not `real` (N,) count for nothing in usage and
        losses; without it all are."""
        seen = tokens if self.learned_router else tokens.detach()
        logits = self.router(seen).float()  # (N, E): routing is decided in full precision
        probability = logits.softmax(-1)
        top, chosen = best(probability, self.top_k)
        gates = top / top.sum(-1, keepdim=True)  # (N, k)
        kept = torch.ones_like(top[:, :1]) if real is None else real.unsqueeze(1).to(top.dtype)  # (N, 1)
        total = kept.sum().clamp_min(1)  # over no tokens at all (a batch without vision) a mean is 0, not NaN
        fired = torch.zeros_like(probability).scatter(1, chosen, kept.expand_as(top))  # (N, E), 1 at the chosen ones
        usage = fired.sum(0) / (self.top_k * total)
        compute = self._sorted if readable(tokens) else self._dense
        return Routed(
            tokens=compute(tokens, gates, chosen),
            gates=gates,
            chosen=chosen,
            usage=usage,
            balance=self.count * (usage * (probability * kept).sum(0) / total).sum(),
            z=(logits.logsumexp(-1).square() * kept[:, 0]).sum() / total,
        )

    def _sorted(self, tokens: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        # Assignments sorted by expert make each expert one matrix product, and no product is wasted on a token that
        # did not choose it.
        order = chosen.flatten().argsort(stable=True)  # (N k)
        counts = torch.bincount(chosen.flatten(), minlength=self.count).tolist()
        owner = order // self.top_k  # (N k) the token that an assignment is of
        weights = self.w_in, self.b_in, self.w_out, self.b_out
        results = SortedExperts.apply(tokens.index_select(0, owner), *weights, counts)  # (N k, d)
        weighted = results * gates.flatten().index_select(0, order).unsqueeze(1)
        return torch.zeros_like(tokens).index_add(0, owner, weighted)

    def _dense(self, tokens: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        # E / k times as many products, but the host need not wait for the device to say who chose what.
        weights = torch.zeros(len(tokens), self.count, device=tokens.device).scatter(1, chosen, gates.float())  # (N, E)
        inner = torch.einsum("nd,edh->neh", tokens, self.w_in) + self.b_in
        value, gate = inner.chunk(2, -1)
        hidden = value * F.gelu(gate) * weights.to(inner.dtype).unsqueeze(-1)  # (N, E, h)
        return hidden.flatten(1) @ self.w_out.flatten(0, 1) + weights.to(inner.dtype) @ self.b_out


class HierarchicalMixture(nn.Module):
    """H-GMoE over both modalities: h + share[m] * own experts(h) + share[shared] * shared experts(h).

    Args:
        width: d of the tokens.
        hidden, count, top_k, learned_router: of each of the three groups, see ExpertGroup.
        sample_level: else the groups that a sample can use have equal weights.
        shared_group: else there are no shared experts, and their share is 0.
    """

    GROUPS = ("text", "vision", "shared")

    def __init__(
        self,
        width: int,
        *,
        hidden: int,
        count: int,
        top_k: int,
        learned_router: bool = True,
        sample_level: bool = True,
        shared_group: bool = True,
    ):
        super().__init__()
        self.shared_group = shared_group
        self.norms = nn.ModuleDict({m: nn.LayerNorm(width) for m in ("text", "vision")})
        self.groups = nn.ModuleDict(
            {
                group: ExpertGroup(width, hidden=hidden, count=count, top_k=top_k, learned_router=learned_router)
                for group in self.GROUPS
                if shared_group or group != "shared"
            }
        )
        # Reads pooled text, pooled vision and two presence flags.
        self.router = nn.Linear(2 * width + 2, len(self.GROUPS)) if sample_level else None

    def forward(self, text: Tensor, text_mask: Tensor, vision: Tensor, vision_mask: Tensor) -> Mixed:
        """(B, Lt, d), (B, Lt), (B, Lv, d), (B, Lv) -> the same tokens after the experts."""
        masks = {"text": text_mask, "vision": vision_mask}
        rows = {m: Rows(mask) for m, mask in masks.items()}
        packed = {
            m: self.norms[m](rows[m].pack(tokens)) for m, tokens in (("text", text), ("vision", vision))
        }  # (N_m, d)
        present = torch.stack([text_mask.any(1), vision_mask.any(1)], 1)  # (B, 2)
        shares = self.shares({m: rows[m].pad(packed[m]) for m in masks}, masks, present)  # (B, 3)

        routed = {m: self.groups[m](packed[m], rows[m].real) for m in masks}
        update = {m: rows[m].each(shares[:, i]) * routed[m].tokens for i, m in enumerate(masks)}  # (N_m, d)
        if self.shared_group:
            routed["shared"] = self.groups["shared"](torch.cat([*packed.values()]), join(*rows.values()))
            parts = routed["shared"].tokens.split([len(part) for part in packed.values()])
            for modality, part in zip(masks, parts, strict=True):
                update[modality] = update[modality] + rows[modality].each(shares[:, 2]) * part
        losses = {
            "balance": sum(r.balance for r in routed.values()),
            "z": sum(r.z for r in routed.values()),
            "group": self._group_balance(shares, present),
        }
        return Mixed(
            text + rows["text"].pad(update["text"]),
            vision + rows["vision"].pad(update["vision"]),
            shares,
            losses,
            {group: r.usage for group, r in routed.items()},
        )

    def shares(self, hidden: dict[str, Tensor], masks: dict[str, Tensor], present: Tensor) -> Tensor:
        """(B, 3): softmax over text, vision and shared; exactly 0 for the group of an absent modality."""
        # Without a shared group a sample with nothing in it is still given a share, of nothing: softmax needs one.
        shared = torch.ones_like(present[:, :1]) if self.shared_group else ~present.any(1, keepdim=True)
        allowed = torch.cat([present, shared], 1)  # (B, 3)
        if self.router is None:
            logits = torch.zeros(allowed.shape, device=present.device)
        else:
            pooled = [masked_mean(hidden[m], masks[m]) for m in ("text", "vision")]
            logits = self.router(torch.cat([*pooled, present.to(pooled[0].dtype)], 1)).float()  # (B, 3)
        return logits.masked_fill(~allowed, float("-inf")).softmax(-1)

    def _group_balance(self, shares: Tensor, present: Tensor) -> Tensor:
        # Squared coefficient of variation of the mean shares, over samples that have both modalities: elsewhere
        # imbalance is the truth, not a fault.
        both = present.all(1).to(shares.dtype).unsqueeze(1)  # (B, 1)
        mean = (shares * both).sum(0) / both.sum().clamp_min(1)  # (3,)
        return len(self.groups) * mean.square().sum() - mean.sum().square()


class FlatMixture(nn.Module):
    """The control without a hierarchy: one group of experts for the tokens of both modalities, h + experts(h).

    With `count` three times that of HierarchicalMixture it has as many weights (but for the routers), and with one
    expert three times as wide for each of those it is a dense feed-forward network.

    Args:
        width: d of the tokens.
        hidden, count, top_k: see ExpertGroup.
    """

    def __init__(self, width: int, *, hidden: int, count: int, top_k: int):
        super().__init__()
        self.norms = nn.ModuleDict({m: nn.LayerNorm(width) for m in ("text", "vision")})
        self.group = ExpertGroup(width, hidden=hidden, count=count, top_k=top_k, learned_router=count > 1)

    def forward(self, text: Tensor, text_mask: Tensor, vision: Tensor, vision_mask: Tensor) -> Mixed:
        """(B, Lt, d), (B, Lt), (B, Lv, d), (B, Lv) -> the same tokens after the experts; no shares."""
        rows = Rows(text_mask), Rows(vision_mask)
        packed = [self.norms["text"](rows[0].pack(text)), self.norms["vision"](rows[1].pack(vision))]
        routed = self.group(torch.cat(packed), join(*rows))
        from_text, from_vision = routed.tokens.split([len(part) for part in packed])
        # One expert has nothing to balance.
        losses = {"balance": routed.balance, "z": routed.z} if self.group.count > 1 else {}
        return Mixed(
            text + rows[0].pad(from_text), vision + rows[1].pad(from_vision), None, losses, {"all": routed.usage}
        )
