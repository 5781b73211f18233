"""`gexsent reproduce`: run the pipeline, then say what came of it and where it lies."""

import contextlib
from pathlib import Path

from gexsent.errors import DataError
from gexsent.params import load


def run(root: Path) -> None:
    """Do what `dvc repro` does, in this process, for the edition that params.yaml names, and print its tables.

    Raises:
        DataError: a stage failed; its own message stands above.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    edition = load(root / "params.yaml").edition
    try:
        with contextlib.chdir(root), Repo(str(root)) as repo:
            ran = [stage.addressing for stage in repo.reproduce()]
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
