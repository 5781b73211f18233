"""Memotion 7k (SemEval-2020 Task 8): labels.csv and images/, bare or inside memotion_dataset_7k/.

The organisers' test set, where a user has it, is images_test/ and labels_test.csv beside them, with the same columns.
"""

from pathlib import Path

import pandas as pd

from gexsent.data import media
from gexsent.data.csvfile import read_csv
from gexsent.data.splits import blocks, duplicate_groups
from gexsent.data.table import BLOCKS, WITHOUT, Quarantine, make
from gexsent.errors import DataError

SENTIMENT = {"very_negative": -1, "negative": -1, "neutral": 0, "positive": 1, "very_positive": 1}
LEVELS = {
    "humour": {"not_funny": 0, "funny": 1, "very_funny": 2, "hilarious": 3},
    "sarcasm": {"not_sarcastic": 0, "general": 1, "twisted_meaning": 2, "very_twisted": 3},
    "offensive": {"not_offensive": 0, "slight": 1, "very_offensive": 2, "hateful_offensive": 3},
    "motivational": {"not_motivational": 0, "motivational": 1},
}
COLUMNS = ["image_name", "text_ocr", "text_corrected", *LEVELS, "overall_sentiment"]


def home(root: Path) -> Path:
    """The folder that holds labels.csv: root, or memotion_dataset_7k inside it."""
    inner = root / "memotion_dataset_7k"
    return inner if (inner / "labels.csv").is_file() else root


def read(root: Path, quarantine: Quarantine, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Samples, labels and the number of rows.

    With the organisers' test set: test is theirs, and validation is one block of the training memes. Without it: ten
    blocks, in which memes that share a picture or a text stay together.

    Raises:
        DataError: as read_csv, or a test file without its images.
    """
    folder = home(root)
    samples, labels, total = _read_file(root, folder / "labels.csv", folder / "images", quarantine, set())
    test_file = folder / "labels_test.csv"
    test: list[dict] = []
    if test_file.is_file():
        if not (folder / "images_test").is_dir():
            raise DataError(f"{folder / 'images_test'}: labels_test.csv is here and its images are not")
        seen = {row["id"] for row in samples}
        test, test_labels, test_total = _read_file(root, test_file, folder / "images_test", quarantine, seen)
        labels, total = labels + test_labels, total + test_total
    rows = samples + test
    digests = [media.digest(root / row["media"]) if row["media"] else "" for row in rows]
    groups = duplicate_groups([row["id"] for row in rows], [row["text"] for row in rows], digests)
    for row, group in zip(rows, groups, strict=True):
        row["group"] = group
    if samples:
        # Beside a test set, one block is all that is needed: two halves will do where there are few memes.
        least = 2 if test else len(BLOCKS)
        classes = [row["sentiment"] for row in labels[: len(samples)]]
        names = blocks([row["group"] for row in samples], classes, seed, least=least)
        for row, name in zip(samples, names, strict=True):
            row["split"] = name if not test else "valid" if name == "block0" else "train"
    tested = {row["group"] for row in test}
    for row in test:
        row["split"] = "test"
    kept = [row for row in rows if row["split"] == "test" or row["group"] not in tested]
    for row in rows:
        if row["split"] != "test" and row["group"] in tested:
            quarantine.add("labels.csv", None, row["id"], "training meme repeats one of the test set", "not trained on")
    wanted = {row["id"] for row in kept}
    return *make(kept, [row for row in labels if row["id"] in wanted]), total


def _read_file(
    root: Path, path: Path, images: Path, quarantine: Quarantine, seen: set[str]
) -> tuple[list[dict], list[dict], int]:
    frame = read_csv(path, COLUMNS, quarantine)
    samples, labels = [], []
    illustrated = images.is_dir()  # without the folder, all memes are text only: no fault of a row
    for number, row in frame.iterrows():
        id_ = row["image_name"].strip()
        sentiment = SENTIMENT.get(row["overall_sentiment"].strip().lower())
        problem = ""
        if not id_:
            problem = "image_name is blank"
        elif Path(id_).name != id_ or "\\" in id_:
            problem = "image_name is not the bare name of a file"
        elif id_ in seen:
            problem = "id occurs a second time"
        elif sentiment is None:
            blank = not row["overall_sentiment"].strip()
            problem = "overall_sentiment is blank" if blank else "overall_sentiment is no known class"
        if problem:
            quarantine.add(path, number, id_, problem)
            continue
        seen.add(id_)
        levels = {}
        for category, names in LEVELS.items():
            cell = row[category].strip().lower()
            levels[category] = names.get(cell)
            if cell and cell not in names:
                quarantine.add(path, number, id_, f"{category} is no known level", "label dropped")
        text = row["text_corrected"].strip() or row["text_ocr"].strip()
        if not text:
            quarantine.add(path, number, id_, "text is blank", f"{WITHOUT} text")
        picture = images / id_
        exists = picture.is_file() and picture.stat().st_size > 0
        if not exists and illustrated:
            problem = "image is an empty file" if picture.is_file() else "image is missing"
            quarantine.add(path, number, id_, problem, f"{WITHOUT} image")
        samples.append(
            {
                "id": id_,
                "group": id_,
                "split": "",
                "text": text,
                "media": picture.relative_to(root).as_posix() if exists else "",
                "kind": "image" if exists else "none",
            }
        )
        labels.append({"id": id_, "sentiment": sentiment, **levels})
    return samples, labels, len(frame)
