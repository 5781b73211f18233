"""The command `gexsent`. Every import that costs time stands inside the command that needs it."""

import argparse
import json
import os
import sys
from pathlib import Path

from gexsent import __version__, machine
from gexsent import params as params_module
from gexsent.errors import DataError
from gexsent.workspace import Workspace, open_workspace, project_root, raw_root


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a fault in the user's input ends with its message and status 2, without a traceback."""
    options = parser().parse_args(arguments)
    if options.pinned:
        machine.pin()
    try:
        options.run(options)
    except (DataError, FileNotFoundError) as error:
        print(f"gexsent: {error}", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """Commands and options."""
    top = argparse.ArgumentParser(prog="gexsent", description="Multimodal sentiment with gated experts.")
    top.add_argument("--version", action="version", version=f"gexsent {__version__}")
    commands = top.add_subparsers(required=True, metavar="command")

    data = commands.add_parser("data", help="look at the raw data").add_subparsers(required=True, metavar="what")
    check = data.add_parser("check", help="what was found, what is wrong with it, what is lacking")
    check.add_argument("datasets", nargs="*", metavar="dataset", help="default: those of params.yaml")
    check.add_argument("--edition", default="lite", help="default: lite, which reads real data")
    check.set_defaults(run=_check, pinned=False)

    source = commands.add_parser("source", help="fingerprint the raw data (the pipeline's first stage)")
    source.add_argument("--edition", required=True)
    source.set_defaults(run=_source, pinned=True)

    notebook = commands.add_parser("notebook", help="run a notebook as a stage of the pipeline")
    notebook.add_argument("name", help="such as 03_train")
    notebook.add_argument("--edition", required=True)
    notebook.add_argument("--dataset", help="leave out for a notebook about all data sets")
    notebook.set_defaults(run=_notebook, pinned=True)

    audit = commands.add_parser("audit", help="fit one system under faulty protocols, to see what the faults are worth")
    audit.add_argument("--edition", required=True)
    audit.add_argument("--dataset", required=True)
    audit.set_defaults(run=_audit, pinned=True)

    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab, with the settings under which bytes agree")
    lab.set_defaults(run=_lab, pinned=True)

    reproduce = commands.add_parser("reproduce", help="dvc repro, then the result tables")
    reproduce.set_defaults(run=_reproduce, pinned=True)

    label = commands.add_parser(
        "label", help="say on committed results whether the code that made them has changed since"
    )
    label.set_defaults(run=_label, pinned=False)

    train = commands.add_parser(
        "train", help="train on a table of one's own posts, and say how good the model is on posts set aside"
    )
    train.add_argument("table", help="a .csv, .tsv, .jsonl or .parquet file, one post per row")
    train.add_argument(
        "--label", required=True, action="append", help="the column to learn; may be given several times"
    )
    train.add_argument("--text", help="the column of the texts")
    visual = train.add_mutually_exclusive_group()
    visual.add_argument("--image", help="the column of the paths of pictures")
    visual.add_argument("--clip", help="the column of the paths of videos")
    visual.add_argument("--vision", help="the column of the paths of .npy files with visual features")
    train.add_argument(
        "--kind",
        choices=("number", "classes", "levels", "yes/no"),
        help="of the labels; default: found out from the column",
    )
    train.add_argument("--group", help="a column whose equal values stay together: a user, a product, a video")
    train.add_argument("--split", help="a column of train, valid and test; default: drawn, groups whole")
    train.add_argument("--media-root", type=Path, help="where the paths start from; default: beside the table")
    train.add_argument("--encoders", default="small", help="small, base or full")
    train.add_argument("--text-encoder", help="instead: a name on the Hub, or a folder")
    train.add_argument("--vision-encoder", help="instead: an architecture of open_clip")
    train.add_argument("--vision-weights", help="of that architecture: a tag of open_clip, or a checkpoint file")
    train.add_argument("--max-tokens", type=int, default=128, help="longer texts are cut; default: 128")
    train.add_argument("--seeds", type=int, default=3, help="fits of each system; default: 3")
    train.add_argument("--out", required=True, type=Path, help="the folder to save the model in")
    train.set_defaults(run=_train, pinned=False)

    predict = commands.add_parser(
        "predict",
        help="score one post, or every row of a table",
        description="Score every row of TABLE, with --text, --image, --clip and --vision naming its columns; or, without "
        "TABLE, score one post: --text is what it says, --image or --clip the file that goes with it.",
    )
    predict.add_argument(
        "table",
        nargs="?",
        metavar="TABLE",
        help="a .csv, .tsv, .jsonl or .parquet file, a folder of pictures or of clips, or - for CSV on standard input",
    )
    predict.add_argument("--model", required=True, help="folder of a trained model, or its name on the Hub")
    predict.add_argument(
        "--text",
        help="the column of the texts; without TABLE, what was said or written: --text=-… for one that begins with a dash",
    )
    predict.add_argument("--image", help="the column of paths of pictures; without TABLE, a picture")
    predict.add_argument("--clip", help="the column of paths of videos; without TABLE, a video")
    tables = predict.add_argument_group("with TABLE")
    tables.add_argument("--vision", help="the column of visual features, .npy files of shape (T, D)")
    tables.add_argument("--media-root", metavar="DIR", help="where paths start; default: the folder of TABLE")
    tables.add_argument("--out", help="a .csv, .tsv, .jsonl or .parquet file; default: - for CSV on standard output")
    tables.add_argument("--overwrite", action="store_true", help="replace the file of --out where it exists")
    tables.add_argument("--explain", metavar="FOLDER", type=Path, help="also draw why the first rows were scored so")
    tables.add_argument(
        "--most", metavar="ROWS", type=int, default=20, help="how many rows --explain draws; default: 20"
    )
    predict.set_defaults(run=_predict, pinned=False)

    demo = commands.add_parser("demo", help="open a page to score posts in, and to see why")
    demo.add_argument("--model", required=True, help="folder of a trained model, or its name on the Hub")
    demo.add_argument("--host", default="127.0.0.1", help="who may see it; default: this machine alone")
    demo.add_argument("--port", type=int, help="default: a free one, from 7860 on")
    demo.set_defaults(run=_demo, pinned=False)
    return top


def _check(options: argparse.Namespace) -> None:
    from gexsent.data import sources

    root = project_root()
    params = params_module.load(root / "params.yaml", options.edition)
    names = options.datasets or params.datasets
    where = raw_root(root, params)
    print(f"Looking in {where}" + ("" if where.exists() else " (which does not exist; see data_root in the README)"))
    failed = []
    for name in names:
        workspace = open_workspace(options.edition, name, root)
        found, dataset = sources.find(name, workspace.raw), None
        if found.layouts:
            try:
                dataset = sources.read(
                    name,
                    workspace.raw,
                    seed=params.data.seed,
                    max_bad=params.data.max_bad_rows,
                    verify_media=params.data.verify_media,
                )
            except DataError as error:
                failed.append(f"{name}: {error}")
        print("\n" + sources.describe(found, dataset))
    if failed:
        raise DataError("\n".join(failed))


def _source(options: argparse.Namespace) -> None:
    from gexsent.stages import source

    for name, fingerprint in source.run_all(project_root(), options.edition).items():
        print(f"{name}: {fingerprint['layout'] or 'not found; it will be left out'}")


def _notebook(options: argparse.Namespace) -> None:
    # jsonschema, which nbformat needs, compiles a grammar of internationalised addresses on import: 1.6 s of each stage.
    # Notebooks hold no such address. Blocked, it does without, as where that package is not installed.
    sys.modules.setdefault("rfc3987_syntax", None)
    from gexsent import notebooks

    workspace = open_workspace(options.edition, options.dataset)
    _stay_on_the_cpu(workspace)
    notebooks.execute(options.name, workspace, per_dataset=options.dataset is not None)


def _audit(options: argparse.Namespace) -> None:
    workspace = open_workspace(options.edition, options.dataset)
    _stay_on_the_cpu(workspace)
    from gexsent.stages import audit

    audit.run(workspace)


def _stay_on_the_cpu(workspace: Workspace) -> None:
    if workspace.generated:  # seconds of work, whose results are committed
        machine.hide_gpu()


def _lab(options: argparse.Namespace) -> None:
    root = project_root()
    os.execvp(sys.executable, [sys.executable, "-m", "jupyterlab", f"--notebook-dir={root}"])


def _reproduce(options: argparse.Namespace) -> None:
    from gexsent import reproduce

    reproduce.run(project_root())


def _label(options: argparse.Namespace) -> None:
    from gexsent import provenance

    root = project_root()
    changed = provenance.label(root)
    print(*(path.relative_to(root) for path in changed), sep="\n")
    for edition in provenance.editions(root):
        stages = provenance.changed(root, edition)
        print(f"{edition}: " + (f"code has changed since, of {', '.join(stages)}" if stages else "made by this code"))
    print(f"{len(changed)} files changed")


def _train(options: argparse.Namespace) -> None:
    from gexsent.posts import fit

    if options.encoders not in fit.CHOICES:
        raise DataError(f"--encoders: expected {', '.join(fit.CHOICES)}, found {options.encoders!r}")
    choice = fit.CHOICES[options.encoders]
    changed = {"text": options.text_encoder, "vision": options.vision_encoder, "vision_weights": options.vision_weights}
    if options.vision_encoder is not None and options.vision_weights is None:
        choice = choice._replace(vision_weights=None)
    choice = choice._replace(**{name: value for name, value in changed.items() if value is not None})
    model = fit.fit(
        options.table, label=options.label, text=options.text, image=options.image, clip=options.clip,
        vision=options.vision, kind=options.kind, group=options.group, split=options.split,
        media_root=options.media_root, encoders=choice, max_tokens=options.max_tokens, seeds=options.seeds,
        out=options.out,
    )  # fmt: skip
    print(f"\n{model.report}\n\nSaved in {options.out}")


def _predict(options: argparse.Namespace) -> None:
    only = ("vision", "media_root", "out", "overwrite", "explain")
    given = [f"--{name.replace('_', '-')}" for name in only if getattr(options, name)]
    if options.table is None and given:
        raise DataError(f"{given[0]} goes with a TABLE; without one, a single post is scored")
    try:
        if options.table is None:
            _predict_post(options)
        else:
            _predict_table(options)
    except KeyboardInterrupt:
        print("\ngexsent: interrupted; a run with --out goes on when it is started again the same way", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever reads standard output has seen enough; leave nothing for Python to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _predict_post(options: argparse.Namespace) -> None:
    from gexsent.predictor import Predictor

    prediction = Predictor.from_pretrained(options.model)(options.text or "", image=options.image, clip=options.clip)
    print(json.dumps(prediction, indent=2))


def _predict_table(options: argparse.Namespace) -> None:
    from gexsent.posts.score import Job
    from gexsent.predictor import Predictor

    predictor = Predictor.from_pretrained(options.model)
    columns = {name: getattr(options, name) for name in ("text", "image", "clip", "vision")}
    if options.explain:
        from gexsent.posts import cards

        cards.check(predictor)
        if options.most < 1:
            raise DataError(f"--most {options.most}: at least 1")
        if options.table == "-":
            raise DataError("--explain: standard input can be read but once; save the table as a file first")
    Job.of(predictor, options.table, columns, options.media_root).run(options.out or "-", overwrite=options.overwrite)
    if options.explain:
        job = Job.of(predictor, options.table, columns, options.media_root)
        paths = cards.draw(job, options.explain, most=options.most, model=Path(options.model).name)
        print(f"{len(paths)} cards in {options.explain}", file=sys.stderr)


def _demo(options: argparse.Namespace) -> None:
    from gexsent import demo

    demo.serve(options.model, options.host, options.port)
