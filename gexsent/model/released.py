"""What the released GEXSent code computes, with the same parameter names, faults included.

The faults are kept because they are the thing to be measured: expert weights are not renormalised, no padding is
masked, and the "gate" averages a softmax over the same ten numbers that it normalises, so that it is 0.1 for every
token of every sample and cannot gate.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexsent.errors import DataError
from gexsent.model.batch import Batch, Output, best, masked_mean
from gexsent.model.rows import readable

MAX_TOKENS = 24
MAX_FRAMES = 370
EXPERTS = 10


class VisionLSTM(nn.Module):
    """(B, F, D) -> (B, F, 768): two-layer LSTM, linear, dropout."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.lstm = nn.LSTM(features, 128, num_layers=2, batch_first=True)
        self.fc = nn.Linear(128, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, frames: Tensor) -> Tensor:
        return self.dropout(self.fc(self.lstm(frames)[0]))


class Experts(nn.Module):
    """Ten linear experts; the two with the largest gate weights are summed, their weights left as they are."""

    def __init__(self, features: int, width: int, *, renormalise: bool):
        super().__init__()
        self.renormalise = renormalise
        self.gate = nn.Linear(features, EXPERTS)
        self.expert_nets = nn.ModuleList(nn.Linear(features, width) for _ in range(EXPERTS))

    def forward(self, tokens: Tensor) -> Tensor:
        weights, chosen = best(self.gate(tokens).softmax(-1), 2)  # (B, L, 2)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        flat, weights, chosen = tokens.flatten(0, 1), weights.flatten(0, 1), chosen.flatten(0, 1)  # (N, D), (N, 2)
        compute = self._sorted if readable(tokens) else self._dense
        return compute(flat, weights, chosen).unflatten(0, tokens.shape[:2])  # (B, L, width)

    def _sorted(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        # The same sum as over all ten with eight weights at zero, at a fifth of the work.
        order = chosen.flatten().argsort(stable=True)  # (2 N,)
        owner = order // 2
        counts = torch.bincount(chosen.flatten(), minlength=EXPERTS).tolist()
        parts = zip(self.expert_nets, tokens.index_select(0, owner).split(counts), strict=True)
        results = torch.cat([expert(part) for expert, part in parts])
        results = results * weights.flatten().index_select(0, order).unsqueeze(1)
        return results.new_zeros(len(tokens), results.shape[1]).index_add(0, owner, results)

    def _dense(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        # All ten: the host need not wait for a GPU to say who chose what.
        each = weights.new_zeros(len(tokens), EXPERTS).scatter(1, chosen, weights)
        return sum(each[:, i, None] * expert(tokens) for i, expert in enumerate(self.expert_nets))


class CrossAttentiveGate(nn.Module):
    """The gate of the released code: attend to the other modality, then average a softmax over its own entries.

    `live` puts a sigmoid in the place of that softmax: the same weights, and a gate that depends on them.
    """

    def __init__(self, width: int, *, live: bool):
        super().__init__()
        self.live = live
        self.enhance_layer_tg = nn.LayerNorm(width)  # first argument
        self.enhance_layer_ig = nn.LayerNorm(width)  # second argument
        self.mlp_e1 = nn.Linear(width, EXPERTS)
        self.mlp_e2 = nn.Linear(width, EXPERTS)

    def forward(self, first: Tensor, second: Tensor, hidden: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(B, L1, d), (B, L2, d), scores of hidden positions (B, 1, L1), (B, 1, L2), 0 or very negative.

        Returns:
            Gates (B, L1, 1), (B, L2, 1), all 0.1 unless live.
        """
        logits = first @ second.transpose(1, 2) / 0.1  # (B, L1, L2)
        enhanced_first = self.enhance_layer_tg(first + (logits + hidden[1]).softmax(-1) @ second)
        enhanced_second = self.enhance_layer_ig(second + (logits.transpose(1, 2) + hidden[0]).softmax(-1) @ first)
        scores = self.mlp_e1(enhanced_first), self.mlp_e2(enhanced_second)
        gates = [score.sigmoid() if self.live else score.softmax(-1) for score in scores]
        return gates[0].mean(-1, keepdim=True), gates[1].mean(-1, keepdim=True)


class GatedBlock(nn.Module):
    """softmax(q k' / sqrt(d)) v with q and k scaled by the gate; no residual, no output projection."""

    def __init__(self, width: int):
        super().__init__()
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)

    def forward(self, tokens: Tensor, gate: Tensor, hidden: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(
            self.linear_q(tokens) * gate, self.linear_k(tokens) * gate, self.linear_v(tokens), attn_mask=hidden
        )


class Released(nn.Module):
    """The released model on token features; its text encoder runs beforehand, frozen.

    Text is padded or cut to 24 tokens. Frames are padded or cut to `frames`; the released value, 370, is for FACET
    at 30 frames a second, and data with fewer visual tokens need no more positions than their longest sample has.
    Padded text is zeros here; the released code averages in whatever its encoder gives at padded positions.

    Its sharp softmax and its choice of experts blow rounding up: under other settings than those of machine.py its scores
    depend on the processor. float64 would mend that too, at two and a half times the time.

    Args:
        text_features: width of the text tokens (768 in the released code).
        vision_features: width of the visual tokens (35 in the released code).
        outputs: {task: number of outputs}, read from one linear classifier in this order.
        frames: visual positions; 370 at most.

    Each of the others mends one fault:
        live_gate: see CrossAttentiveGate.
        mask_padding: padding is neither attended to nor averaged in. A modality without any token is left as it is.
        max_tokens: text positions.
        renormalise: the weights of the two chosen experts sum to 1.
    """

    def __init__(
        self,
        *,
        text_features: int,
        vision_features: int,
        outputs: Mapping[str, int],
        frames: int = MAX_FRAMES,
        live_gate: bool = False,
        mask_padding: bool = False,
        max_tokens: int = MAX_TOKENS,
        renormalise: bool = False,
    ):
        super().__init__()
        self.outputs, self.frames, self.max_tokens = dict(outputs), min(frames, MAX_FRAMES), max_tokens
        self.mask_padding = mask_padding
        self.image_encoder = VisionLSTM(vision_features, 768)
        self.experts_image = Experts(768, 512, renormalise=renormalise)
        self.experts_text = Experts(text_features, 512, renormalise=renormalise)
        self.mha = nn.MultiheadAttention(512, 8, batch_first=True)
        self.cross_attention = CrossAttentiveGate(512, live=live_gate)
        self.modified_attn_block = GatedBlock(512)
        self.classifier = nn.Linear(512, sum(self.outputs.values()))

    def forward(self, batch: Batch) -> Output:
        vision = fit_length(batch.vision, batch.vision_mask, self.frames)  # (B, F, Dv)
        text = fit_length(batch.text, batch.text_mask, self.max_tokens)  # (B, 24, Dt)
        seen = self._seen(batch.vision_mask, self.frames), self._seen(batch.text_mask, self.max_tokens)
        hidden = tuple((~mask).to(text.dtype)[:, None] * -1e4 for mask in seen)  # (B, 1, F), (B, 1, 24)
        vision = self.experts_image(self.image_encoder(vision))  # (B, F, 512)
        text = self.experts_text(text)  # (B, 24, 512)
        gates = self.cross_attention(vision, text, hidden)
        mixed = []
        for tokens, mask, gate, scores in zip((vision, text), seen, gates, hidden, strict=True):
            padding = ~mask if self.mask_padding else None
            tokens = self.mha(tokens, tokens, tokens, need_weights=False, key_padding_mask=padding)[0]
            mixed.append(self.modified_attn_block(tokens, gate, scores))
        fused = masked_mean(torch.cat(mixed, 1), torch.cat(seen, 1))  # (B, 512); as released, padding included
        scores = self.classifier(fused).split(list(self.outputs.values()), 1)
        return Output(
            heads=dict(zip(self.outputs, scores, strict=True)),
            gates={"text": gates[1].squeeze(-1), "vision": gates[0].squeeze(-1)},
        )

    def _seen(self, mask: Tensor, length: int) -> Tensor:
        """(B, L) -> (B, length): the positions that are attended to and averaged."""
        fitted = F.pad(mask[:, :length], (0, max(0, length - mask.shape[1])))
        return fitted | ~fitted.any(1, keepdim=True) if self.mask_padding else torch.ones_like(fitted)

    @torch.no_grad()
    def shift(self, shifts: Mapping[str, Tensor]) -> None:
        """Add {task: (outputs,)} to what the classifier gives from now on."""
        for (task, _), bias in zip(
            self.outputs.items(), self.classifier.bias.split(list(self.outputs.values())), strict=True
        ):
            if task in shifts:
                bias += shifts[task].to(bias)


def fit_length(tokens: Tensor, mask: Tensor, length: int) -> Tensor:
    """(B, L, D) -> (B, length, D): cut, or padded with zeros; masked positions become zeros."""
    tokens = torch.where(mask.unsqueeze(-1), tokens, 0)[:, :length]
    return F.pad(tokens, (0, 0, 0, length - tokens.shape[1]))


def load_released(path: Path | str, *, task: str = "sentiment") -> Released:
    """Read a checkpoint that the released training script wrote (`best.pt`).

    Widths and the number of classes are read off the weights. The frozen text encoder that the file also holds
    (`text_encoder.model.*`) is left out: features come from `gexsent.encoders`.

    Raises:
        DataError: the file is not a plain state dict, or a key is missing, unknown or of the wrong shape.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types here; none of them names the file
        raise DataError(f"{path}: cannot be read as a checkpoint of plain tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise DataError(f"{path}: expected a state dict of tensors; save `model.state_dict()`, not the model")
    state = {key: value for key, value in state.items() if not key.startswith("text_encoder.")}
    sizes = {}
    for name in ("experts_text.gate.weight", "image_encoder.lstm.weight_ih_l0", "classifier.weight"):
        if name not in state or state[name].ndim != 2:
            raise DataError(f"{path}: no matrix named {name!r}; is this a checkpoint of the released model?")
        sizes[name] = state[name].shape
    try:
        model = Released(
            text_features=sizes["experts_text.gate.weight"][1],
            vision_features=sizes["image_encoder.lstm.weight_ih_l0"][1],
            outputs={task: sizes["classifier.weight"][0]},
        )
        model.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path}: {error}") from error
    return model.eval()
