"""Which code made results, and the label that they carry where it has changed since."""

import json
import subprocess

import nbformat
import pytest
import yaml

from gexsent import provenance
from gexsent.errors import DataError

STAGES = {
    "train": {"deps": ["gexsent/model", "gexsent/loop.py", "gexsent/report/style.py", "data/x"], "params": ["train"]},
    "tables": {
        "deps": ["notebooks/05.ipynb", "gexsent/report"],
        "params": ["datasets", "editions.${item.edition}.train", "editions.${item.edition}.by.${item.dataset}"],
    },
}
PARAMS = {
    "datasets": ["a"],
    "train": {"lr": 1},
    "editions": {"lite": {"train": {}, "by": {"a": 1}}, "full": {"train": {}}},
}
README = "# Title\n\n<!-- code: lite -->\nnothing yet\n<!-- end -->\n\nmore\n"
NOTEBOOK = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One", id="cell-00")])


@pytest.fixture
def project(tmp_path):
    """Code, and results of lite that it made: a table in two forms, a notebook and numbers."""
    files = {
        "dvc.yaml": yaml.safe_dump({"stages": STAGES}),
        "params.yaml": yaml.safe_dump(PARAMS),
        "gexsent/model/a.py": "A = 1\n",
        "gexsent/loop.py": "B = 1\n",
        "gexsent/report/style.py": "C = 1\n",
        "README.md": README,
        "results/lite/tables/mosi.md": "**Caption**\n\n| a |\n",
        "results/lite/tables/mosi.tex": "\\begin{table}\n\\caption{MAE.}\n\\end{table}\n",
        "results/lite/tables/mosi.csv": "a\n1\n",
        "results/lite/notebooks/05.ipynb": nbformat.writes(NOTEBOOK) + "\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    provenance.record(tmp_path, "lite")
    return tmp_path


def results(root):
    return {path.name: path.read_text() for path in (root / "results").rglob("*") if path.is_file()}


def test_results_of_this_code_carry_no_label_and_readme_says_so(project):
    before = results(project)
    assert provenance.changed(project, "lite") == []
    assert provenance.label(project) == [project / "README.md"]
    assert results(project) == before
    assert "no code that could change these numbers has changed since." in (project / "README.md").read_text()
    assert provenance.label(project) == []


CHANGES = {
    "a module in a folder": ("gexsent/model/a.py", "A = 2\n", ["train"]),
    "a new module": ("gexsent/model/b.py", "", ["train"]),
    "a module": ("gexsent/loop.py", "B = 2\n", ["train"]),
    "a drawing": ("gexsent/report/style.py", "C = 2\n", []),
    "a notebook": ("notebooks/05.ipynb", "", []),
    "a shared parameter": ("params.yaml", yaml.safe_dump(PARAMS | {"train": {"lr": 2}}), ["train"]),
    "a parameter of the edition": (
        "params.yaml",
        yaml.safe_dump(PARAMS | {"editions": {"lite": {"train": {"lr": 3}, "by": {"a": 1}}}}),
        ["tables"],
    ),
    "a parameter of another edition": (
        "params.yaml",
        yaml.safe_dump(PARAMS | {"editions": PARAMS["editions"] | {"full": {"train": {"lr": 3}}}}),
        [],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_could_change_numbers_is_noticed_and_drawing_is_not(project, what):
    name, content, expected = CHANGES[what]
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(content)
    assert provenance.changed(project, "lite") == expected


def test_a_label_stands_on_every_table_and_notebook_and_goes_when_the_code_is_back(project):
    provenance.label(project)
    before = results(project) | {"README.md": (project / "README.md").read_text()}
    (project / "gexsent/loop.py").write_text("B = 2\n")
    assert {path.name for path in provenance.label(project)} == {"mosi.md", "mosi.tex", "05.ipynb", "README.md"}
    found = results(project)
    assert found["mosi.md"].startswith("> **Older code.** These numbers were made at")
    assert "; code that could change them has changed since.\n\n**Caption**" in found["mosi.md"]
    assert "\\caption{\\textbf{Older code. " in found["mosi.tex"] and "has changed since.} MAE.}" in found["mosi.tex"]
    notebook = nbformat.reads(found["05.ipynb"], as_version=4)
    nbformat.validate(notebook)
    assert [cell.source[:14] for cell in notebook.cells] == ["**Older code.*", "# One"]
    assert "code that could change them has changed since." in (project / "README.md").read_text()
    assert provenance.label(project) == []
    (project / "gexsent/loop.py").write_text("B = 1\n")
    provenance.label(project)
    assert results(project) | {"README.md": (project / "README.md").read_text()} == before


def test_the_commit_is_that_of_the_code_and_stays_while_the_code_does(project):
    path = project / "results/lite" / provenance.NAME
    assert json.loads(path.read_text())["commit"] is None  # no Git here

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True, text=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    provenance.record(project, "lite")
    assert json.loads(path.read_text())["commit"] is None  # the same code: the note stays
    (project / "gexsent/loop.py").write_text("B = 2\n")
    provenance.record(project, "lite")
    head = git("rev-parse", "--short=12", "HEAD").stdout.strip()
    assert json.loads(path.read_text())["commit"] == f"{head}+"
    (project / "gexsent/loop.py").write_text("B = 3\n")
    git("commit", "-qam", "two")
    provenance.record(project, "lite")
    assert json.loads(path.read_text())["commit"] == git("rev-parse", "--short=12", "HEAD").stdout.strip()


def test_a_damaged_record_is_named(project):
    path = project / "results/lite" / provenance.NAME
    path.write_text('{"commit": 1')
    with pytest.raises(DataError, match=r"provenance\.json: cannot be read"):
        provenance.changed(project, "lite")
