"""`gexsent reproduce`: the stages that run, side by side or in order, and what it says of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from dvc.exceptions import DvcException

from gexsent import cli

PROJECT = Path(__file__).parents[1]
DATASETS = yaml.safe_load((PROJECT / "params.yaml").read_text())["datasets"]


class Stopped(DvcException):
    """As DVC raises it: the stage in the message, the reason as the cause."""


@pytest.fixture
def dvc(project, monkeypatch):
    """Stand in for DVC: these stages run, or this is raised; collects (root, working directory). There are no data."""
    calls = []

    def replace(stages, error=None):
        class Repo:
            def __init__(self, root):
                calls.append((Path(root), Path.cwd()))

            __enter__, __exit__ = (lambda self: self), (lambda self, *_: None)
            lock, index = nullcontext(), SimpleNamespace(stages=[])

        def run_changed(repo, slots, *, unchanged):
            if error:
                raise error
            return stages

        monkeypatch.setattr("dvc.repo.Repo", Repo)
        monkeypatch.setattr("gexsent.stages.source.run_all", lambda root, edition: {})
        monkeypatch.setattr("gexsent.schedule.run_changed", run_changed)
        return calls

    return replace


def test_reproduce_runs_dvc_and_prints_tables_and_where_things_lie(project, dvc, capsys, monkeypatch):
    calls = dvc(["source@sample", "train@sample-mosi"])
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    tables = project / "results" / "sample" / "tables"
    tables.mkdir(parents=True)
    (tables / "mosi.md").write_text("| system | MAE |\n")
    cli.main(["reproduce"])
    shown = capsys.readouterr().out
    assert calls == [(project, project)]
    assert Path.cwd() == project / "notebooks"
    assert "| system | MAE |" in shown
    assert "results/sample/tables" in shown and "results/sample/notebooks" in shown
    assert "Nothing changed" not in shown


def test_reproduce_says_that_nothing_changed(dvc, capsys):
    dvc([])
    cli.main(["reproduce"])
    assert "Nothing changed: results/sample is up to date" in capsys.readouterr().out


def test_reproduce_follows_the_edition_of_params_yaml(project, dvc, capsys):
    values = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(values | {"edition": "lite"}))
    dvc([])
    cli.main(["reproduce"])
    assert "results/lite/tables" in capsys.readouterr().out


def test_a_pipeline_that_stops_ends_with_status_2_and_says_how_to_go_on(dvc, capsys):
    error = Stopped("failed to reproduce 'prepare@sample-mosi'")
    error.__cause__ = Stopped("failed to run: python -m gexsent, exited with 2")
    dvc([], error)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "stopped: failed to reproduce 'prepare@sample-mosi': failed to run: python -m gexsent, exited with 2." in line
    )
    assert line.endswith("run it again to go on")


@pytest.fixture
def pipeline(project):
    """A project with a raw file of one data set, and the real `source` stage with two that copy what it found.

    `copy@b` takes what `copy@a` made. Returns what runs `gexsent reproduce`, or another command given in its place.
    """
    path = project / "params.yaml"
    path.write_text(re.sub(r"^edition: \w+", "edition: lite", path.read_text(), flags=re.MULTILINE))
    write_labels(project, "one")
    source = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["source"]
    found = "data/derived/lite/source/mosi.json"
    stages = {
        "copy@b": {"cmd": "cat a code.py > b", "deps": ["a", "code.py"], "outs": ["b"]},
        "copy@a": {"cmd": f"cat {found} > a", "deps": [found], "outs": ["a"], "params": ["train.seeds"]},
        "source": source | {"cmd": "python -m gexsent source --edition ${item.edition}"},
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False).replace("copy@", "copy-"))
    (project / "code.py").write_text("pass\n")
    (project / ".dvc" / "tmp").mkdir(parents=True)
    config = f"[core]\n no_scm = true\n analytics = false\n site_cache_dir = {project / 'site'}\n"
    (project / ".dvc" / "config").write_text(config)

    def run(*command):
        command = command or ("gexsent", "reproduce")
        return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)

    return run


def write_labels(project, text):
    path = project / "data/raw/mosi/label.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"video_id,clip_id,text,label,annotation,mode\nv,1,{text},1.0,Positive,train\n")


def ran(result):
    """The stages that ran, or whose outputs DVC brought back from what it keeps of an earlier run."""
    assert result.returncode == 0, result.stderr
    by_dvc = re.findall(r"(?:Running stage|Stage) '([^']+)'(?::| is cached)", result.stdout)
    return by_dvc or re.findall(r"^(\S+): \d+ s$", result.stdout, flags=re.MULTILINE)


NOTHING = "Nothing changed: results/lite is up to date"


def test_a_pipeline_runs_once_in_order_then_nothing_runs_not_even_the_fingerprints(pipeline):
    first = pipeline()
    assert ran(first) == ["source@lite", "copy-a", "copy-b"]
    assert NOTHING not in first.stdout
    again = pipeline()
    assert ran(again) == []
    assert NOTHING in again.stdout


CHANGES = {
    "raw data": (lambda root: write_labels(root, "two"), ["source@lite", "copy-a", "copy-b"]),
    "raw data that are gone": (
        lambda root: shutil.rmtree(root / "data/raw"), ["source@lite", "copy-a", "copy-b"]
    ),
    "code": (lambda root: (root / "code.py").write_text("1\n"), ["copy-b"]),
    "a parameter": (
        lambda root: (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("seeds: 5", "seeds: 4")),
        ["copy-a"],
    ),
    "a damaged output": (lambda root: (root / "a").write_text("damaged"), ["copy-a"]),
    "a lost output": (lambda root: (root / "b").unlink(), ["copy-b"]),
    "a damaged fingerprint": (lambda root: (root / "data/derived/lite/source/mosi.json").write_text("{}"), []),
    "a lost lock": (lambda root: (root / "dvc.lock").unlink(), ["source@lite", "copy-a", "copy-b"]),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_anything_is_noticed_once(project, pipeline, what):
    ran(pipeline())
    kept = (project / "b").read_text()
    change, expected = CHANGES[what]
    change(project)
    result = pipeline()
    assert ran(result) == expected
    assert (NOTHING in result.stdout) is (not expected)
    assert ran(pipeline()) == []
    same = what in ("a parameter", "a damaged output", "a lost output", "a damaged fingerprint", "a lost lock")
    assert ((project / "b").read_text() == kept) is same


def test_dvc_repro_by_hand_notices_changed_raw_data_and_agrees_with_gexsent_reproduce(project, pipeline):
    ran(pipeline())
    write_labels(project, "two")
    assert ran(pipeline("dvc", "repro")) == ["source@lite", "copy-a", "copy-b"]
    assert ran(pipeline()) == []


def test_a_stop_between_the_fingerprints_and_dvc_costs_nothing(project, pipeline):
    ran(pipeline())
    write_labels(project, "two")
    assert pipeline("gexsent", "source", "--edition", "lite").returncode == 0
    assert ran(pipeline()) == ["source@lite", "copy-a", "copy-b"]


several_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on a single core data sets run one by one")


@pytest.fixture
def side_by_side(project, pipeline):
    """A pipeline on generated data: `meet` waits for the other data sets' `meet`, `copy` follows, and `all` and `both`
    join them, each waiting for the other.

    The file `lame` names data sets whose `copy` is to fail.
    """
    (project / "meet.py").write_text(MEET)
    (project / "lame").write_text("")
    path = project / "params.yaml"
    text = re.sub(r"^edition: \w+", "edition: sample", path.read_text(), flags=re.MULTILINE)
    path.write_text(text.replace("rows: 280", "rows: 15"))
    matrix = {"matrix": {"edition": ["${edition}"], "dataset": ["mosi", "mosei", "memotion"]}}
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    copy = "cp meet-${item.dataset} copy-${item.dataset} && ! grep -x ${item.dataset} lame"
    joined = {"matrix": {"edition": ["${edition}"]}, "deps": [f"copy-{name}" for name in DATASETS]}
    last = {
        name: joined | {"cmd": f"{sys.executable} meet.py last {name} 2 && cat copy-* > {name}", "outs": [name]}
        for name in ("all", "both")
    }
    stages = last | {
        "copy": matrix | {"cmd": copy, "deps": ["meet-${item.dataset}", "lame"], "outs": ["copy-${item.dataset}"]},
        "meet": matrix
        | {
            "cmd": f"{sys.executable} meet.py meet ${{item.dataset}} 2",
            "deps": ["data/derived/${item.edition}/source/${item.dataset}.json"],
            "outs": ["meet-${item.dataset}"],
        },
        "source": stages["source"],
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return pipeline


MEET = """
import pathlib, sys, time
place, name, count = sys.argv[1:]
here = pathlib.Path(f"here-{place}")
here.mkdir(exist_ok=True)
(here / name).touch()
end = time.monotonic() + 120
while len(list(here.iterdir())) < int(count):
    if time.monotonic() > end:
        sys.exit("alone")
    time.sleep(0.05)
pathlib.Path(f"{place}-{name}").write_text(name)
"""


def last_two(result):
    """The last stages that ran, apart from the one that always runs."""
    return set([stage for stage in ran(result) if stage != "source@sample"][-2:])


@several_cores
def test_data_sets_are_run_side_by_side_and_what_joins_them_last(project, side_by_side):
    first = side_by_side()
    names = {f"{stage}@sample-{name}" for stage in ("meet", "copy") for name in DATASETS}
    assert ran(first)[0] == "source@sample" and last_two(first) == {"all@sample", "both@sample"}
    assert names < set(ran(first))
    assert (project / "all").read_text() == (project / "both").read_text() == "memotionmoseimosi"
    again = side_by_side()
    assert ran(again) == [] and "Nothing changed" in again.stdout
    assert ran(side_by_side("dvc", "repro")) == ["source@sample"]


@several_cores
def test_a_data_set_that_stops_is_named_and_the_others_are_finished(project, side_by_side):
    (project / "lame").write_text("mosei\n")
    stopped = side_by_side()
    assert stopped.returncode == 2
    assert "gexsent: failed: copy@sample-mosei, see above. What is finished is kept" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert (project / "copy-mosi").read_text() == "mosi" and not (project / "all").exists()
    (project / "lame").write_text("")
    finished = side_by_side()
    assert "meet@sample-mosei" not in ran(finished)
    assert last_two(finished) == {"all@sample", "both@sample"}


def test_a_real_pipeline_that_stops_names_the_stage(project, pipeline):
    (project / "code.py").unlink()
    stopped = pipeline()
    assert stopped.returncode == 2
    assert "gexsent: failed: copy-b, see above" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def processes_in(folder):
    """Ids of the processes that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if (
                link.readlink() == folder
                and "Z" not in (link.parent / "stat").read_text().rpartition(")")[2].split()[0]
            ):
                found.append(int(link.parent.name))
        except OSError:  # it has ended, or is not ours
            pass
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_run_that_is_killed(clone, how):
    """Stages are copies of one process, and kernels copies of those."""
    folder, environment = clone
    before = subprocess.Popen(
        [sys.executable, "-m", "gexsent", "reproduce"], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    kernels = folder / "data" / "derived" / "sample" / "mosi" / "table.parquet"
    wait_until(lambda: kernels.exists() or before.poll() is not None, 240)  # by now a notebook has run in a kernel
    assert before.poll() is None and len(processes_in(folder)) > 2
    before.send_signal(how)
    before.wait()
    wait_until(lambda: not processes_in(folder))
