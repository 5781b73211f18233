"""`gexsent reproduce`: run the pipeline, then say what came of it and where it lies."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent import machine, provenance
from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.params import Params, load
from gexsent.workspace import raw_root

if TYPE_CHECKING:
    from dvc.repo import Repo

STAMP = "up_to_date"  # a file in data/derived/<edition>
# What no stage reads or writes, or, as .dvc's cache, only DVC does.
PASSED_OVER = {".dvc", ".git", ".pytest_cache", ".ruff_cache", ".scratch", ".venv", "__pycache__"}


def run(root: Path) -> None:
    """Do what `dvc repro` does for the edition that params.yaml names, stages side by side, and print its tables.

    Raises:
        DataError: the raw data cannot be fingerprinted, or a stage failed; then its own message stands above.
    """
    params = load(root / "params.yaml")
    stamp = root / "data/derived" / params.edition / STAMP
    ran: list[str] = []
    if not stamp.exists() or stamp.read_text() != state(root, params):
        machine.say_if_bytes_differ()
        ran = _run_pipeline(root, params)
        provenance.record(root, params.edition)
        provenance.label(root)
        write_atomically(stamp, state(root, params).encode())
    results = root / "results" / params.edition
    for table in sorted((results / "tables").glob("*.md")):
        print("\n" + table.read_text().rstrip())
    where = results.relative_to(root)
    print(f"\nTables {where}/tables, figures {where}/figures, executed notebooks {where}/notebooks")
    if not ran:
        print(f"Nothing changed: {where} is up to date with the code, the data and params.yaml.")


def state(root: Path, params: Params) -> str:
    """Digest over path, size, time of change and inode of every file of the project and of the raw data.

    While it stays the same nothing was touched, and DVC, whose start alone takes longer than this, need not look. What
    was touched DVC compares by content.
    """
    places = [root] if params.data.rows is not None else [root, raw_root(root, params)]
    digest = hashlib.sha256(params.edition.encode())
    for place in places:
        digest.update(str(place).encode())
        for path, status in _files(place):
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(path, status) of every file under a folder, in the order of their names; none where there is no such folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name not in PASSED_OVER and entry.name != STAMP:
                if entry.is_dir():
                    yield from _files(Path(entry.path))
                elif entry.is_file():
                    yield entry.path, entry.stat()


def _run_pipeline(root: Path, params: Params) -> list[str]:
    """Names of the stages that ran."""
    from gexsent import schedule, warm
    from gexsent.stages import source

    # Models of generated data are small, and what is learned from real data on a GPU would share it.
    generated = params.data.rows is not None
    slots = machine.cores() if generated or not machine.has_gpu() else 1
    if generated and slots > 1:
        os.environ["TQDM_DISABLE"] = "1"  # stages take seconds, and their bars would overwrite each other
    if (root / "notebooks").is_dir():
        warm.start()  # goes on while DVC is imported
    source.run_all(root, params.edition)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with contextlib.chdir(root), Repo(str(root)) as repo, repo.lock:
            return schedule.run_changed(repo, slots, unchanged=_current_source(repo, params.edition))
    except DvcException as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise DataError(f"the pipeline stopped: {reason}. What is finished is kept: run it again to go on") from error


def _current_source(repo: "Repo", edition: str) -> frozenset[str]:
    """The name of the source stage if DVC knows the fingerprints, which were taken a moment ago. It always runs, since
    DVC cannot see the raw data; once more would change nothing."""
    names = [
        stage.addressing
        for stage in repo.index.stages
        if stage.name == f"source@{edition}" and not stage.changed_stage() and not stage.changed_outs()
    ]
    return frozenset(names)
