"""`gexsent.fit`: from a table of labelled posts to a model that knows how good it is."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gexsent import tasks as task_files
from gexsent.data.splits import duplicate_groups
from gexsent.encoders.record import BROUGHT, EncoderRecord
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.errors import DataError
from gexsent.model import load_model
from gexsent.posts import files, folder, labels, learn, report
from gexsent.posts.columns import Columns, Post, posts, require
from gexsent.posts.features import Encoders, content_of, encode, opened_cache
from gexsent.posts.files import Table
from gexsent.predictor import Predictor
from gexsent.tasks import Task
from gexsent.training.device import pick_device


class Choice(NamedTuple):
    """Encoders by name: of texts one of the Hub, of pictures an architecture of open_clip and its weights."""

    text: str
    vision: str
    vision_weights: str | None


CLIP = ("ViT-B-32", "laion2b_s34b_b79k")
CHOICES = {
    "small": Choice("sentence-transformers/all-MiniLM-L6-v2", *CLIP),
    "base": Choice("sentence-transformers/all-mpnet-base-v2", *CLIP),
    "full": Choice("answerdotai/ModernBERT-base", *CLIP),
}
FRAMES = 8
SEED = 20


def fit(
    table: Table,
    *,
    label: str | Sequence[str],
    text: str | None = None,
    image: str | None = None,
    clip: str | None = None,
    vision: str | None = None,
    kind: str | Mapping[str, str] | None = None,
    group: str | None = None,
    split: str | None = None,
    media_root: str | Path | None = None,
    encoders: str | Choice = "small",
    max_tokens: int = 128,
    seeds: int = 3,
    seed: int = SEED,
    out: str | Path | None = None,
    cache: str | Path | None = "",
    progress: bool = True,
) -> Predictor:
    """Train GEXSent on one's own posts, and each modality alone, late fusion and a constant beside it on the same rows.

    >>> model = gexsent.fit("posts.csv", text="text", image="image", label="sentiment")
    >>> print(model.report)
    >>> scored = model.predict("new.csv")

    Args:
        table: the path of a .csv, .tsv, .jsonl or .parquet file, or a DataFrame. One post per row; a row without a text or
            without a picture is normal.
        label: the column, or columns, to learn. A column of numbers is a number, of anything else classes, of yes and no
            the two; an ordered category of pandas is levels. What was found out is printed.
        text, image, clip, vision: columns of texts, of paths of pictures or of videos, or of visual features brought along,
            as arrays (T, D) or paths of .npy files; the order of their T tokens means nothing.
        kind: "number", "classes", "levels" or "yes/no" instead of what would be found out; {label: kind} for several.
        group: a column whose equal values stay together (a user, a product, a video). Posts with the same text or the same
            picture stay together whatever is said.
        split: a column of train, valid and test; by default seven, one and two tenths of the groups, drawn by `seed`.
        media_root: where the paths start from; by default beside the table's file, or the working directory.
        encoders: "small", "base" or "full", or a Choice of names.
        max_tokens: longer texts are cut.
        seeds: fits of each system. The scores are their means; the fit that is kept is the best on validation posts.
        out: a folder to save the model in; a fit that is stopped goes on there when it is run again.
        cache: a folder for features, "" for the usual one, None for none.
        progress: print what was found, and show how far it is.

    Raises:
        DataError: what is wrong with the table or the arguments, naming column and row, and what to do.
    """
    if seeds < 1:
        raise DataError(f"seeds: expected 1 or more, found {seeds}")
    if out is not None:
        folder.refuse_used(Path(out))  # before hours of work, and not after
    wanted = [label] if isinstance(label, str) else list(label)
    columns = Columns(text=text, image=image, clip=clip, vision=vision)
    frame, tasks, values = read(table, columns, wanted, kind, [name for name in (group, split) if name])
    root = Path(media_root) if media_root is not None else files.folder(table)
    found = posts(frame, columns, root)
    usable = _usable(found, values)
    say = print if progress else (lambda *_: None)
    for task in tasks:
        say(labels.describe(task, values[task.label]))
    _say_left_out(found, values, usable, say)
    frame, found = frame[usable], [post for post, use in zip(found, usable, strict=True) if use]
    values = {name: column[usable] for name, column in values.items()}
    groups = group_of(found, None if group is None else frame[group])
    if len(found) < learn.LEAST_POSTS:
        raise DataError(
            f"{files.named(table)}: {len(found)} posts with a label, and {learn.LEAST_POSTS} are the least to learn from, "
            "choose by and test on; label more posts"
        )
    if split is None:
        roles = learn.deal(tasks[0], values[tasks[0].label], groups, seed)
    else:
        roles = learn.given_roles(list(frame[split]), split, groups)
    counts = ", ".join(f"{int((roles == role).sum()):,} {purpose}" for role, purpose in learn.ROLES.items())
    say(f"posts in {len(set(groups)):,} groups: {counts}")
    loaded, record = load_encoders(encoders, columns, max_tokens, found)
    with opened_cache(cache) as store:
        samples, problems = encode(found, columns.visual, loaded, store, progress=progress)
    if problems:
        say(f"{len(problems):,} posts are used without their {columns.visual}, which cannot be read, such as: "
            f"{next(iter(problems.values()))}")  # fmt: skip
    study = learn.Study(samples, columns.visual == "clip", tasks, values, roles, np.array(groups))
    check(study)
    work = Path(out).with_name(Path(out).name + ".partial") if out is not None else None
    with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as place:
        fits = Path(place)
        records = learn.fit(study, study.systems(), seeds, fits, progress=progress)
        judged = report.judge(study, fits, seeds)
        best = min(range(seeds), key=lambda number: records["gexsent", number]["valid_loss"])
        kept = fits / "gexsent" / f"seed{best}"
        model, config = load_model(kept)
        predictor = Predictor(model, config, task_files.load(kept), loaded.text, loaded.vision, record.frames, columns)
    predictor.record, predictor.report = record, judged
    if out is not None:
        predictor.save(out)
        shutil.rmtree(work)
    return predictor


def read(
    table: Table,
    columns: Columns,
    wanted: Sequence[str],
    kind: str | Mapping[str, str] | None,
    others: Sequence[str] = (),
) -> tuple[pd.DataFrame, tuple[Task, ...], dict[str, np.ndarray]]:
    """The rows of a table, the task of each label, and {label: codes (N,)}.

    Raises:
        DataError: as files.read and labels.infer, a column is lacking, or stands for two things.
    """
    if not wanted:
        raise DataError("label: name the column, or columns, to learn")
    frame = files.read(table)
    inputs = list(columns.named().values())
    require(frame, [*wanted, *inputs, *others], files.named(table))
    for name in wanted:
        if name in inputs or name in others or wanted.count(name) > 1:
            raise DataError(f"label: the column {name!r} is named twice; what is learned cannot be given as well")
    kinds = {name: kind.get(name) if isinstance(kind, Mapping) else kind for name in wanted}
    if isinstance(kind, Mapping) and (unknown := set(kind) - set(wanted)):
        raise DataError(f"kind: {sorted(unknown)[0]!r} is none of the labels {', '.join(wanted)}")
    tasks = tuple(labels.infer(frame[name], number, kinds[name]) for number, name in enumerate(wanted))
    return frame, tasks, {task.label: labels.codes(frame[task.label], task) for task in tasks}


def group_of(found: Sequence[Post], owners: pd.Series | None = None) -> list[str]:
    """The group of each post: posts of one owner, with one text or with one picture stay together."""
    digests = []
    for post in found:
        brought = post.vision is not None and len(post.vision)
        digests.append(
            content_of(post.media)
            if post.media
            else hashlib.sha256(post.vision.tobytes()).hexdigest()
            if brought
            else ""
        )
    names = None
    if owners is not None:
        names = ["" if files.missing(cell) else str(cell).strip() for cell in owners]
    places = [str(place) for place in range(len(found))]
    return duplicate_groups(places, [post.text for post in found], digests, names)


def load_encoders(
    encoders: str | Choice, columns: Columns, max_tokens: int, found: Sequence[Post]
) -> tuple[Encoders, EncoderRecord]:
    """What the columns need of the encoders, and the note of it that lies with the model.

    Raises:
        DataError: an unknown choice, or an encoder that is not to be had.
    """
    if isinstance(encoders, str):
        if encoders not in CHOICES:
            raise DataError(
                f"encoders: unknown choice {encoders!r}; choose from {', '.join(CHOICES)}, or give a Choice of names"
            )
        encoders = CHOICES[encoders]
    device = pick_device()
    text = vision = None
    if columns.text is not None:
        text = load_text_encoder(encoders.text, max_tokens=max_tokens, device=device)
    if columns.visual in ("image", "clip") and any(post.media for post in found):
        vision = load_vision_encoder(encoders.vision, encoders.vision_weights, device=device)
    record = EncoderRecord(
        text=encoders.text if text else BROUGHT,
        text_fingerprint=text.fingerprint if text else "",
        vision=encoders.vision if vision else None,
        vision_weights=encoders.vision_weights if vision else None,
        vision_fingerprint=vision.fingerprint if vision else None,
        max_tokens=max_tokens,
        frames=FRAMES,
    )
    return Encoders(text, vision, FRAMES), record


def check(study: learn.Study) -> None:
    """What must hold before anything is fitted.

    Raises:
        DataError: a label that no training, or no validation, or no test post has.
    """
    for task in study.tasks:
        for role, purpose in learn.ROLES.items():
            values = study.values[task.label][study.roles == role]
            if np.isnan(values).all():
                raise DataError(f"column {task.label!r}: no post {purpose} has this label; label more posts")
        trained = study.values[task.label][study.roles == "train"]
        if len(np.unique(trained[~np.isnan(trained)])) < 2:
            raise DataError(f"column {task.label!r}: all posts to train on have the same label; label more posts")


def _usable(found: Sequence[Post], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) True where a post holds something, and has a label."""
    shown = np.array([bool(post.text.strip()) or post.media is not None or post.vision is not None for post in found])
    return shown & ~np.all([np.isnan(column) for column in values.values()], axis=0)


def _say_left_out(found: Sequence[Post], values: Mapping[str, np.ndarray], usable: np.ndarray, say) -> None:
    unlabelled = int(np.all([np.isnan(column) for column in values.values()], axis=0).sum())
    empty = int((~usable).sum()) - unlabelled
    faults = [post.problem for post in found if post.problem]
    if unlabelled:
        say(f"{unlabelled:,} rows have no label and are left out")
    if empty:
        say(f"{empty:,} rows have neither a text nor anything to see and are left out")
    if faults:
        say(f"{len(faults):,} rows are used without what they name, such as: {faults[0]}")
    if not usable.any():
        raise DataError("no row has both a label and something to learn from" + (f"; {faults[0]}" if faults else ""))
