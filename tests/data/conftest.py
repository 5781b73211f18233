"""Small data sets in every layout, written the way a user's own files are."""

import csv
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from gexsent.data.table import Quarantine

MMSA_HEADER = ["video_id", "clip_id", "text", "label", "annotation", "mode", "label_by"]
MEMOTION_HEADER = [
    "",
    "image_name",
    "text_ocr",
    "text_corrected",
    "humour",
    "sarcasm",
    "offensive",
    "motivational",
    "overall_sentiment",
]
# Two clips a video; ids that a careless reader would take for an option or a number.
MMSA_ROWS = [
    [video, str(clip), f"words of {video} {clip}", label, "", mode, "0"]
    for video, mode, labels in (
        ("-3g5yACwYnA", "train", ("-2.4", "0")),
        ("8404", "valid", ("1.0", "3.0")),
        ("zz", "test", ("0.33333334", "-3.0")),
    )
    for clip, label in enumerate(labels)
]


def write_table(path: Path, header: list[str], rows: list[list[str]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


@pytest.fixture
def quarantine():
    return Quarantine()


@pytest.fixture
def tabulate():
    return write_table


@pytest.fixture
def mmsa_rows():
    return [list(row) for row in MMSA_ROWS]


@pytest.fixture
def label_csv(tmp_path):
    """Write label.csv; `rows` default to six good ones in three videos."""

    def write(rows=MMSA_ROWS, root=tmp_path):
        return write_table(root / "label.csv", MMSA_HEADER, rows)

    return write


def meme_row(number: int, sentiment: str = "positive", **cells: str) -> list[str]:
    row = {
        "image_name": f"image_{number}.png",
        "text_ocr": f"OCR {number}",
        "text_corrected": f"meme {number}",
        "humour": "funny",
        "sarcasm": "not_sarcastic",
        "offensive": "slight",
        "motivational": "motivational",
        "overall_sentiment": sentiment,
        **cells,
    }
    return [str(number), *(row[column] for column in MEMOTION_HEADER[1:])]


@pytest.fixture
def meme():
    return meme_row


@pytest.fixture
def memes():
    """Write labels.csv with a picture for each row into a folder; the pictures all differ."""

    def write(root: Path, rows: list[list[str]], table="labels.csv", images="images", shade=0):
        write_table(root / table, MEMOTION_HEADER, rows)
        (root / images).mkdir(exist_ok=True)
        for place, row in enumerate(rows):
            Image.new("RGB", (4, 4), (shade, place % 256, place // 256)).save(root / images / row[1], format="PNG")
        return root

    return write


@pytest.fixture
def many_memes():
    sentiments = ("very_negative", "negative", "neutral", "positive", "very_positive")
    return [meme_row(number, sentiments[number % 5]) for number in range(60)]


def mmsa_content(width: int = 20, unaligned: bool = True) -> dict:
    """MMSA's dict: three splits of two rows, padded to five frames, of which 3 and 2 are filled."""
    content = {}
    for offset, split in enumerate(("train", "valid", "test")):
        vision = np.zeros((2, 5, width))
        vision[0, :3] = 1 + offset
        vision[1, :2] = 2 + offset
        content[split] = {
            "raw_text": np.array([f"{split} one", f"{split} two"], dtype=object),
            "id": [f"{split}-video$_$0", f"{split}-video$_$1"],
            "text": np.ones((2, 5, 8), np.float32),
            "text_bert": np.ones((2, 3, 5), np.float32),
            "vision": vision,
            "audio": np.ones((2, 5, 3)),
            "regression_labels": np.array([-1.5, 2.0], np.float32),
            "classification_labels": np.array([0.0, 2.0]),
            "annotations": ["Negative", "Positive"],
        }
        if unaligned:
            content[split] |= {"vision_lengths": [3, 2], "audio_lengths": [5, 5]}
    return content


@pytest.fixture
def mmsa_pickle(tmp_path):
    """MMSA's content, changed by a function, as a pickle."""

    def write(change=lambda content: None, *, name="unaligned_50.pkl", protocol=4, root=tmp_path, **options):
        content = mmsa_content(**options)
        change(content)
        path = root / name
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        return path

    return write


def write_csd(path: Path, sequence: str, entries: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        for key, (features, intervals) in entries.items():
            file[f"{sequence}/data/{key}/features"] = features
            file[f"{sequence}/data/{key}/intervals"] = np.asarray(intervals, float)
    return path


@pytest.fixture
def csd_file():
    return write_csd


@pytest.fixture
def csd_folder(tmp_path):
    """Three videos of two segments, [0, 1) and [1, 2) seconds, with two words and one or more frames in each."""
    videos = {"-a_b": "train", "8404": "valid", "c": "test"}
    spans = [[0, 1], [1, 2]]
    labels = {video: (np.array([[-1.5], [2.0]]), spans) for video in videos}
    times = [[0, 0.4], [0.5, 0.9], [1.1, 1.4], [1.5, 1.9]]
    words = {video: (np.array([[b"so"], [b"bad"], [b"sp"], [b"good"]]), times) for video in videos}
    frames = {video: (np.arange(12, dtype=np.float32).reshape(4, 3), times) for video in videos}
    write_csd(tmp_path / "CMU_MOSEI_LabelsSentiment.csd", "labels", labels)
    write_csd(tmp_path / "CMU_MOSEI_TimestampedWords.csd", "words", words)
    write_csd(tmp_path / "CMU_MOSEI_VisualFacet42.csd", "FACET 4.2", frames)
    write_table(tmp_path / "split.csv", ["video_id", "mode"], [[video, mode] for video, mode in videos.items()])
    return tmp_path


@pytest.fixture
def facet_folder(tmp_path):
    """Sixty clips of twenty videos; the pickle's keys have lost their dashes."""
    rows, features = [], {}
    for number in range(60):
        id_ = f"-v{number // 3:02d}-_{number % 3}"
        rows.append([id_, f"sentence {number}", str(float(number % 3 - 1))])
        features[id_.replace("-", "")] = {"features": np.full((2, 35), number, np.float32)}
    write_table(tmp_path / "df_MOSEI_combined_train.tsv", ["frames", "sentence", "polarity_combined"], rows, "\t")
    (tmp_path / "FACET_aligned_MOSEI.pkl").write_bytes(pickle.dumps(features))
    return tmp_path
