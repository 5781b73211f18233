"""The settings under which processors agree: who gets them, and what is said where they come too late or do not help."""

import os
import subprocess
import sys

import pytest

from gexsent import machine

INTEL = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 avx2 fma bmi2\n\nprocessor\t: 1\nflags\t\t: fpu\n"
)


def fresh(code, **environment):
    """Run code in a new Python without the settings; its output and what it said."""
    bare = {key: value for key, value in os.environ.items() if key not in machine.PINS}
    result = subprocess.run([sys.executable, "-c", code], env=bare | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), result.stderr


def test_commands_that_make_results_set_them_and_others_do_not():
    code = (
        "import os, sys\nfrom gexsent import cli, machine\n"
        "for name in ('_notebook', '_predict'): setattr(cli, name, lambda options: print(machine.is_pinned()))\n"
        "cli.main(['predict', '--model', 'x'])\ncli.main(['notebook', '01_prepare', '--edition', 'sample'])"
    )
    assert fresh(code)[0].split() == ["False", "True"]


def test_they_reach_processes_that_are_started():
    code = (
        "import subprocess, sys\nfrom gexsent import machine\nmachine.pin()\n"
        "code = 'import torch; print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())'\n"
        "print(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout)"
    )
    shown = fresh(code)[0].split()
    assert shown[0] == "1"
    assert shown[1] == "AVX2" or not machine.same_bytes()


def test_a_library_that_was_loaded_before_is_named():
    code = "import numpy\nfrom gexsent import machine\nmachine.pin()"
    assert "numpy was loaded before" in fresh(code)[1]
    assert (
        "was loaded before" not in fresh("from gexsent import machine\nmachine.pin()\nimport numpy\nmachine.pin()")[1]
    )


@pytest.mark.parametrize(
    ("architecture", "system", "features", "expected"),
    [
        ("x86_64", "linux", INTEL, True),
        ("x86_64", "linux", INTEL.replace("avx2", "avx"), False),
        ("x86_64", "linux", INTEL.replace(" fma", ""), False),
        ("aarch64", "linux", "Features\t: fp asimd\n", False),
        ("x86_64", "darwin", None, False),
    ],
)
def test_who_gives_the_same_bytes_and_who_is_told_otherwise(
    monkeypatch, capsys, architecture, system, features, expected
):
    monkeypatch.setattr(machine.platform, "machine", lambda: architecture)
    monkeypatch.setattr(machine.sys, "platform", system)

    def read_text(path, encoding):
        if features is None:
            raise FileNotFoundError(path)
        return features

    monkeypatch.setattr(machine.Path, "read_text", read_text)
    assert machine.same_bytes() is expected
    machine.say_if_bytes_differ()
    said = capsys.readouterr().out
    assert (said == "") is expected
    assert expected or machine.TOLERANCE in said


def test_a_hidden_gpu_is_no_gpu(monkeypatch):
    monkeypatch.setattr(machine.Path, "exists", lambda path: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machine.has_gpu()
    machine.hide_gpu()
    assert not machine.has_gpu()
    monkeypatch.undo()
