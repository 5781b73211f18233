"""From predictions to scores: one row a system and seed, then mean and deviation over seeds."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from gexsent.digest import write_atomically
from gexsent.evaluation import metrics
from gexsent.tasks import CATEGORIES, LEVELS

SENTIMENT_CLASSES = [-1, 0, 1]


def dataset_metrics(rows: pd.DataFrame, dataset: str) -> dict[str, float]:
    """All metrics of one data set for rows that hold predictions and labels side by side.

    A metric whose prediction or labels are not there at all is left out. Rows without a label are left out of that
    metric alone.
    """
    scores: dict[str, float] = {}
    if dataset == "memotion":
        scores |= _sentiment(rows, "a")
        for task, column in (("b", "present"), ("c", "level")):
            by_category = {}
            for category in CATEGORIES:
                known = rows[rows[category].notna()]
                true = known[category].to_numpy(np.int64)
                classes = [0, 1] if task == "b" else list(range(LEVELS[category]))
                true = np.minimum(true, 1) if task == "b" else true
                predicted = known[f"pred_{category}_{column}"].to_numpy(np.int64)
                by_category[f"macro_f1_{task}_{category}"] = metrics.macro_f1(predicted, true, classes)
            scores[f"macro_f1_{task}"] = float(np.mean(list(by_category.values())))
            scores |= by_category
        return scores
    if "intensity" in rows and rows["intensity"].notna().any():
        known = rows[rows["intensity"].notna()]
        scores |= metrics.intensity(known["pred_intensity"].to_numpy(), known["intensity"].to_numpy())
    return scores | _sentiment(rows, "3")


def _sentiment(rows: pd.DataFrame, suffix: str) -> dict[str, float]:
    known = rows[rows["sentiment"].notna()]
    predicted, true = (known[c].to_numpy(np.int64) for c in ("pred_sentiment", "sentiment"))
    return {
        f"macro_f1_{suffix}": metrics.macro_f1(predicted, true, SENTIMENT_CLASSES),
        f"acc_{suffix}": metrics.accuracy(predicted, true),
    }


def seed_scores(predictions: pd.DataFrame, labels: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row a system and seed: system, seed, partitions, rows, and the metrics over the test rows of all partitions.

    Warnings about classes never predicted and about constants come once for each system, with its name.

    Raises:
        ValueError: a test row without a prediction.
    """
    result = []
    for (system, seed), part in predictions.groupby(["system", "seed"], sort=False):
        rows = labels.merge(part, on=["partition", "id"], how="inner", validate="one_to_one")
        if len(rows) != len(labels):
            raise ValueError(f"{system}, seed {seed}: {len(labels) - len(rows)} test rows have no prediction")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", metrics.MetricWarning)
            scores = dataset_metrics(rows, dataset)
        for message in sorted({str(w.message) for w in caught}):
            warnings.warn(f"{dataset}, {system}: {message}", metrics.MetricWarning, stacklevel=2)
        counts = {"partitions": part["partition"].nunique(), "rows": len(rows)}
        result.append({"system": system, "seed": seed, **counts, **scores})
    return pd.DataFrame(result)


def summarise(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """{system: {metric: {mean, sd, n}}} over seeds; sd with n - 1; undefined values are None."""
    names = [c for c in scores.columns if c not in ("system", "seed", "partitions", "rows")]

    def cell(values: pd.Series) -> dict[str, float | int | None]:
        mean, sd = values.mean(skipna=False), values.std(ddof=1, skipna=False)
        return {"mean": _number(mean), "sd": _number(sd), "n": len(values)}

    groups = scores.groupby("system", sort=False)
    return {str(system): {name: cell(part[name]) for name in names} for system, part in groups}


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def write_metrics(path: Path, summary: dict) -> None:
    """results/<edition>/metrics/<dataset>.json."""
    write_atomically(path, (json.dumps(summary, indent=2) + "\n").encode())
