"""Where the numbers are crunched."""

import torch


def pick_device() -> str:
    """The GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
