"""Run what DVC finds changed, several stages at a time: DVC itself runs one after the other.

DVC decides what has changed, and records what came of it; here is only the order. `dvc repro` does the same, slower.
"""

import multiprocessing.connection
import time
from typing import TYPE_CHECKING, NamedTuple

from gexsent import warm
from gexsent.errors import DataError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from dvc.repo import Repo
    from dvc.stage import Stage


RECORD_EVERY = 60.0  # seconds: to write dvc.lock takes two, for all stages at once as for one


class _Running(NamedTuple):
    stage: "Stage"
    process: "BaseProcess"
    since: float


def run_changed(repo: "Repo", slots: int, *, unchanged: frozenset[str] = frozenset()) -> list[str]:
    """Run every stage that has changed once those that it needs are done, at most `slots` at a time.

    Args:
        repo: opened, and locked by the caller.
        unchanged: names of stages that are known to be up to date, whatever DVC says.

    Returns:
        Names of the stages that ran.

    Raises:
        DataError: a stage failed; all that does not need it is run and recorded first.
    """
    from dvc.repo.reproduce import plan_repro

    graph = repo.index.graph
    waiting = plan_repro(graph)  # each after those that it needs
    done: set[Stage] = set()
    running: dict[int, _Running] = {}
    ran, failed = [], []
    unrecorded: list[Stage] = []
    recorded = time.monotonic()
    try:
        while waiting or running:
            ready = [stage for stage in waiting if done.issuperset(graph.successors(stage))]
            if not ready and not running:
                break  # the rest waits for one that failed
            for stage in ready[: slots - len(running)]:
                waiting.remove(stage)
                if stage.addressing in unchanged or not stage.changed():
                    done.add(stage)
                else:
                    started = _start(stage)
                    running[started.process.sentinel] = started
            # With a slot left, what was found unchanged may have freed others: look again before waiting.
            look_again = len(running) < slots and any(done.issuperset(graph.successors(stage)) for stage in waiting)
            if look_again or not running:
                continue
            for sentinel in multiprocessing.connection.wait(list(running)):
                stage, process, since = running.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed.append(stage.addressing)
                    continue
                stage.save()
                stage.commit()
                unrecorded.append(stage)
                ran.append(stage.addressing)
                done.add(stage)
                print(f"{stage.addressing}: {time.monotonic() - since:.0f} s", flush=True)
            if time.monotonic() - recorded > RECORD_EVERY:
                _record(unrecorded)
                recorded = time.monotonic()
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()
        _record(unrecorded)
    if failed:
        raise DataError(f"failed: {', '.join(failed)}, see above. What is finished is kept: run it again to go on")
    return ran


def _record(stages: "list[Stage]") -> None:
    """Write what came of these stages to dvc.lock, and forget them."""
    if stages:
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        stages.clear()


def _start(stage: "Stage") -> _Running:
    stage.remove_outs(ignore_remove=False, force=False)  # as DVC does; what persists stays
    process = warm.context(stage.cmd).Process(target=warm.run_command, args=(stage.cmd,), name=stage.addressing)
    process.start()
    return _Running(stage, process, time.monotonic())
