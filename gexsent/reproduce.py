"""`gexsent reproduce`: run the pipeline, then say what came of it and where it lies."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent.errors import DataError
from gexsent.params import load
from gexsent.stages import source

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


def run(root: Path) -> None:
    """Do what `dvc repro` does, in this process, for the edition that params.yaml names, and print its tables.

    Raises:
        DataError: the raw data cannot be fingerprinted, or a stage failed; then its own message stands above.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    edition = load(root / "params.yaml").edition
    source.run_all(root, edition)
    try:
        with contextlib.chdir(root), Repo(str(root)) as repo:
            ran = [] if _is_current(repo, edition) else repo.reproduce()
    except DvcException as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise DataError(f"the pipeline stopped: {reason}. What is finished is kept: run it again to go on") from error
    results = root / "results" / edition
    for table in sorted((results / "tables").glob("*.md")):
        print("\n" + table.read_text().rstrip())
    where = results.relative_to(root)
    print(f"\nTables {where}/tables, figures {where}/figures, executed notebooks {where}/notebooks")
    if not ran:
        print(f"Nothing changed: {where} is up to date with the code, the data and params.yaml.")


def _is_current(repo: "Repo", edition: str) -> bool:
    """Whether DVC finds no stage changed, nor the fingerprints of the raw data, which were taken a moment ago.

    DVC cannot see that they were: `reproduce` would take them again in a new process, and rewrite dvc.lock, each time.
    """

    def is_current(stage: "Stage") -> bool:
        if stage.name == f"source@{edition}":
            return not stage.changed_stage() and not stage.changed_outs()
        return not stage.changed()

    with repo.lock:
        return all(is_current(stage) for stage in repo.index.stages)
