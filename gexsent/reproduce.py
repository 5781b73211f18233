"""`gexsent reproduce`: run the pipeline, then say what came of it and where it lies."""

import re
import subprocess
import sys
from pathlib import Path

from gexsent.errors import DataError
from gexsent.params import load


def run(root: Path) -> None:
    """Run `dvc repro` for the edition that params.yaml names and print its tables.

    Raises:
        DataError: a stage failed; its own message stands above.
    """
    edition = load(root / "params.yaml").edition
    command, ran = [sys.executable, "-m", "dvc", "repro"], []
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            ran += re.findall(r"Running stage '([^']+)'", line)
    if process.returncode:
        raise DataError(
            "the pipeline stopped; its message stands above. What is finished is kept: run it again to go on"
        )
    results = root / "results" / edition
    for table in sorted((results / "tables").glob("*.md")):
        print("\n" + table.read_text().rstrip())
    where = results.relative_to(root)
    print(f"\nTables {where}/tables, figures {where}/figures, executed notebooks {where}/notebooks")
    if all(stage.startswith("source@") for stage in ran):
        print(f"Nothing changed: {where} is up to date with the code, the data and params.yaml.")
