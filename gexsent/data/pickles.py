"""MMSA's feature pickles."""

from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.data.arrays import Ragged
from gexsent.data.mmsa import intensity_labels, parse_intensity
from gexsent.data.table import OFFICIAL, WITHOUT, Quarantine, make
from gexsent.data.unpickle import load_pickle
from gexsent.errors import DataError

NEEDED = ("id", "raw_text", "vision", "regression_labels")


def read_mmsa(path: Path, quarantine: Quarantine) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Ragged], int]:
    """MMSA's feature files: {train, valid, test} of arrays raw_text, id, vision, regression_labels and perhaps text.

    Padding is cut: by `vision_lengths` where the file has them, else the all-zero rows at either end. MMSA's copies
    hold -inf here and there; it becomes 0 and is noted. Rows are counted from 0 within their split.

    Raises:
        DataError: a split or array is lacking, of the wrong length or width, or holds NaN.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not set(OFFICIAL) <= content.keys():
        raise DataError(f"{path}: expected a dict with the keys train, valid and test")
    samples, labels, total, seen = [], [], 0, set()
    tokens: dict[str, list[np.ndarray]] = {"text": [], "vision": []}
    for split in OFFICIAL:
        part = _part(content[split], f"{path}: {split}")
        total += len(part["id"])
        for row, id_ in enumerate(map(_string, part["id"])):
            label = np.ravel(part["regression_labels"][row])
            intensity, problem = parse_intensity(str(label[0]) if len(label) else "")
            problem = "id occurs a second time" if id_ in seen else problem
            if problem:
                quarantine.add(path, row, id_, f"{split}: {problem}")
                continue
            seen.add(id_)
            text = _string(part["raw_text"][row]).strip()
            if not text:
                quarantine.add(path, row, id_, f"{split}: text is blank", f"{WITHOUT} text")
            video = id_.split("$_$")[0]
            samples.append({"id": id_, "group": video, "split": split, "text": text, "media": "", "kind": "none"})
            labels.append({"id": id_, **intensity_labels(intensity)})
            for modality, arrays in tokens.items():
                if modality in part:
                    arrays.append(_unpadded(part, modality, row, path, id_, quarantine))
    ids = [sample["id"] for sample in samples]
    features = {
        modality: Ragged.join(ids, arrays, f"{path}: {modality}")
        for modality, arrays in tokens.items()
        if len(arrays) == len(samples) and arrays
    }
    return *make(samples, labels), features, total


def _part(part: object, where: str) -> dict:
    if not isinstance(part, dict):
        raise DataError(f"{where}: expected a dict of arrays, found {type(part).__name__}")
    for key in NEEDED:
        if key not in part:
            raise DataError(f"{where}: no array {key!r}")
    for key in (*NEEDED, "text", "text_lengths", "vision_lengths"):
        if key in part and len(part[key]) != len(part["id"]):
            raise DataError(f"{where}: {len(part['id'])} ids and {len(part[key])} rows of {key}")
    return part


def _string(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _unpadded(part: dict, modality: str, row: int, path: Path, id_: str, quarantine: Quarantine) -> np.ndarray:
    try:
        values = np.array(part[modality][row], np.float32)  # (L, D)
    except ValueError as error:
        raise DataError(f"{path}: {modality} of {id_!r} is not an array of numbers: {error}") from error
    values = values[None] if values.ndim == 1 else values
    bad = np.isinf(values)
    if bad.any():
        values[bad] = 0
        quarantine.add(path, row, id_, f"infinity in {modality}", "set to 0")
    lengths = part.get(f"{modality}_lengths")
    if lengths is not None:
        return values[: max(0, int(np.ravel(lengths[row])[0]))]
    filled = np.flatnonzero(np.any(values != 0, axis=1)) if values.ndim == 2 else []
    return values[filled[0] : filled[-1] + 1] if len(filled) else values[:0]
