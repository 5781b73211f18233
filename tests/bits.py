"""`make bits`: the sample's stages on this processor and on emulated ones; the same bytes, or the names of the files that
differ.

Debian's qemu-user runs one program on an emulated processor, and what that starts on the real one: so every stage is called
in one process here, without DVC and without the kernels of notebooks. Emulated, it takes ten to fifteen times as long: the
sample is made smaller, and `--small` leaves all but one data set, and the stages over all of them, out.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROCESSORS = {"Intel": "Haswell", "AMD": "EPYC-Rome"}  # neither has AVX-512
EMULATOR = "qemu-x86_64"
SMALLER = {
    "data": {"rows": 40},
    "train": {"epochs": 2, "seeds": 1, "dropout_systems": ["gexsent"], "systems": ["gexsent", "text_only", "released"]},
    "robustness": {"rows": 10},
    "audit": {"system": "text_only", "seeds": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="one data set, as far as its evaluation")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # run the stages in this copy of the project
    options = parser.parse_args()
    if options.here:
        run_stages(options.here)
        return
    if not shutil.which(EMULATOR):
        sys.exit(f"{EMULATOR} is not there: on Debian and Ubuntu, apt-get install qemu-user")
    with tempfile.TemporaryDirectory() as folder:
        native = digests(Path(folder) / "native", [], options.small)
        print(f"this processor: {len(native)} files", flush=True)
        failed = False
        for maker, name in PROCESSORS.items():
            found = digests(Path(folder) / name, [EMULATOR, "-cpu", name], options.small)
            differing = sorted(path for path in native.keys() | found.keys() if native.get(path) != found.get(path))
            print(f"{maker} {name}, emulated: {len(found)} files, {len(differing)} of them differ", flush=True)
            print(*(f"  {path}" for path in differing), sep="\n", end="\n" if differing else "")
            failed = failed or bool(differing)
    sys.exit(failed)


def digests(folder: Path, emulator: list[str], small: bool) -> dict[str, str]:
    """{file: sha256} of all that the stages leave in a copy of the project, run on a processor."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in SMALLER.items():
        params["editions"]["sample"][section] |= values
    params |= {"edition": "sample", "datasets": ["mosi"] if small else params["datasets"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    # The interpreter itself: the emulator runs no scripts, and what a virtual environment's link points to is not in it.
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *packages])}
    python = Path(sys.executable).resolve()
    command = [
        *emulator,
        str(python),
        str(Path(__file__).resolve()),
        "--here",
        str(folder),
        *(["--small"] if small else []),
    ]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if not re.search(r"TCG doesn't support", line)]
        sys.exit("\n".join([*lines[-30:], f"failed: {' '.join(command)}"]))
    files = [
        path for place in ("data/derived", "results") for path in sorted((folder / place).rglob("*")) if path.is_file()
    ]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_stages(folder: Path) -> None:
    """Every stage of the sample in this folder, one after the other."""
    from gexsent import machine

    machine.pin()
    os.environ["TQDM_DISABLE"] = "1"
    import matplotlib

    matplotlib.use("agg")
    from gexsent.params import load
    from gexsent.stages import (
        audit,
        evaluate,
        explain,
        extract,
        prepare,
        reliability,
        robustness,
        source,
        tables,
        train,
    )
    from gexsent.workspace import open_workspace

    datasets = load(folder / "params.yaml").datasets
    for dataset in datasets:
        workspace = open_workspace("sample", dataset, folder)
        for stage in (source, prepare, extract, train, evaluate, audit):
            stage.run(workspace)
    for stage in (tables, explain, robustness, reliability) if len(datasets) > 1 else ():
        stage.run(folder, "sample")


if __name__ == "__main__":
    main()
