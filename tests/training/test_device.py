"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

from gexsent.training.device import keep_memory

STEPS = """
import resource, sys, torch
from gexsent.training.device import keep_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_memory()
def step():
    parts = [torch.ones(2**22) for _ in range(20)]  # so large that glibc never keeps them of its own accord
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is known to give memory back")
def test_a_step_finds_the_memory_of_the_last_one():
    faults = {}
    for how in ("keep", "plain"):
        done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["keep"] < 100 < 1000 < faults["plain"]


def test_with_another_library_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory()
