"""What a system costs, counted and not timed, so that the numbers are the same on every machine."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.backends import mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gexsent.model.batch import Batch


def parameters(model: nn.Module) -> int:
    """Numbers in the weights, those that are not trained included (a random router computes as a learned one does)."""
    return sum(weight.numel() for weight in model.parameters())


def multiply_adds(model: nn.Module, batch: Batch) -> int:
    """Multiply-adds of the matrix products of one forward pass.

    What is run is counted: of the experts those that were chosen, for each token. Sums, norms and activations are left
    out, as is usual; they are small beside the products.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    with torch.no_grad(), _plain_products(), FlopCounterMode(display=False) as counter:
        model(batch)
    return counter.get_total_flops() // 2  # a flop is a multiplication or an addition


@contextmanager
def _plain_products() -> Iterator[None]:
    """Fused kernels of the CPU (an LSTM layer, attention) are one operation to the counter, and count for nothing: with
    them switched off everything is made of products that it knows. The result is the same to rounding."""
    fast = mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # oneDNN's switch warns of Intel GPUs wherever there is none
        with mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            mha.set_fastpath_enabled(False)
            try:
                yield
            finally:
                mha.set_fastpath_enabled(fast)


def typical_batch(text: tuple[int, int], vision: tuple[int, int]) -> Batch:
    """One sample of (tokens, features) of each modality, all of them real. No tokens: the modality is absent."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for tokens, features in (text, vision):
        parts.append(torch.randn(1, max(1, tokens), features, generator=generator))
        parts.append(torch.arange(max(1, tokens))[None] < tokens)
    return Batch(*parts)
