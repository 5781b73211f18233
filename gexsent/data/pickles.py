"""Feature pickles, read without running what is in them.

A pickle is a program. This reader lets it build numpy arrays, numbers, strings and plain containers, and refuses all
else by name.
"""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.data.arrays import Ragged
from gexsent.data.mmsa import intensity_labels, parse_intensity
from gexsent.data.table import Quarantine, make
from gexsent.errors import DataError

_ALLOWED = {
    ("builtins", name) for name in ("dict", "list", "set", "frozenset", "tuple", "bytearray", "int", "float", "complex")
} | {("collections", "OrderedDict"), ("_codecs", "encode")}
_NUMPY = {"_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar"}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _ALLOWED or (module.split(".")[0] == "numpy" and name in _NUMPY):
            return super().find_class(module, name)
        raise DataError(f"it asks for {module}.{name}, and only arrays, numbers, strings and containers are allowed")


def load_pickle(path: Path) -> object:
    """The content of an untrusted pickle of arrays and plain values.

    Raises:
        DataError: the file is not a pickle, is cut short, or asks for anything else; the message names what.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: refused: {error}") from None
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{path}: cannot be read as a pickle: {type(error).__name__}: {error}") from error


def read_mmsa(path: Path, quarantine: Quarantine) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Ragged], int]:
    """MMSA's feature files: {train, valid, test} of arrays raw_text, id, vision, regression_labels and perhaps text.

    Padding is cut: by `vision_lengths` where the file has them, else the all-zero rows at either end. MMSA's copies hold
    -inf here and there; it becomes 0 and is noted.

    Raises:
        DataError: a split or array is lacking or of the wrong length, or a video lies in two splits.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not {"train", "valid", "test"} <= content.keys():
        raise DataError(f"{path}: expected the keys train, valid and test")
    samples, labels, total = [], [], 0
    tokens: dict[str, list[np.ndarray]] = {"text": [], "vision": []}
    for split in ("train", "valid", "test"):
        part = content[split]
        lacking = [key for key in ("id", "raw_text", "vision", "regression_labels") if key not in part]
        if lacking:
            raise DataError(f"{path}: {split}: no array {lacking[0]!r}")
        total += len(part["id"])
        for key in ("raw_text", "vision", "regression_labels"):
            if len(part[key]) != len(part["id"]):
                raise DataError(f"{path}: {split}: {len(part['id'])} ids and {len(part[key])} rows of {key}")
        seen = {row["id"] for row in samples}
        for row, id_ in enumerate(map(str, part["id"])):
            intensity, problem = parse_intensity(str(float(np.ravel(part["regression_labels"][row])[0])))
            problem = "id occurs a second time" if id_ in seen else problem
            if problem:
                quarantine.add(path, row, id_, f"{split}: {problem}")
                continue
            seen.add(id_)
            text = str(part["raw_text"][row]).strip()
            video = id_.split("$_$")[0]
            samples.append({"id": id_, "group": video, "split": split, "text": text, "media": "", "kind": "none"})
            labels.append({"id": id_, **intensity_labels(intensity)})
            for modality, arrays in tokens.items():
                if modality in part:
                    arrays.append(_unpadded(part, modality, row, path, id_, quarantine))
    features = {
        modality: Ragged([s["id"] for s in samples], np.concatenate(arrays), np.array([len(a) for a in arrays]))
        for modality, arrays in tokens.items()
        if len(arrays) == len(samples) and arrays
    }
    return *make(samples, labels), {m: f.checked(f"{path}: {m}") for m, f in features.items()}, total


def _unpadded(part: dict, modality: str, row: int, path: Path, id_: str, quarantine: Quarantine) -> np.ndarray:
    values = np.array(part[modality][row], np.float32)  # (L, D)
    values = values[None] if values.ndim == 1 else values
    bad = np.isinf(values)
    if bad.any():
        values[bad] = 0
        quarantine.add(path, row, id_, f"infinity in {modality}", "set to 0")
    lengths = part.get(f"{modality}_lengths")
    if lengths is not None:
        return values[: int(np.ravel(lengths[row])[0])]
    filled = np.flatnonzero(np.any(values != 0, axis=1))
    return values[filled[0] : filled[-1] + 1] if len(filled) else values[:0]
