"""Memory that is freed stays with the process."""

import ctypes
import platform
import subprocess
import sys

import pytest

from gexsent.training.device import keep_memory

PIECES = """
import ctypes, sys
from gexsent.training.device import keep_memory
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = Heap, ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    assert keep_memory()
before = libc.mallinfo2().arena
pieces = [libc.malloc(2**24) for _ in range(20)]
for piece in pieces[::-1]:
    libc.free(piece)
print((libc.mallinfo2().arena - before) // 2**20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc 2.33 and later tell what they keep")
def test_what_is_freed_stays_with_the_process():
    # Told by malloc itself: sandboxed kernels count no page faults.
    kept = {}
    for how in ("keep", "plain"):
        done = subprocess.run([sys.executable, "-c", PIECES, how], capture_output=True, text=True, check=True)
        kept[how] = int(done.stdout)
    assert kept["plain"] < 100 < 20 * 16 <= kept["keep"]  # MiB, of 20 pieces of 16 MiB each


def test_with_another_library_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory()
