"""First stage: know what raw data there are, so that every later stage runs again when they change, and only then.

Runs on every `dvc repro` and is therefore light: file names, sizes and the digests of small files.
"""

import json
from pathlib import Path

from gexsent import params as params_module
from gexsent.data import sources
from gexsent.digest import full_disk_explained, write_atomically
from gexsent.sample import generate
from gexsent.workspace import Workspace


def run_all(root: Path, edition: str) -> dict[str, dict]:
    """`run` for every data set of params.yaml: {data set: fingerprint}."""
    params = params_module.load(root / "params.yaml", edition)  # once: half of the time here is YAML
    return {name: run(Workspace(root, edition, name, params)) for name in params.datasets}


def run(workspace: Workspace) -> dict:
    """Generate the data where the edition asks for it, and write the fingerprint of what lies in the raw folder.

    Returns:
        The fingerprint; "layout" is None where the user does not have the data set.
    """
    data = workspace.params.data
    if workspace.generated and not generate.is_current(
        workspace.raw, workspace.dataset, rows=data.rows, seed=data.seed
    ):
        with full_disk_explained(workspace.raw):
            generate.generate(workspace.raw, workspace.dataset, rows=data.rows, seed=data.seed)
    fingerprint = sources.fingerprint(workspace.dataset, workspace.raw)
    content = (json.dumps(fingerprint, indent=2, sort_keys=True) + "\n").encode()
    if not workspace.source.exists() or workspace.source.read_bytes() != content:
        write_atomically(workspace.source, content)
    return fingerprint


def is_there(workspace: Workspace) -> bool:
    """Whether the source stage found this data set."""
    return json.loads(workspace.source.read_text())["layout"] is not None
