"""Where the numbers are crunched."""

import ctypes
import platform

import torch

# From glibc's malloc.h: below how many bytes freed at the end of the heap they are kept, and from how many on a block is
# mapped on its own, and given back at once.
TRIM, MAPPED = (-1, 2**30), (-3, 2**25)


def pick_device() -> str:
    """The GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def keep_memory() -> bool:
    """Let this process keep what it frees, up to a gigabyte, for its next allocation; whether that could be had.

    A training step frees what the next one asks for again, a megabyte at a time. Given back to the system in between, each
    page comes back with a fault, which took a tenth to a third of a step. Only glibc gives it back.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(*setting) == 1 for setting in (TRIM, MAPPED))
