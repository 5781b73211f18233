"""Running notebooks as stages: the same bytes from two runs, and data sets that are left out."""

import json
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gexsent import machine, notebooks
from gexsent.errors import DataError
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path):
    """A project without notebooks, whose source stage has found MOSI."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    stage = {
        "cmd": "python -m gexsent notebook 07_look --edition ${item.edition} --dataset ${item.dataset}",
        "outs": [
            "data/${item.edition}/${item.dataset}/x.parquet",
            {"results/${item.edition}/figures/${item.dataset}": {"cache": False}},
            {"data/${item.edition}/${item.dataset}/models": {"persist": True}},
        ],
        "metrics": [{"results/${item.edition}/${item.dataset}.json": {"cache": False}}],
        "plots": ["results/${item.edition}/${item.dataset}.csv"],
    }
    other = {"cmd": "python -m gexsent notebook 07_look_again --edition x", "outs": ["elsewhere"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"again": other, "look": stage}}))
    found = open_workspace("sample", "mosi", tmp_path)
    found.source.parent.mkdir(parents=True)
    found.source.write_text('{"layout": "mmsa"}')
    return found


def write_notebook(workspace, *sources, parameters="edition = 'sample'\ndataset = 'mosi'"):
    """notebooks/07_look.ipynb with a `parameters` cell and these code cells."""
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *(new_code_cell(s) for s in sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = workspace.root / "notebooks" / "07_look.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture
def papermill_gives(monkeypatch):
    """Stand in for papermill's run: write this notebook, or raise this; collects the parameters passed."""
    passed = []

    def replace(result):
        def execute(path, partial, parameters, **options):
            passed.append((parameters, options["cwd"]))
            nbformat.write(result if isinstance(result, dict) else new_notebook(), partial)
            if isinstance(result, Exception):
                raise result

        monkeypatch.setattr(papermill, "execute_notebook", execute)
        return passed

    return replace


def executed(run):
    """A notebook as papermill leaves it, with what differs from run to run: times, ids, addresses, pieces of text."""
    pieces = ["one\ntwo\n"] if run else ["one\n", "two\n"]
    streams = [new_output("stream", name="stdout", text=text) for text in pieces]
    bar = new_output("stream", name="stderr", text=f"{run}%|##  |")
    shown = new_output(
        "execute_result",
        data={"text/plain": f"<Axes at 0x7f{run}abc>", "text/html": "<b>at 0x7f</b>"},
        metadata={"run": run},
        execution_count=2,
    )
    code = new_code_cell("show()", execution_count=2, outputs=[*streams[:1], bar, *streams[1:], shown], id=f"a{run}")
    code.metadata = {"tags": ["keep", "papermill-error-cell-tag"], "execution": {"iopub.status.busy": f"{run}"}}
    code.metadata["papermill"] = {"duration": run + 0.5}
    prose = new_markdown_cell("# Title", id=f"b{run}", metadata={"papermill": {"duration": run}})
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "papermill": {"start_time": str(run)},
        "language_info": {"name": "python", "version": f"3.11.{run}"},
    }
    return new_notebook(cells=[prose, code], metadata=nbformat.from_dict(metadata))


def test_two_runs_are_the_same_bytes_once_clean():
    first, second = (nbformat.writes(notebooks.clean(executed(run))) for run in (0, 1))
    assert nbformat.writes(executed(0)) != nbformat.writes(executed(1))
    assert first == second


def test_cleaning_keeps_what_a_reader_came_for():
    prose, code = notebooks.clean(executed(0)).cells
    assert prose.source == "# Title"
    assert (code.source, code.execution_count, code.metadata) == ("show()", 2, {"tags": ["keep"]})
    assert [output.output_type for output in code.outputs] == ["stream", "execute_result"]
    assert code.outputs[0].text == "one\ntwo\n"
    assert code.outputs[1].data == {"text/plain": "<Axes>", "text/html": "<b>at 0x7f</b>"}
    assert [cell.id for cell in (prose, code)] == ["cell-00", "cell-01"]


def test_a_cleaned_notebook_is_valid_and_cleaning_it_again_changes_nothing():
    notebook = notebooks.clean(executed(0))
    nbformat.validate(notebook)
    before = nbformat.writes(notebook)
    assert nbformat.writes(notebooks.clean(notebook)) == before


def test_a_notebook_runs_with_the_parameters_and_leaves_its_cleaned_copy(workspace, papermill_gives):
    write_notebook(workspace)
    passed = papermill_gives(executed(1))
    target = notebooks.execute("07_look", workspace)
    assert target == workspace.root / "results" / "sample" / "notebooks" / "07_look_mosi.ipynb"
    assert target.read_text().strip() == nbformat.writes(notebooks.clean(executed(0))).strip()
    assert passed == [({"edition": "sample", "dataset": "mosi"}, str(workspace.root))]
    assert list(target.parent.iterdir()) == [target]


def test_a_notebook_about_all_data_sets_gets_no_data_set(workspace, papermill_gives):
    write_notebook(workspace, parameters="edition = 'sample'")
    passed = papermill_gives(executed(0))
    assert notebooks.execute("07_look", workspace, per_dataset=False).name == "07_look.ipynb"
    assert passed == [({"edition": "sample"}, str(workspace.root))]


def test_a_notebook_that_does_not_take_a_parameter_is_refused(workspace, papermill_gives):
    write_notebook(workspace, parameters="edition = 'sample'")
    passed = papermill_gives(executed(0))
    with pytest.raises(DataError, match="its `parameters` cell does not set 'dataset'"):
        notebooks.execute("07_look", workspace)
    assert passed == []


def test_a_notebook_that_is_not_there_is_named(workspace):
    with pytest.raises(DataError, match=r"08_gone\.ipynb: no such notebook"):
        notebooks.execute("08_gone", workspace)


def failure(name):
    return papermill.PapermillExecutionError(1, 1, "stage.run()", name, "label.csv: empty", ["Traceback"])


@pytest.mark.parametrize("name", ["DataError", "FileNotFoundError"])
def test_a_fault_in_the_input_comes_through_as_its_message_alone(workspace, papermill_gives, name):
    write_notebook(workspace)
    papermill_gives(failure(name))
    with pytest.raises(DataError) as caught:
        notebooks.execute("07_look", workspace)
    assert str(caught.value) == "label.csv: empty"
    assert (workspace.results / "notebooks" / "07_look_mosi.failed.ipynb").exists()
    assert not (workspace.results / "notebooks" / "07_look_mosi.ipynb").exists()


def test_any_other_failure_of_a_cell_keeps_its_traceback(workspace, papermill_gives):
    write_notebook(workspace)
    papermill_gives(failure("ZeroDivisionError"))
    with pytest.raises(papermill.PapermillExecutionError):
        notebooks.execute("07_look", workspace)


def test_the_environment_of_a_kernel_makes_runs_repeatable(workspace, papermill_gives, monkeypatch):
    for name in notebooks.KERNEL:
        monkeypatch.setenv(name, "before")  # so that it is restored afterwards
    monkeypatch.delenv("PYTHONWARNINGS")
    write_notebook(workspace)
    papermill_gives(executed(0))
    notebooks.execute("07_look", workspace)
    assert {name: notebooks.os.environ[name] for name in notebooks.KERNEL} == notebooks.KERNEL
    assert machine.is_pinned()  # by tests/conftest.py, as by the command that runs a notebook


def test_a_users_own_filters_of_warnings_are_kept(workspace, papermill_gives, monkeypatch):
    for name in notebooks.KERNEL:
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("PYTHONWARNINGS", "error::SyntaxWarning")
    write_notebook(workspace)
    papermill_gives(executed(0))
    notebooks.execute("07_look", workspace)
    assert notebooks.os.environ["PYTHONWARNINGS"] == "ignore:IProgress not found,error::SyntaxWarning"


def test_a_real_run_prints_the_warnings_of_the_notebook_and_none_of_its_machinery(workspace, capfd, monkeypatch):
    for name in notebooks.KERNEL:
        monkeypatch.setenv(name, "")
    write_notebook(workspace, "import warnings\nimport tqdm.auto\nwarnings.warn('look here')\nprint(edition, dataset)")
    target = notebooks.execute("07_look", workspace)
    assert "sample mosi" in target.read_text()
    said = capfd.readouterr().err
    assert "look here" in said
    assert "IProgress" not in said
    assert "without encryption" not in said


def test_declared_outputs_are_those_of_the_stage_that_runs_the_notebook(workspace):
    root = workspace.root
    assert notebooks.declared_outputs("07_look", workspace) == [
        root / "data/sample/mosi/x.parquet",
        root / "results/sample/figures/mosi",
        root / "data/sample/mosi/models",
        root / "results/sample/mosi.json",
        root / "results/sample/mosi.csv",
    ]
    assert notebooks.declared_outputs("07_look_again", workspace) == [root / "elsewhere"]
    with pytest.raises(DataError, match=r"dvc\.yaml: no stage runs the notebook 07"):
        notebooks.declared_outputs("07", workspace)


def test_a_data_set_that_is_not_there_leaves_empty_outputs_and_says_so(workspace, capsys):
    write_notebook(workspace)
    workspace.source.write_text('{"layout": null}')
    kept = workspace.root / "data/sample/mosi/models/seed0"
    kept.mkdir(parents=True)
    (workspace.root / "results/sample").mkdir(parents=True)
    (workspace.root / "results/sample/mosi.json").write_text('{"old": 1}')
    target = notebooks.execute("07_look", workspace)
    root = workspace.root
    assert (root / "data/sample/mosi/x.parquet").read_bytes() == b""
    assert (root / "results/sample/mosi.csv").read_bytes() == b""
    assert json.loads((root / "results/sample/mosi.json").read_text()) == {}
    assert list((root / "results/sample/figures/mosi").iterdir()) == []
    assert kept.is_dir()
    (cell,) = nbformat.read(target, as_version=4).cells
    assert cell.cell_type == "markdown"
    assert cell.source.startswith("mosi is left out: nothing found for it. `gexsent data check`")
    assert cell.source in capsys.readouterr().out


def test_leaving_out_twice_gives_the_same_bytes(workspace):
    target = workspace.root / "copy.ipynb"
    first = notebooks.leave_out("07_look", workspace, target).read_bytes()
    assert notebooks.leave_out("07_look", workspace, target).read_bytes() == first


@pytest.mark.parametrize("name", ["01_prepare", "02_extract", "03_train", "04_evaluate"])
def test_the_projects_own_stages_can_be_left_out(workspace, name):
    shutil.copy(PROJECT / "dvc.yaml", workspace.root)
    outputs = notebooks.declared_outputs(name, workspace)
    assert outputs and not any("$" in str(path) for path in outputs)
    notebooks.leave_out(name, workspace, workspace.results / "notebooks" / f"{name}_mosi.ipynb")
    assert all(path.exists() for path in outputs)


def test_what_a_figure_says_to_those_who_cannot_see_it_is_kept():
    metadata = {"image/png": {"alt": "a curve that falls", "width": 640}, "run": 3, "text/plain": {"width": 1}}
    output = new_output("display_data", data={"image/png": "aGVsbG8="}, metadata=metadata)
    cleaned = notebooks.clean(new_notebook(cells=[new_code_cell("show()", outputs=[output])]))
    assert cleaned.cells[0].outputs[0].metadata == {"image/png": {"alt": "a curve that falls"}}
