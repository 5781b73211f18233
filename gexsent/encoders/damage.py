"""Damage done to a text before its encoder reads it: tokens masked, letters mistyped."""

import random
import string
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gexsent.encoders.text import TextEncoder
from gexsent.errors import DataError


@torch.inference_mode()
def encode(
    encoder: TextEncoder,
    texts: Sequence[str],
    choose: Callable[[Tensor], Tensor] | None = None,
    *,
    batch_tokens: int | None = None,
) -> list[np.ndarray]:
    """As `encoder.encode`, with chosen tokens replaced by the tokenizer's mask, or where it has none, unknown token.

    Special tokens are never chosen. A blank text has no tokens.

    Args:
        choose: numbers of tokens (N,) -> (N, longest) bool, True where to mask; none is masked without it.

    Returns:
        An array (L, width) float16 for each text.

    Raises:
        DataError: the tokenizer has neither of these tokens.
    """
    tokenizer = encoder.tokenizer
    mask = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
    if mask is None:
        raise DataError("the text encoder's tokenizer has no mask and no unknown token: words cannot be masked with it")
    found = tokenizer(
        list(texts), truncation=True, max_length=encoder.max_tokens, return_special_tokens_mask=True
    )  # ragged lists
    sequences = [np.array(ids) for ids in found["input_ids"]]
    if choose is not None:
        places = [np.flatnonzero(np.array(special) == 0) for special in found["special_tokens_mask"]]
        chosen = choose(torch.tensor([len(part) for part in places])).numpy()
        for ids, part, gone in zip(sequences, places, chosen, strict=True):
            ids[part[gone[: len(part)]]] = mask
    results = [np.zeros((0, encoder.width), np.float16)] * len(texts)
    rows = [row for row, text in enumerate(texts) if text.strip()]
    rows.sort(key=lambda row: len(sequences[row]))
    size = max(1, (batch_tokens or encoder.batch_tokens) // encoder.max_tokens)
    for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
        lengths = torch.tensor([len(sequences[row]) for row in batch])
        real = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, L)
        ids = torch.zeros(real.shape, dtype=torch.long)
        ids[real] = torch.from_numpy(np.concatenate([sequences[row] for row in batch]))
        seen = encoder.model(
            input_ids=ids.to(encoder.device), attention_mask=real.long().to(encoder.device)
        ).last_hidden_state
        for row, states, length in zip(batch, seen.float().cpu(), lengths.tolist(), strict=True):
            results[row] = states[:length].numpy().astype(np.float16)
    return results


def mistype(texts: Sequence[str], rate: float, seed: int) -> list[str]:
    """Each letter is with probability `rate` left out, replaced by another, or swapped with the one before it (after
    Belinkov and Bisk 2018, arXiv 1711.02173). The same seed gives nested errors."""
    chance = random.Random(seed)
    return ["".join(_mistyped(text, rate, chance)) for text in texts]


def _mistyped(text: str, rate: float, chance: random.Random) -> list[str]:
    typed: list[str] = []
    for character in text:
        drawn, kind, letter = chance.random(), chance.randrange(3), chance.choice(string.ascii_lowercase)
        if not character.isalpha() or drawn >= rate:
            typed.append(character)
        elif kind == 1:
            typed.append(letter)
        elif kind == 2:
            typed.insert(max(0, len(typed) - 1), character)
    return typed
