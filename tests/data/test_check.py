"""`gexsent data check`, from the shell's side."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gexsent.cli import main


@pytest.fixture
def raw(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(Path(__file__).parents[2] / "params.yaml", project)
    (project / "dvc.yaml").touch()
    monkeypatch.chdir(project)
    monkeypatch.setenv("GEXSENT_DATA", str(tmp_path / "raw"))
    return tmp_path / "raw"


def test_data_that_are_absent_are_no_crash(raw, capsys):
    main(["data", "check"])
    report = capsys.readouterr().out
    assert f"Looking in {raw} (which does not exist" in report
    for name, where in (("mosi", "MMSA"), ("mosei", "MMSA"), ("memotion", "SemEval-2020 Task 8")):
        assert f"{name}: nothing found\n  lacking   " in report
        assert where in report


def test_one_data_set_there_and_the_others_lacking(raw, label_csv, capsys):
    label_csv(root=raw / "mosi")
    main(["data", "check"])
    report = capsys.readouterr().out
    assert "mosi: label.csv\n" in report
    assert "  rows      6 in 3 groups" in report
    assert "  split     valid         2 rows" in report
    assert "  label     sentiment" in report
    assert "  problems  none" in report
    assert "memotion: nothing found" in report


def test_a_fault_in_one_data_set_still_tells_of_the_others(raw, label_csv, mmsa_rows, capsys):
    label_csv(root=raw / "mosei")
    mmsa_rows[0][3] = "word"
    label_csv(mmsa_rows, root=raw / "mosi")
    with pytest.raises(SystemExit) as caught:
        main(["data", "check"])
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert "mosei: label.csv\n" in printed.out
    assert "6 in 3 groups" in printed.out
    assert "mosi: label.csv: 1 of 6 rows cannot be used, more than 5%: 1 x label is not a number" in printed.err
    assert "Traceback" not in printed.err


def test_only_the_data_sets_asked_for_are_told_of(raw, label_csv, capsys):
    label_csv(root=raw / "mosi")
    main(["data", "check", "mosi"])
    assert "memotion" not in capsys.readouterr().out


def test_looking_imports_nothing_heavy():
    code = "import sys; from gexsent.data import sources; print({'numpy', 'pandas', 'torch', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
