"""Text encoders: any encoder of the Hub or of a local folder, giving a vector for each token."""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from gexsent import arithmetic
from gexsent.encoders import tiny
from gexsent.encoders.layers import LowerLayers, TopLayers, entering
from gexsent.encoders.weights import fingerprint, first_line, pick_dtype
from gexsent.errors import DataError

TINY = "tiny-modernbert"
PROBE = ("two texts of", "unequal length show whether an encoder can be taken apart")
# Measured on two cores: 2,048 tokens are encoded 1.5 times as fast as 8,192, which no longer fit the caches.
BATCH_TOKENS = {"cpu": 2048, "cuda": 32_768}


class TextEncoder:
    """A frozen encoder with its tokenizer. Special tokens stay: their states are as much the text's as any.

    Args:
        model: returns `last_hidden_state` for `input_ids` and `attention_mask`.
        tokenizer: callable as those of transformers.
        max_tokens: longer texts are cut.
        device, dtype: default dtype is bf16 on a GPU that has it, else fp32.
    """

    def __init__(self, model, tokenizer, *, max_tokens: int, device: str = "cpu", dtype: torch.dtype | None = None):
        self.model = model.eval().requires_grad_(False).to(device, dtype or pick_dtype(device))
        self.tokenizer, self.max_tokens, self.device = tokenizer, max_tokens, device

    @property
    def width(self) -> int:
        return self.model.config.hidden_size

    @property
    def batch_tokens(self) -> int:
        """How many tokens at once suit the device."""
        return BATCH_TOKENS[torch.device(self.device).type]

    @property
    def fingerprint(self) -> str:
        """Digest of the weights, the vocabulary and the cut: equal for encoders that give equal features."""
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return fingerprint(self.model, vocabulary, self.max_tokens)

    def encode_batch(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """B texts -> float32 states (B, L, width) on the CPU and mask (B, L), padded at the end."""
        (states,), mask = self.states(texts, (0,))
        return states, mask

    @torch.inference_mode()
    def states(self, texts: Sequence[str], counts: Sequence[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """For each count the states that enter so many top layers, as `encode_batch` gives those of the whole; the mask."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        output = self.model(**inputs, output_hidden_states=True) if any(counts) else self.model(**inputs)
        depths = [entering(output, count) if count else output.last_hidden_state for count in counts]
        return [states.float().cpu() for states in depths], tokens["attention_mask"].bool().cpu()

    def encode(
        self, texts: Sequence[str], *, batch_tokens: int | None = None, progress: bool = False
    ) -> list[np.ndarray]:
        """N texts -> N arrays (L_i, width) float16, in the order given.

        Texts of similar length share a batch of at most `batch_tokens` tokens, padding included; by default as many as
        suit the device.
        """
        return self.encode_below((0,), texts, batch_tokens=batch_tokens, progress=progress)[0]

    def encode_below(
        self, counts: Sequence[int], texts: Sequence[str], *, batch_tokens: int | None = None, progress: bool = False
    ) -> list[list[np.ndarray]]:
        """For each count what `below(count).encode(texts)` gives, from one pass; a count of 0 is the whole encoder."""
        results: list[list] = [[None] * len(texts) for _ in counts]
        bar = tqdm(total=len(texts), desc="text", disable=not progress)
        for rows in self._batches(texts, batch_tokens or self.batch_tokens):
            depths, mask = self.states([texts[row] for row in rows], counts)
            for result, states in zip(results, depths, strict=True):
                for row, state, real in zip(rows, states, mask, strict=True):
                    result[row] = state[real].numpy().astype(np.float16)
            bar.update(len(rows))
        bar.close()
        return results

    def tokens(self, text: str) -> list[str]:
        """The token that each row of `encode([text])` belongs to."""
        ids = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
        return self.tokenizer.convert_ids_to_tokens(ids)

    def below(self, count: int) -> "TextEncoder":
        """This encoder without its top `count` layers: what it gives are the states that enter them."""
        dtype = next(self.model.parameters()).dtype
        lower = LowerLayers(self.model, count)
        return TextEncoder(lower, self.tokenizer, max_tokens=self.max_tokens, device=self.device, dtype=dtype)

    def split(self, count: int) -> tuple["TextEncoder", TopLayers]:
        """What lies below the top `count` layers, frozen as it is, and a copy of these on the CPU, to be trained.

        Raises:
            DataError: as TopLayers.of, or the two together do not give what the whole gives.
        """
        lower, top = self.below(count), TopLayers.of(self.model, count)
        whole, mask = self.encode_batch(PROBE)
        with torch.inference_mode():
            again = top.eval()(lower.encode_batch(PROBE)[0], mask)
        if not (again - whole)[mask].norm() < 0.05 * whole[mask].norm():  # exact in float32; bfloat16 rounds
            raise DataError(
                f"encode.tuned_layers: {type(self.model).__name__} gives other states when its top layers run by "
                "themselves, so that they cannot be trained apart; set it to 0"
            )
        return lower, top

    def _batches(self, texts: Sequence[str], batch_tokens: int) -> list[list[int]]:
        if not texts:
            return []
        lengths = [
            len(ids) for ids in self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        ]
        batches: list[list[int]] = [[]]
        for row in np.argsort(lengths, kind="stable").tolist():
            if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > batch_tokens:
                batches.append([])
            batches[-1].append(row)
        return batches


def load_text_encoder(
    name: str, *, max_tokens: int, device: str = "cpu", dtype: torch.dtype | None = None
) -> TextEncoder:
    """An encoder by its name on the Hub or its local folder; `tiny-modernbert` is built on the spot.

    Raises:
        DataError: neither the Hub, its cache nor the disk has it, or its weights are damaged or not all there.
    """
    arithmetic.pin()
    if name == TINY:
        return TextEncoder(*tiny.text(), max_tokens=max_tokens, device=device, dtype=dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, report = AutoModel.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    except Exception as error:  # transformers, the Hub's client, tokenizers and safetensors each raise their own
        raise DataError(
            f"text encoder {name!r}: not a local folder, and the Hub or its cache (HF_HOME) does not give it: "
            f"{first_line(error)} Download it once while online, or set encode.text to a folder that has it."
        ) from error
    # A pooler is never used. Any other weight that a checkpoint lacks has been drawn at random.
    lacking = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if lacking:
        raise DataError(
            f"text encoder {name!r}: its checkpoint lacks {len(lacking)} weights, such as {lacking[0]}; download it again"
        )
    return TextEncoder(model, tokenizer, max_tokens=max_tokens, device=device, dtype=dtype)
