"""`gexsent reproduce`: run the pipeline, then say what came of it and where it lies."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent.errors import DataError
from gexsent.params import Params, load
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

    params = load(root / "params.yaml")
    edition = params.edition
    source.run_all(root, edition)
    ran = []
    try:
        with contextlib.chdir(root), Repo(str(root)) as repo:
            if not _is_current(repo, edition):
                if params.data.rows is not None and (os.cpu_count() or 1) > 1:
                    _side_by_side(repo, params)
                ran = repo.reproduce()
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


def _side_by_side(repo: "Repo", params: Params) -> None:
    """Run the stages of each data set in a process of its own, and then those over all data sets, each in one.

    They do not depend on each other, and most of a stage on generated data is one core starting Python and drawing. Not
    for real data: their encoders and training fill all cores, or the GPU, and the memory.

    Raises:
        DataError: a stage failed.
    """
    from dvc.repo.reproduce import plan_repro

    repo.reproduce(f"source@{params.edition}")
    order = [stage.addressing for stage in plan_repro(repo.index.graph)]  # each after those that it needs
    _run_chains(
        {name: [stage for stage in order if stage.endswith(f"@{params.edition}-{name}")] for name in params.datasets}
    )
    over_all = [stage for stage in order if stage.endswith(f"@{params.edition}") and not stage.startswith("source@")]
    _run_chains({stage: [stage] for stage in over_all})


def _run_chains(chains: dict[str, list[str]]) -> None:
    """Run {name: stages, one after the other} side by side."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item"]
    # Bars of several processes would overwrite each other, and threads of several would wait for one another's cores.
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}

    def run_chain(stages: list[str]) -> int:
        return subprocess.run([*command, *stages], env=environment).returncode

    with ThreadPoolExecutor(len(chains) or 1) as pool:
        codes = dict(zip(chains, pool.map(run_chain, chains.values()), strict=True))
    if failed := [name for name, code in codes.items() if code]:
        raise DataError(
            f"the pipeline stopped: {', '.join(failed)}: see the message of the stage above. What is finished is kept: "
            "run it again to go on"
        )
