"""Run the commands of stages as copies of one process that has imported what they import (see preload.py).

Of a stage on generated data, starting Python, torch and the rest took most of the time; a copy of a process that has done
so (a fork) starts at once, and so does the kernel of its notebook, which is a copy of the stage. Each stage is a process of
its own all the same, and computes what the command in dvc.yaml computes when it is called by hand.
"""

import json
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import shlex
import signal
import subprocess
import sys
from typing import Any

from gexsent import machine

COMMAND = ["python", "-m", "gexsent"]
WARM = ("notebook", "audit")  # the commands that need what is imported


def context(command: str) -> multiprocessing.context.BaseContext:
    """What to start the process of a command from: a process that has everything imported, or for light ones a new one.

    Linux alone has the former: elsewhere some libraries do not survive being copied.
    """
    parts = shlex.split(command)
    if sys.platform != "linux" or parts[:3] != COMMAND or parts[3] not in WARM:
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["gexsent.preload"])
    return found


def start() -> None:
    """Have that process import everything from now on, so that it is ready when the first stage is."""
    if sys.platform == "linux":
        context(shlex.join([*COMMAND, WARM[0]]))
        multiprocessing.forkserver.ensure_running()


def is_warm() -> bool:
    """Whether this process is a copy of one that has everything imported."""
    return "gexsent.preload" in sys.modules


def run_command(command: str) -> None:
    """Do in this process what the shell would: `python -m gexsent …` here, any other command in a shell. Then exit."""
    machine.end_with_parent()
    parts = shlex.split(command)
    if parts[: len(COMMAND)] != COMMAND:
        sys.exit(subprocess.run(command, shell=True).returncode)
    from gexsent import cli

    cli.main(parts[len(COMMAND) :])


class Standby:
    """A copy of this process that waits to become the kernel of a notebook.

    Made before papermill starts the threads and sockets that a copy could not use. In the place of a subprocess.Popen it
    has what a KernelProvisioner asks of one.
    """

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._write)
            _become_kernel(read)
        os.close(read)

    def launch(self, command: list[str], *, cwd: str | None, env: dict[str, str]) -> None:
        """Turn it into the kernel that `command` (python -m ipykernel_launcher …) would start."""
        order = {"arguments": command[command.index("ipykernel_launcher") + 1 :], "cwd": cwd, "env": env}
        with os.fdopen(self._write, "w") as pipe:
            json.dump(order, pipe)

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """Exit status, once it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _become_kernel(read: int) -> None:
    status = 1
    try:
        machine.end_with_parent()
        with os.fdopen(read) as pipe:
            content = pipe.read()
        if content:  # else whoever made this has gone
            order: dict[str, Any] = json.loads(content)
            os.setsid()  # an interrupt of the terminal is for the stage, which then ends its kernel
            os.environ.clear()
            os.environ.update(order["env"])
            os.chdir(order["cwd"] or ".")
            from ipykernel.kernelapp import IPKernelApp

            # Told by an option whose child it is: the class read the environment when it was imported.
            IPKernelApp.launch_instance(argv=[*order["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}"])
        status = 0
    finally:
        os._exit(status)  # what this process was copied from cleans up after itself
