"""What both encoders need: a fingerprint of weights, the number format for a device, seeded building."""

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import nn


def fingerprint(module: nn.Module, *extra: object) -> str:
    """sha256 over names, shapes and bytes of the weights, and over what else decides the features."""
    digest = hashlib.sha256(repr(extra).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def pick_dtype(device: str) -> torch.dtype:
    """bf16 on a GPU that has it, else fp32."""
    return torch.bfloat16 if device != "cpu" and torch.cuda.is_bf16_supported() else torch.float32


def first_line(error: Exception) -> str:
    """What an error of another library says, short enough to stand in a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Build something from a seed and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
