"""Predictions for rows of a table, in batches of similar length, the next pictures decoded meanwhile.

Columns are named after the label that a task predicts, or after the task itself where several predict the same label:
pred_<name>, a number or the name of a class or level; p_<name>_<class> for each class; p_<name> of a binary task. Then
`error`, what was wrong with the row, and `cut`, whether its text was longer than the encoder reads.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from gexsent.data import media
from gexsent.decode import decode
from gexsent.errors import DataError
from gexsent.model import Batch
from gexsent.posts.columns import Columns, Post, posts
from gexsent.tasks import Task

if TYPE_CHECKING:
    from gexsent.predictor import Predictor

ERROR, CUT = "error", "cut"
ROWS = 128  # rows of one forward pass: more gain nothing on a core
PICTURES = 16  # or so many pictures: as many more are decoded meanwhile, of up to 150 MB each
BROUGHT = 8192  # or so many visual tokens brought along, padding included


def predictions(predictor: "Predictor", piece: pd.DataFrame, columns: Columns, root: Path, bar: tqdm) -> pd.DataFrame:
    """Prediction columns, error and cut of each row, numbered from 0."""
    rows, kind = posts(piece, columns, root), columns.visual
    lengths, cut = _lengths(predictor, [row.text for row in rows])
    problems, texts = [row.problem for row in rows], [row.text for row in rows]
    batches = _batches(predictor, rows, lengths, kind)
    heads = {name: np.zeros((len(rows), count), np.float32) for name, count in predictor.config.outputs.items()}
    scored = np.zeros(len(rows), bool)
    load = partial(_load, predictor, kind, root)
    for batch, loaded in zip(batches, media.ahead(lambda batch: [load(rows[n]) for n in batch], batches), strict=True):
        for place, (_, problem) in zip(batch, loaded, strict=True):
            problems[place] = problems[place] or problem
        seen = _see(predictor, [found for found, _ in loaded])
        kept = []
        for number, place in enumerate(batch):
            lacking = predictor.lacks(lengths[place] > 0, len(seen[number]) > 0)
            problems[place] = problems[place] or lacking
            kept += [] if lacking else [number]
        if kept:
            places = [batch[number] for number in kept]
            words = _read(predictor, [texts[place] if lengths[place] else "" for place in places])
            for name, value in _forward(predictor, words, [seen[number] for number in kept]).items():
                heads[name][places] = value
            scored[places] = True
        bar.update(len(batch))
    table = named({name: value[scored] for name, value in heads.items()}, predictor.tasks)
    table = table.set_axis(np.flatnonzero(scored), axis=0).reindex(range(len(rows)))
    return table.assign(**{ERROR: pd.Series(problems, dtype=object), CUT: cut})


def _lengths(predictor: "Predictor", texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each text (N,), 0 where there is none, and whether it had more than the encoder reads (N,)."""
    there = [place for place, text in enumerate(texts) if text.strip()]
    lengths = np.zeros(len(texts), np.int64)
    if not there:
        return lengths, lengths > 0
    encoder = predictor.text
    # One more than it reads is enough to know that there are more.
    ids = encoder.tokenizer([texts[place] for place in there], truncation=True, max_length=encoder.max_tokens + 1)
    lengths[there] = [len(tokens) for tokens in ids["input_ids"]]
    return lengths.clip(max=encoder.max_tokens), lengths > encoder.max_tokens


def _batches(predictor: "Predictor", rows: Sequence[Post], lengths: np.ndarray, kind: str | None) -> list[list[int]]:
    """Every place once, shortest text first, in batches that suit the processor and its memory."""
    pictures = [0 if row.media is None else predictor.frames if kind == "clip" else 1 for row in rows]
    brought = [0 if row.vision is None else len(row.vision) for row in rows]
    tokens = predictor.text.batch_tokens if predictor.text else 0
    batches: list[list[int]] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        batch = [*batches[-1], place] if batches else []
        fits = (
            0 < len(batch) <= ROWS
            and len(batch) * lengths[place] <= tokens
            and sum(pictures[n] for n in batch) <= PICTURES
            and len(batch) * max(brought[n] for n in batch) <= BROUGHT
        )
        if fits:
            batches[-1] = batch
        else:
            batches.append([place])
    return batches


def _load(
    predictor: "Predictor", kind: str | None, root: Path, row: Post
) -> tuple[list[Image.Image] | np.ndarray, str]:
    """The pictures of a row, or its features (T, Dv); nothing, and what is wrong with them."""
    try:
        if row.media is not None:
            return predictor.pictures(**{kind: row.media}), ""
        if row.vision is not None and row.vision.shape[1] != predictor.config.vision_features:
            raise DataError(f"expected shape (T, {predictor.config.vision_features}), found {row.vision.shape}")
    except DataError as error:
        return [], f"{kind}: {str(error).removeprefix(f'{root}/')}"
    return ([] if row.vision is None else row.vision), ""


def _see(predictor: "Predictor", loaded: Sequence[list[Image.Image] | np.ndarray]) -> list[Tensor]:
    """Visual tokens (T, Dv) of each row; T = 0 without any."""
    pictures = [item for item in loaded if isinstance(item, list) and item]
    if predictor.config.temporal:
        # Each clip by itself: together they give sums of another order, and then other roundings to half precision.
        arrays = iter([predictor.vision.encode_frames(item) for item in pictures])
    else:
        arrays = iter(predictor.vision.encode_images([item[0] for item in pictures]) if pictures else [])
    nothing = np.zeros((0, predictor.config.vision_features), np.float32)
    found = [item if isinstance(item, np.ndarray) else next(arrays) if item else nothing for item in loaded]
    return [torch.from_numpy(np.array(item, np.float32)) for item in found]


def _read(predictor: "Predictor", texts: Sequence[str]) -> list[Tensor]:
    """Text tokens (L, Dt) of each row; L = 0 for ""."""
    result = [torch.zeros(0, predictor.config.text_features) for _ in texts]
    there = [place for place, text in enumerate(texts) if text]
    if there:
        states, mask = predictor.text.encode_batch([texts[place] for place in there])
        for place, state, real in zip(there, states, mask, strict=True):
            result[place] = state[real]
    return result


@torch.inference_mode()
def _forward(predictor: "Predictor", words: Sequence[Tensor], seen: Sequence[Tensor]) -> dict[str, np.ndarray]:
    heads = predictor.model(Batch(*_padded(words), *_padded(seen))).heads
    return {name: value.numpy() for name, value in heads.items()}


def _padded(tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """B times (T, D) -> (B, L, D) and mask (B, L); L is at least 1."""
    lengths = torch.tensor([len(one) for one in tokens])
    longest = max(1, int(lengths.max()))
    values = pad_sequence([*tokens, tokens[0].new_zeros(longest, tokens[0].shape[1])], batch_first=True)[:-1]
    return values, torch.arange(longest) < lengths[:, None]


def column_names(tasks: Sequence[Task]) -> dict[str, str]:
    """{task: what its columns are named after}: its label, or its own name where its label has several tasks."""
    shared = Counter(task.label for task in tasks)
    return {task.name: task.label if shared[task.label] == 1 else task.name for task in tasks}


def empty(tasks: Sequence[Task]) -> pd.DataFrame:
    """No row of all the columns that scoring adds."""
    table = named({task.name: np.zeros((0, task.outputs)) for task in tasks}, tasks)
    return table.assign(**{ERROR: pd.Series([], dtype=object), CUT: np.zeros(0, bool)})


def named(outputs: Mapping[str, np.ndarray], tasks: Sequence[Task]) -> pd.DataFrame:
    """Head outputs {task: (N, outputs)} -> N rows of prediction columns, with names for classes and levels."""
    decoded, columns = decode(outputs, tasks), {}
    for task in tasks:
        name, values = column_names(tasks)[task.name], decoded[f"pred_{task.name}"]
        if task.kind == "regression":
            columns[f"pred_{name}"] = _exact(values)
        else:
            said = [task.classes[int(value) - task.first] for value in values]
            columns[f"pred_{name}"] = pd.Series(said, dtype=object)
        if task.kind == "binary":
            columns[f"p_{name}"] = _exact(decoded[f"p_{task.name}"])
        elif task.kind == "classes":
            columns |= {f"p_{name}_{class_}": _exact(decoded[f"p_{task.name}_{class_}"]) for class_ in task.classes}
    return pd.DataFrame(columns)


def _exact(values: np.ndarray) -> np.ndarray:
    """float32 as the float64 of the same shortest digits: 0.1 and not 0.10000000149011612."""
    return np.array([float(str(value)) for value in values], np.float64)
