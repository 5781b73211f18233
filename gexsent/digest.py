"""Digests that say whether saved work still fits, and writes that are whole or not there."""

import ast
import contextlib
import errno
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from gexsent.errors import DataError

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


@functools.lru_cache
def import_closure(name: str) -> tuple[str, ...]:
    """The source file `name` and every file of its own folder that it imports, directly or not, sorted."""
    package = f"{PACKAGE.name}.{Path(name).parent.as_posix().replace('/', '.')}."
    found, waiting = set(), {name}
    while waiting:
        file = waiting.pop()
        found.add(file)
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
                module = node.module.removeprefix(f"{PACKAGE.name}.").replace(".", "/") + ".py"
                waiting |= {module} - found
    return tuple(sorted(found))


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a crash leaves the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # half a file is of no use, and the disk may be full
        raise
    partial.replace(path)


@contextlib.contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """Turn "no space left on device", wherever it is raised inside, into a message that says what to do.

    Raises:
        DataError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DataError(f"{folder}: the disk is full; make room there and run again") from error
