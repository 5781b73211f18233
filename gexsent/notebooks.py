"""Run a notebook as a stage: papermill, then a cleaning that makes two runs the same bytes.

Stages exchange tables and weights, never notebooks. The executed copy is documentation: readers see it on the web.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml

from gexsent import warm
from gexsent.errors import DataError
from gexsent.stages import source
from gexsent.workspace import Workspace

# The kernel inherits these, and those of machine.py; they must be set before it starts.
KERNEL = {
    "TQDM_MININTERVAL": "5",  # progress goes through a pipe to the screen
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # bars are drawn as text here, so ipywidgets is not missed
}
# Keys for each run: without them a kernel warns that it speaks in plain text, and other users of the machine could listen.
MANAGER = {"KernelManager": {"transport_encryption": "auto"}}


def execute(name: str, workspace: Workspace, *, per_dataset: bool = True) -> Path:
    """Run notebooks/<name>.ipynb for a workspace and leave the cleaned copy under results/<edition>/notebooks/.

    A data set that the user lacks is left out: the stage's outputs are made empty, and the copy says what is missing.

    Raises:
        DataError: there is no such notebook, it does not take the parameters that it is given, or a cell raised one: the
            fault lies in the user's input, whose message is all that helps.
        papermill.PapermillExecutionError: a cell failed otherwise. The partial copy lies beside the result, ending in
            .failed.ipynb.
    """
    path = workspace.root / "notebooks" / f"{name}.ipynb"
    if not path.exists():
        raise DataError(f"{path}: no such notebook")
    parameters: dict[str, Any] = {"edition": workspace.edition}
    if per_dataset:
        parameters["dataset"] = workspace.dataset
    target = workspace.results / "notebooks" / (f"{name}_{workspace.dataset}.ipynb" if per_dataset else f"{name}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    if per_dataset and not source.is_there(workspace):
        return leave_out(name, workspace, target)

    # Here, because they take a second that a data set left out need not wait for.
    import papermill
    from traitlets.config import Config

    from gexsent import kernels

    unknown = parameters.keys() - papermill.inspect_notebook(str(path)).keys()
    if unknown:
        raise DataError(f"{path}: its `parameters` cell does not set {sorted(unknown)[0]!r}")
    kept = os.environ.get("PYTHONWARNINGS")  # the user's own filters
    os.environ.update(KERNEL | ({"PYTHONWARNINGS": f"{KERNEL['PYTHONWARNINGS']},{kept}"} if kept else {}))
    partial = target.with_suffix(".failed.ipynb")
    print(f"{name}, {workspace.dataset if per_dataset else 'all data sets'}, {workspace.edition} edition", flush=True)
    if warm.is_warm():
        kernels.stand_by()  # now, before papermill starts what a copy could not use
    try:
        papermill.execute_notebook(
            str(path),
            str(partial),
            parameters,
            cwd=str(workspace.root),
            config=Config(MANAGER),
            progress_bar=False,
            stderr_file=sys.stderr,  # progress bars of the stage, which the cleaned copy leaves out
        )
    except papermill.PapermillExecutionError as error:
        if error.ename in (DataError.__name__, FileNotFoundError.__name__):
            raise DataError(error.evalue) from error
        raise
    notebook = clean(nbformat.read(partial, as_version=4))
    nbformat.write(notebook, target)
    partial.unlink()
    return target


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two runs of the same code: times, papermill's records, random ids, progress bars."""
    notebook.metadata = nbformat.from_dict({"kernelspec": dict(notebook.metadata.get("kernelspec", {}))})
    for index, cell in enumerate(notebook.cells):
        tags = [tag for tag in cell.metadata.get("tags", []) if not tag.startswith("papermill")]
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell["id"] = f"cell-{index:02d}"
        if cell.cell_type == "code":
            # stderr holds progress bars and warnings about this machine; the log on the screen has them.
            cell.outputs = _joined([_clean_output(o) for o in cell.outputs if o.get("name") != "stderr"])
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    # The kernel flushes printed text on a timer: into how many pieces it falls differs from run to run.
    result: list[nbformat.NotebookNode] = []
    for output in outputs:
        if result and output.output_type == result[-1].output_type == "stream":
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def _clean_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    # Of the metadata only what a figure says to those who cannot see it is the same on every run.
    if "metadata" in output:
        said = {mime: kept for mime, kept in output.metadata.items() if isinstance(kept, dict) and "alt" in kept}
        output.metadata = nbformat.from_dict({mime: {"alt": kept["alt"]} for mime, kept in said.items()})
    for mime, content in output.get("data", {}).items():
        if mime == "text/plain":
            output["data"][mime] = re.sub(r" at 0x[0-9a-f]+", "", content)  # addresses in reprs
    return output


def leave_out(name: str, workspace: Workspace, target: Path) -> Path:
    """Make the outputs that dvc.yaml declares for this stage empty, and a notebook that says why.

    Folders that DVC does not delete before a run keep what is in them, for when the data are back.
    """
    message = f"{workspace.dataset} is left out: nothing found for it. `gexsent data check` says where to get it."
    print(message)
    for out in declared_outputs(name, workspace):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".json":
            out.write_text("{}\n")
        elif out.suffix:
            out.write_bytes(b"")
        else:
            out.mkdir(exist_ok=True)
    cell = nbformat.v4.new_markdown_cell(message, id="cell-00")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), target)
    return target


def declared_outputs(name: str, workspace: Workspace) -> list[Path]:
    """Paths under `outs`, `metrics` and `plots` of the stage in dvc.yaml that runs this notebook."""
    stages = yaml.safe_load((workspace.root / "dvc.yaml").read_text())["stages"]
    stage = next((s for s in stages.values() if f"notebook {name} " in s["cmd"]), None)
    if stage is None:
        raise DataError(f"dvc.yaml: no stage runs the notebook {name}")
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    values = {"${item.edition}": workspace.edition, "${item.dataset}": workspace.dataset}
    for key, value in values.items():
        names = [path.replace(key, value) for path in names]
    return [workspace.root / path for path in names]
