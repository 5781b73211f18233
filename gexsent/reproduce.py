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
            ran = [stage.addressing for stage in repo.reproduce(_to_check(repo, edition), single_item=True)]
    except DvcException as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise DataError(f"the pipeline stopped: {reason}. What is finished is kept: run it again to go on") from error
    results = root / "results" / edition
    for table in sorted((results / "tables").glob("*.md")):
        print("\n" + table.read_text().rstrip())
    where = results.relative_to(root)
    print(f"\nTables {where}/tables, figures {where}/figures, executed notebooks {where}/notebooks")
    if all(stage.startswith("source@") for stage in ran):
        print(f"Nothing changed: {where} is up to date with the code, the data and params.yaml.")


def _to_check(repo: "Repo", edition: str) -> list[str]:
    """Every stage, each after those that it needs; without the fingerprints where DVC knows the present ones.

    They were taken a moment ago. DVC cannot see that: it would take them again in a new process, and rewrite dvc.lock.
    """
    from dvc.repo.reproduce import plan_repro

    def is_known(stage: "Stage") -> bool:
        is_source = stage.name == f"source@{edition}"
        return is_source and not stage.changed_stage() and not any(out.status() for out in stage.outs)

    return [stage.addressing for stage in plan_repro(repo.index.graph) if not is_known(stage)]
