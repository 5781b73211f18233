"""`make bits`: the sample's pipeline on this processor and on emulated ones; the same bytes, or the names of the files that
differ.

Debian's qemu-user runs a program on an emulated processor as long as it starts no other program. So one Python imports
everything, and each stage and each kernel is a copy of it, as in `gexsent reproduce`; DVC has no part in this. Emulated,
everything takes ten to fifteen times as long: the sample is made smaller here, and `--small` leaves all but one data set,
and the stages over all of them, out.
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
PER_DATASET = ("01_prepare", "02_extract", "03_train", "04_evaluate")
OVER_ALL = ("05_tables", "06_explain", "07_robustness", "08_reliability")


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
    # Of a process with a thread in the background (Arrow's allocator starts one) the emulator can make no working copy.
    quiet = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
    environment = os.environ | quiet | {"PYTHONPATH": os.pathsep.join([str(folder), *packages])}
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
    """Every stage of the sample in this folder, each in a copy of this process."""
    from gexsent import machine

    machine.pin()
    os.environ["TQDM_DISABLE"] = "1"
    from gexsent import cli, preload, warm  # noqa: F401
    from gexsent.params import load

    params = load(folder / "params.yaml")
    commands = [["source", "--edition", "sample"]]
    for dataset in params.datasets:
        where = ["--edition", "sample", "--dataset", dataset]
        commands += [["notebook", name, *where] for name in PER_DATASET] + [["audit", *where]]
    if len(params.datasets) > 1:
        commands += [["notebook", name, "--edition", "sample"] for name in OVER_ALL]
    for command in commands:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                cli.main(command)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            sys.exit(f"{' '.join(command)}: ended with status {status}")


if __name__ == "__main__":
    main()
