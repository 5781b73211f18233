"""What keeps the bytes the same from one processor to the next: settings that numerical libraries read when they load.

Each library picks the widest instructions that it finds, and with them the order in which it sums: the last digits then
depend on the processor, and training drifts apart from there. Held to what every x86-64 processor with AVX2 and FMA has,
they agree, on Linux, with the package versions of requirements.lock. `make bits` compares emulated processors.

Whatever makes results calls `pin` before numpy or torch is imported: the commands of the pipeline, `gexsent lab` for
notebooks that are opened by hand, and pytest in tests/conftest.py. Processes that these start inherit the settings. A
program that only uses the library (a Predictor, say) is left alone, and may be faster for it.
"""

import ctypes
import os
import platform
import signal
import sys
import warnings
from pathlib import Path

# Standard library only: this runs before everything else.
PINS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "COMPATIBLE",  # what arithmetic.py leaves to MKL; AVX2 here would hold on Intel alone
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # its fused layers, where arithmetic.py does not switch them off
    "OMP_NUM_THREADS": "1",  # sums over threads depend on their number: work is spread over processes instead
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products: those of numpy and scipy, and by arithmetic.py those of torch
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",  # numpy's own loops, sorts among them
    "PYTHONHASHSEED": "0",  # the order of sets of texts
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # on a GPU: deterministic products
}
NEEDED = {"avx2", "fma"}
TOLERANCE = "tests/test_reproduction.py"


def pin() -> None:
    """Put the settings into the environment of this process and of those that it will start.

    Warns where a library that reads them is already loaded under other ones.
    """
    late = {"numpy", "torch"} & sys.modules.keys()
    changed = [name for name, value in PINS.items() if os.environ.get(name) != value]
    if late and set(changed) - {"PYTHONHASHSEED"}:
        warnings.warn(
            f"{', '.join(sorted(late))} was loaded before {', '.join(changed)} could be set: the last digits of results "
            "may differ from those of other processors. Start notebooks by `make lab`.",
            stacklevel=2,
        )
    os.environ.update(PINS)


def is_pinned() -> bool:
    """Whether the settings hold in this process."""
    return all(os.environ.get(name) == value for name, value in PINS.items())


def same_bytes() -> bool:
    """Whether this machine is one of those that give the same bytes: x86-64 with AVX2 and FMA, under Linux."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and _features() >= NEEDED


def _features() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def end_with_parent() -> None:
    """Have the system end this process when the one that started it ends, however that comes; Linux alone can.

    Processes that nobody waits for any more would go on for hours, and hold the lock that the next run needs.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, of <sys/prctl.h>
        if os.getppid() != parent:  # it ended a moment ago
            os.kill(os.getpid(), signal.SIGTERM)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU that is not hidden. Asks no library: some cannot be copied once they have been asked."""
    return Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


def hide_gpu() -> None:
    """Compute on the CPU, where the bytes are the same on every machine."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def say_if_bytes_differ() -> None:
    """One line on the screen where results will not be the committed bytes, and what will hold instead."""
    if not same_bytes():
        print(
            f"This machine ({platform.machine()}, {sys.platform}) is not x86-64 with AVX2 under Linux: results will differ "
            f"from the committed ones in their last digits, within the tolerance that {TOLERANCE} states."
        )
