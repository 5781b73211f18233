"""dvc.yaml against the code: what a stage imports and reads must be what it declares."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from gexsent.params import BY_DATASET

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
NOTEBOOKS = {
    name: f"{number}_{name}" for number, name in enumerate(("prepare", "extract", "train", "evaluate", "tables"), 1)
}
NOTEBOOKS = {stage: f"0{name}" for stage, name in NOTEBOOKS.items()} | {
    "explain": "06_explain",
    "robustness": "07_robustness",
    "reliability": "08_reliability",
}
CHECKED = [*NOTEBOOKS, "audit"]  # audit is a command without a notebook
# Paths, errors and the running of notebooks decide where a result lies, not what it is. Tests hold them in place.
PLUMBING = {
    "gexsent/digest.py",
    "gexsent/errors.py",
    "gexsent/machine.py",
    "gexsent/params.py",
    "gexsent/tables.py",
    "gexsent/workspace.py",
}
# A stage reads what another one wrote through that one's module; the part that computes is not what it uses.
READ_ONLY = {
    "gexsent/stages/source.py",
    "gexsent/stages/prepare.py",
    "gexsent/stages/train.py",
    "gexsent/stages/extract.py",
}


def module_files(name: str) -> list[str]:
    """The files of `gexsent.x.y`, as paths from the root; a package's own `__init__` only says what it is for."""
    parts, files = name.split("."), []
    for end in range(1, len(parts) + 1):
        path = Path(*parts[:end])
        if (ROOT / path.with_suffix(".py")).is_file():
            files.append(path.with_suffix(".py").as_posix())
    return files


def imports(source: str) -> set[str]:
    """Every file of the package that this source imports, at the top or inside a function."""
    found: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []  # for readers alone
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "gexsent":
                found |= set(module_files(name))
    return found


def closure(source: str) -> set[str]:
    """Files reached from this source through imports, not looking inside what only reads another stage's results."""
    reached, waiting = set(), imports(source)
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            if file not in READ_ONLY:
                waiting |= imports((ROOT / file).read_text())
    return reached


def notebook_source(stage: str) -> str:
    if stage not in NOTEBOOKS:
        return ""
    notebook = nbformat.read(ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb", as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("stage", CHECKED)
def test_a_stage_depends_on_every_module_that_its_notebook_reaches(stage):
    declared = [dep for dep in STAGES[stage]["deps"] if dep.startswith("gexsent/")]
    own = (ROOT / "gexsent" / "stages" / f"{stage}.py").read_text()
    reached = closure(notebook_source(stage)) | closure(own)
    lacking = {
        file
        for file in reached - PLUMBING - (READ_ONLY - {f"gexsent/stages/{stage}.py"})
        if not any(file == dep or file.startswith(f"{dep}/") for dep in declared)
    }
    assert not lacking, f"dvc.yaml, stage {stage}: add to deps {sorted(lacking)}"


@pytest.mark.parametrize("stage", CHECKED)
def test_a_stage_declares_the_parameters_that_it_reads(stage):
    parts = ("train", "search", "fits") if stage == "train" else (stage,)
    code = notebook_source(stage) + "".join((ROOT / "gexsent" / "stages" / f"{part}.py").read_text() for part in parts)
    read = set(re.findall(r"params\.(data|encode|model|search|train|audit|robustness)\b", code))
    read |= {"model"} if "train.jobs(" in code else set()  # which puts the sizes of the models into its jobs
    declared = {entry.removeprefix("editions.${item.edition}.").split(".")[0] for entry in STAGES[stage]["params"]}
    assert ("by_dataset" in declared) == bool(read & set(BY_DATASET))
    declared.discard("by_dataset")
    assert read <= declared | ({"data"} if stage != "prepare" else set()), f"{stage} reads {read}, declares {declared}"
    assert declared - {"datasets"} <= read, f"{stage} declares {declared}, reads {read}"


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_every_stage_runs_its_notebook_and_keeps_the_executed_copy(stage):
    entry = STAGES[stage]
    assert f"gexsent notebook {NOTEBOOKS[stage]} " in entry["cmd"]
    assert f"notebooks/{NOTEBOOKS[stage]}.ipynb" in entry["deps"]
    outs = [out if isinstance(out, str) else next(iter(out)) for out in entry["outs"]]
    assert any(out.startswith("results/${item.edition}/notebooks/" + NOTEBOOKS[stage]) for out in outs)
    assert not any(dep.startswith("results/") and dep.endswith(".ipynb") for dep in entry["deps"])


def test_training_does_not_depend_on_test_labels_and_plotting_does_not_retrain():
    deps = STAGES["train"]["deps"]
    assert "data/derived/${item.edition}/${item.dataset}/labels/fit.parquet" in deps
    assert not any("test.parquet" in dep for dep in deps)
    kept = [out for out in STAGES["train"]["outs"] if isinstance(out, dict) and "/models" in next(iter(out))]
    assert next(iter(kept[0].values()))["persist"] is True


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_sources_are_clean_and_readable(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 15 <= len(notebook.cells) <= 40
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    prose = sum(len(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose >= sum(len(cell.source) for cell in code)
    assert not any(re.search(r"^\s*(def|class) ", cell.source, re.M) for cell in code)
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--textconv", str(path)]
    stripped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert stripped == path.read_text(), "run `nbstripout` on it, or install the pre-commit hook"


def test_the_lock_file_names_no_index_and_hashes_everything():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert pins and all("==" in line and line.endswith("\\") for line in pins)
    assert not any("://" in line for line in lines)
