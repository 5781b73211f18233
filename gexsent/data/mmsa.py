"""CMU-MOSI and CMU-MOSEI as label.csv with, where there are any, clips under Raw/<video>/<clip>.mp4."""

import math
from pathlib import Path

import pandas as pd

from gexsent.data.csvfile import read_csv
from gexsent.data.table import OFFICIAL, WITHOUT, Quarantine, make

COLUMNS = ["video_id", "clip_id", "text", "label", "mode"]


def read_labels(root: Path, quarantine: Quarantine) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Samples, labels and the number of rows in root/label.csv. `label` is the truth; `annotation` is not read.

    Raises:
        DataError: as read_csv.
    """
    path = root / "label.csv"
    frame = read_csv(path, COLUMNS, quarantine)
    for column in ("video_id", "clip_id"):
        frame[column] = frame[column].str.strip()
    frame.insert(0, "id", frame["video_id"] + "$_$" + frame["clip_id"])
    samples, labels, seen = [], [], set()
    clips = (root / "Raw").is_dir()
    for number, row in frame.iterrows():
        intensity, problem = parse_intensity(row["label"])
        split = row["mode"].strip()
        if row["id"] in seen:
            problem = "id occurs a second time"
        elif not row["video_id"] or not row["clip_id"]:
            problem = "no video or clip id"
        elif split not in OFFICIAL:
            problem = f"unknown split {split!r}"
        if problem:
            quarantine.add(path, number, row["id"], problem)
            continue
        seen.add(row["id"])
        if not row["text"].strip():
            quarantine.add(path, number, row["id"], "text is blank", f"{WITHOUT} text")
        media = f"Raw/{row['video_id']}/{row['clip_id']}.mp4" if clips else ""
        samples.append(
            {
                "id": row["id"],
                "group": row["video_id"],
                "split": split,
                "text": row["text"].strip(),
                "media": media,
                "kind": "clip" if media else "none",
            }
        )
        labels.append({"id": row["id"], **intensity_labels(intensity)})
    return *make(samples, labels), len(frame)


def parse_intensity(cell: str) -> tuple[float, str]:
    """A label cell to its value and what is wrong with it ("" when nothing is)."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan, "label is blank" if not cell.strip() else "label is not a number"
    if not -3 <= value <= 3:
        return math.nan, "label outside [-3, 3]"
    return value, ""


def intensity_labels(intensity: float) -> dict:
    """Intensity with its three-class sentiment, the sign."""
    return {"intensity": intensity, "sentiment": (intensity > 0) - (intensity < 0)}
