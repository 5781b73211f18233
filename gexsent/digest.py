"""Digests that say whether saved work still fits, and writes that are whole or not there."""

import functools
import hashlib
import os
from pathlib import Path

PACKAGE = Path(__file__).parent


@functools.lru_cache
def source_digest(*names: str) -> str:
    """sha256 over the package's own source files or folders `names`: work saved by other code is not reused."""
    digest = hashlib.sha256()
    for name in names:
        path = PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a crash leaves the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
