"""Which code made the committed results of an edition, and a label on them where it has changed since.

Results of real data take hours: not every change of code can bring new ones. Instead each edition records the commit and the
digest of the code that made its numbers, and numbers that other code could change say so where they stand. The tests see
to it that the labels are there; `make release-check` that none is needed.
"""

import hashlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from gexsent.digest import write_atomically
from gexsent.errors import DataError

NAME = "provenance.json"
DRAWING = "gexsent/report"  # how numbers are shown, not what they are
MARK = "**Older code.**"  # every label begins with it
CELL = "older-code"  # the id of the notebook cell that holds the label


@dataclass(frozen=True)
class Provenance:
    """commit: at which the results were made; None outside Git, and with a + where the code differed from it.

    code: {stage: sha256 of the modules and the values of params.yaml that decide its numbers}.
    """

    commit: str | None
    code: dict[str, str]


def code(root: Path, edition: str) -> dict[str, str]:
    """{stage of dvc.yaml: digest} of the working tree: the modules that the stage depends on, without those that only draw,
    and its parameters in this edition."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    result = {}
    for name, stage in stages.items():
        modules = [dep for dep in stage.get("deps", []) if dep.startswith("gexsent/") and not dep.startswith(DRAWING)]
        digest = hashlib.sha256()
        for module in sorted(modules):
            path = root / module
            for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
                digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
        keys = [key.replace("${item.edition}", edition) for key in stage.get("params", [])]
        values = {key: _value(params, key.removesuffix(".${item.dataset}")) for key in keys}
        digest.update(json.dumps(values, sort_keys=True).encode())
        result[name] = digest.hexdigest()
    return result


def _value(params: Any, key: str) -> Any:
    for part in key.split("."):
        params = params[part]
    return params


def record(root: Path, edition: str) -> None:
    """Note that the results of an edition were made now. Where the same code made them before, the note stays."""
    path, now = root / "results" / edition / NAME, code(root, edition)
    if not path.exists() or read(path).code != now:
        content = json.dumps(asdict(Provenance(_commit(root), now)), indent=2) + "\n"
        write_atomically(path, content.encode())


def read(path: Path) -> Provenance:
    """What `record` wrote.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return Provenance(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run the edition again, or take the file from Git") from error


def changed(root: Path, edition: str) -> list[str]:
    """Stages whose numbers other code than that of the working tree made."""
    made, now = read(root / "results" / edition / NAME).code, code(root, edition)
    return [stage for stage in now if made.get(stage) != now[stage]]


def _commit(root: Path) -> str | None:
    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    try:
        head = git("rev-parse", "--short=12", "HEAD")
    except OSError:
        return None
    if head.returncode:
        return None
    same = git("diff", "--quiet", "HEAD", "--", "gexsent", "params.yaml").returncode == 0
    return head.stdout.strip() + ("" if same else "+")


def editions(root: Path) -> list[str]:
    """Those that have results."""
    return [path.parent.name for path in sorted((root / "results").glob(f"*/{NAME}"))]


def label(root: Path) -> list[Path]:
    """Make every result of every edition, and README, say whether its numbers are those of the code; idempotent.

    Returns:
        The files that had to be changed.
    """
    written, notes = [], {}
    for edition in editions(root):
        results = root / "results" / edition
        stages, commit = changed(root, edition), read(results / NAME).commit or "an unknown commit"
        note = None
        if stages:
            # Which stages, `gexsent label` says: named here, each change of code would change every file of the edition.
            note = f"{MARK} These numbers were made at commit {commit}; code that could change them has changed since."
        notes[edition] = note or f"Made at commit {commit}; no code that could change these numbers has changed since."
        for file in sorted(results.rglob("*")):
            if file.suffix in _LABELLERS and _update(file, _LABELLERS[file.suffix], note):
                written.append(file)
    readme = root / "README.md"
    if readme.exists() and _update(readme, _label_readme, notes):
        written.append(readme)
    return written


def _update(file: Path, labelled: Any, note: Any) -> bool:
    before = file.read_text(encoding="utf-8")
    after = labelled(before, note)
    if after != before:
        write_atomically(file, after.encode())
    return after != before


def _label_markdown(text: str, note: str | None) -> str:
    text = re.sub(rf"\A> {re.escape(MARK)}.*\n\n", "", text)
    return f"> {note}\n\n{text}" if note else text


def _label_latex(text: str, note: str | None) -> str:
    mark = MARK.strip("*")
    text = re.sub(rf"(\\caption\{{)\\textbf\{{{re.escape(mark)}.*?\}} ", r"\1", text)
    return text.replace(r"\caption{", rf"\caption{{\textbf{{{note.replace('**', '')}}} ", 1) if note else text


def _label_notebook(text: str, note: str | None) -> str:
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell.get("id") != CELL]
    if note:
        cells.insert(0, {"cell_type": "markdown", "id": CELL, "metadata": {}, "source": [note]})
    if cells == notebook["cells"]:
        return text
    return json.dumps(notebook | {"cells": cells}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _label_readme(text: str, notes: dict[str, str]) -> str:
    """Between `<!-- code: lite -->` and `<!-- end -->` stands the note of that edition."""
    for edition, note in notes.items():
        text = re.sub(
            rf"(<!-- code: {edition} -->\n).*?(<!-- end -->)",
            lambda found, note=note: f"{found[1]}{note}\n{found[2]}",
            text,
            flags=re.S,
        )
    return text


_LABELLERS = {".md": _label_markdown, ".tex": _label_latex, ".ipynb": _label_notebook}
