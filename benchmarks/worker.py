"""Processes that measure, apart from the notebook that asks them.

Settings of the numerical libraries hold for a whole process (gexsent/machine.py): with them and without them takes two
processes, asked in turn. And the memory that one system takes can be told from another's only where none ran before.
"""

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from gexsent import machine

ROOT = Path(__file__).parents[1]


KINDS = {
    "project": "as the pipeline computes: pinned, and products by numpy",
    "pinned": "pinned, and torch left to compute products itself",
    "free": "nothing pinned: each library chooses the code that suits the processor",
}


class Worker:
    """A process of one thread; `kind` is one of KINDS. It ends with `close`, with a `with` statement, or with its parent."""

    def __init__(self, kind: str = "project"):
        settings = {name: value for name, value in os.environ.items() if name not in machine.PINS}
        settings |= machine.PINS if kind != "free" else {"OMP_NUM_THREADS": machine.PINS["OMP_NUM_THREADS"]}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", kind],
            cwd=ROOT,
            env=settings | {"TQDM_DISABLE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, function: str, *, copied: bool = False, **arguments: Any) -> Any:
        """Call "module.function" of this package there. Arguments and result are what JSON can hold.

        Args:
            copied: in a copy of that process, which then ends: what it takes of memory, nobody had before. For a worker
                that has computed nothing itself.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        self.process.stdin.write(json.dumps([function, copied, arguments]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            raise RuntimeError(f"{function}: {answer['error']}")
        return answer["result"]

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def main() -> None:
    """Answer line by line. What libraries print goes to the screen, not among the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    from gexsent import arithmetic
    from gexsent.training.device import keep_memory

    torch.set_num_threads(1)
    if sys.argv[1] == "project":
        arithmetic.pin()
    keep_memory()  # as the training processes do
    for line in sys.stdin:
        function, copied, arguments = json.loads(line)
        module, name = function.split(".")
        try:
            call = getattr(import_module(f"benchmarks.{module}"), name)
            answer = {"result": _in_a_copy(call, arguments) if copied else call(**arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # at once: to take torch apart first would take a second


def _in_a_copy(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a copy of this process makes of the call."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as answer:
            content = answer.read()
        os.wait()
        if not content:
            raise RuntimeError("the copy failed; what it said stands on the screen")
        return json.loads(content)
    try:
        with os.fdopen(writer, "w") as answer:
            json.dump(call(**arguments), answer)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
