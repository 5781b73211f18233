"""CMU-MultimodalSDK `.csd` files, which are HDF5: <sequence>/data/<segment>/{features, intervals}.

Needed: one file of labels with a segment `video[number]` each, and one of words; visual features where there are any.
The official split does not lie in these files, so it is asked for as `split.csv`, with columns video_id and mode.
"""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from gexsent.data.arrays import Ragged
from gexsent.data.csvfile import read_csv
from gexsent.data.mmsa import intensity_labels, parse_intensity
from gexsent.data.table import OFFICIAL, WITHOUT, Quarantine, make
from gexsent.errors import DataError

SPLIT = "split.csv"


def sequences(path: Path) -> tuple[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Name of the sequence, and {segment: (features (T, D), intervals (T, 2) in seconds)}.

    Raises:
        DataError: not HDF5, or not of that layout.
    """
    try:
        with h5py.File(path, "r") as file:
            name = next(iter(file))
            data = file[name]["data"]
            return name, {k: (data[k]["features"][...], data[k]["intervals"][...]) for k in data}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, StopIteration) as error:
        raise DataError(f"{path}: cannot be read as a .csd file (<sequence>/data/<id>/features): {error}") from error


def classify(names: list[str]) -> dict[str, str]:
    """{role: file name} for labels, words and vision, by the names that the SDK gives its files.

    The SDK also has word vectors, phones and labels of emotion: those are other things. The first name wins.
    """
    roles = {"labels": ("label",), "words": ("word", "rawtext", "raw_text"), "vision": ("facet", "openface", "visual")}
    others = ("vector", "glove", "emotion")
    return {
        role: name
        for role, marks in roles.items()
        for name in sorted(names, reverse=True)
        if any(mark in name.lower() for mark in marks) and not any(other in name.lower() for other in others)
    }


def read_split(path: Path, quarantine: Quarantine) -> dict[str, str]:
    """{video: split} of split.csv.

    Raises:
        DataError: as read_csv, or a video in two splits.
    """
    split: dict[str, str] = {}
    for number, row in read_csv(path, ["video_id", "mode"], quarantine).iterrows():
        video, mode = row["video_id"].strip(), row["mode"].strip()
        if split.setdefault(video, mode) != mode:
            raise DataError(f"{path}: row {number}: video {video!r} is in two splits, {split[video]} and {mode}")
    return split


def read(root: Path, quarantine: Quarantine) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Ragged], int]:
    """Segments of the labels file, with the words and the visual features that fall inside their intervals.

    Raises:
        DataError: a file is lacking or damaged.
    """
    files = classify([path.name for path in root.glob("*.csd")])
    for role in ("labels", "words"):
        if role not in files:
            raise DataError(f"{root}: no .csd file of {role}; found {', '.join(sorted(files.values())) or 'none'}")
    split = read_split(root / SPLIT, quarantine)
    _, truth = sequences(root / files["labels"])
    _, words = sequences(root / files["words"])
    vision = sequences(root / files["vision"])[1] if "vision" in files else {}
    samples, labels, seen, total = [], [], [], 0
    for video in sorted(truth):
        values, spans = truth[video]
        if len(values) != len(spans) or np.ndim(values) != 2:
            raise DataError(f"{root / files['labels']}: {video}: {len(values)} labels and {len(spans)} intervals")
        for number, (value, span) in enumerate(zip(values, spans, strict=True)):
            total += 1
            base = video.split("[")[0]
            clip = video[len(base) + 1 : -1] if "[" in video else str(number)
            id_ = f"{base}$_${clip}"
            intensity, problem = parse_intensity(str(float(value[0])))
            mode = split.get(base)
            if mode not in OFFICIAL:
                problem = f"video is not in {SPLIT}" if mode is None else f"unknown split {mode!r}"
            if problem:
                quarantine.add(files["labels"], None, id_, problem)
                continue
            spoken = [_word(w) for w in _inside(words, video, base, span)]
            text = " ".join(w for w in spoken if w and w != "sp")
            samples.append({"id": id_, "group": base, "split": mode, "text": text, "media": "", "kind": "none"})
            labels.append({"id": id_, **intensity_labels(intensity)})
            if not text:
                quarantine.add(files["words"], None, id_, "text is blank", f"{WITHOUT} text")
            if vision:
                seen.append(_finite(_inside(vision, video, base, span), files["vision"], id_, quarantine))
    features = {}
    if vision and samples:
        ids = [sample["id"] for sample in samples]
        features["vision"] = Ragged.join(ids, seen, f"{root / files['vision']}")
    return *make(samples, labels), features, total


def _finite(values: np.ndarray | list, file: str, id_: str, quarantine: Quarantine) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if not len(values):
        quarantine.add(file, None, id_, "no vision features", f"{WITHOUT} vision features")
    if np.isfinite(values).all():
        return values
    quarantine.add(file, None, id_, "NaN or infinity in vision", "set to 0")
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _inside(data: dict, segment: str, video: str, span: np.ndarray) -> np.ndarray | list:
    if segment in data and "[" in segment:  # aligned files have one entry a segment
        return data[segment][0]
    if video not in data:
        return []
    features, intervals = data[video]
    middle = intervals.mean(1)
    return features[(middle >= span[0]) & (middle < span[1])]


def _word(value: np.ndarray) -> str:
    word = np.ravel(value)[0]
    return word.decode() if isinstance(word, bytes) else str(word)
