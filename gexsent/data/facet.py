"""The files of the released GEXSent code: FACET_aligned_MOSEI.pkl and df_MOSEI_combined_train.tsv.

They hold no test set. The released code shuffles clips, without a seed, so that clips of one video fall on both sides;
here the videos are split, by ten seeded blocks like any data set without an official split.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.data.arrays import Ragged
from gexsent.data.csvfile import read_csv
from gexsent.data.splits import blocks
from gexsent.data.table import WITHOUT, Quarantine, make
from gexsent.data.unpickle import load_pickle
from gexsent.errors import DataError

PICKLE = "FACET_aligned_MOSEI.pkl"
TABLE = "df_MOSEI_combined_train.tsv"
WIDTH = 35  # of FACET's features
POLARITY = {-1.0: -1, 0.0: 0, 1.0: 1}


def read(root: Path, quarantine: Quarantine, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Ragged], int]:
    """Samples with sentiment labels (there is no intensity) and FACET features of width 35.

    Raises:
        DataError: a file is lacking or damaged, or the pickle is not {id: {'features': (F, 35)}}.
    """
    frame = read_csv(root / TABLE, ["frames", "sentence", "polarity_combined"], quarantine, separator="\t")
    content = load_pickle(root / PICKLE)
    if not isinstance(content, dict) or not all(isinstance(v, dict) and "features" in v for v in content.values()):
        raise DataError(f"{root / PICKLE}: expected {{id: {{'features': array (F, 35)}}}}")
    samples, labels, values, seen = [], [], [], set()
    for number, row in frame.iterrows():
        id_ = row["frames"].strip()
        problem, sentiment = "", None
        try:
            sentiment = POLARITY.get(float(row["polarity_combined"]))
        except ValueError:
            problem = "polarity is not a number"
        if sentiment is None:
            problem = problem or "polarity is not -1, 0 or 1"
        if not id_ or id_ in seen:
            problem = "id is blank" if not id_ else "id occurs a second time"
        if problem:
            quarantine.add(TABLE, number, id_, problem)
            continue
        seen.add(id_)
        entry = content.get(id_.replace("-", ""))  # the pickle's keys have lost their dashes
        if entry is None:
            quarantine.add(TABLE, number, id_, f"not in {PICKLE}", f"{WITHOUT} vision")
        try:
            features = np.zeros((0, WIDTH), np.float32) if entry is None else np.array(entry["features"], np.float32)
        except ValueError as error:
            raise DataError(f"{root / PICKLE}: {id_}: features are not an array of numbers: {error}") from error
        if features.ndim != 2 or features.shape[1] != WIDTH:
            raise DataError(f"{root / PICKLE}: {id_}: features of shape {features.shape}, expected (F, {WIDTH})")
        if not np.isfinite(features).all():
            quarantine.add(PICKLE, None, id_, "NaN or infinity in vision", "set to 0")
        if not row["sentence"].strip():
            quarantine.add(TABLE, number, id_, "text is blank", f"{WITHOUT} text")
        values.append(np.where(np.isfinite(features), features, 0))
        video = id_.rsplit("_", 1)[0]
        samples.append({"id": id_, "group": video, "text": row["sentence"].strip(), "media": "", "kind": "none"})
        labels.append({"id": id_, "sentiment": sentiment})
    if samples:
        names = blocks([s["group"] for s in samples], [label["sentiment"] for label in labels], seed)
        samples = [{**sample, "split": name} for sample, name in zip(samples, names, strict=True)]
    vision = Ragged.join([sample["id"] for sample in samples], values, f"{root / PICKLE}: vision")
    return *make(samples, labels), {"vision": vision}, len(frame)
