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

    Rows without a label are left out of that metric alone. A metric without any label, or without predictions, is left
    out whole, and with it the mean that it would be part of.
    """
    if dataset == "memotion":
        return _macro_f1(rows, "pred_sentiment", "sentiment", "a", SENTIMENT_CLASSES) | _categories(rows)
    scores: dict[str, float] = {}
    if (known := _known(rows, "pred_intensity", "intensity")) is not None:
        scores = metrics.intensity(known["pred_intensity"].to_numpy(), known["intensity"].to_numpy())
    return scores | _macro_f1(rows, "pred_sentiment", "sentiment", "3", SENTIMENT_CLASSES)


def _categories(rows: pd.DataFrame) -> dict[str, float]:
    """Memotion's tasks B (present or absent) and C (levels): the mean over the four categories, then each of them."""
    scores: dict[str, float] = {}
    present = rows.assign(**{c: rows[c].clip(upper=1) for c in CATEGORIES if c in rows})
    for task, frame, column in (("b", present, "present"), ("c", rows, "level")):
        found: dict[str, float] = {}
        for category in CATEGORIES:
            classes = [0, 1] if task == "b" else list(range(LEVELS[category]))
            found |= _macro_f1(frame, f"pred_{category}_{column}", category, f"{task}_{category}", classes)
        by_category = {name: value for name, value in found.items() if name.startswith("macro_f1")}
        if len(by_category) == len(CATEGORIES):
            scores[f"macro_f1_{task}"] = float(np.mean(list(by_category.values())))
        scores |= by_category
    return scores


def _macro_f1(rows: pd.DataFrame, pred: str, true: str, suffix: str, classes: list[int]) -> dict[str, float]:
    """macro_f1_<suffix> and acc_<suffix> over the rows with a label; nothing where there is none."""
    known = _known(rows, pred, true)
    if known is None:
        return {}
    predicted, labels = (known[column].to_numpy(np.int64) for column in (pred, true))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", metrics.MetricWarning)
        score = metrics.macro_f1(predicted, labels, classes)
    for warning in caught:  # one data set has up to nine of these: say which
        warnings.warn(f"macro_f1_{suffix}: {warning.message}", warning.category, stacklevel=2)
    return {f"macro_f1_{suffix}": score, f"acc_{suffix}": metrics.accuracy(predicted, labels)}


def _known(rows: pd.DataFrame, pred: str, true: str) -> pd.DataFrame | None:
    if pred not in rows or true not in rows or rows[true].isna().all():
        return None
    return rows[rows[true].notna()]


def seed_scores(predictions: pd.DataFrame, labels: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row a system and seed: system, seed, partitions, rows, and the metrics over the test rows of all partitions.

    What the metrics have to say of undefined values and of classes never predicted comes in one warning a system.

    Raises:
        ValueError: a test row without a prediction, or with two.
    """
    result = []
    said: dict[str, dict[str, None]] = {}  # a dict keeps the order and drops what another seed has said
    for (system, seed), part in predictions.groupby(["system", "seed"], sort=False):
        rows = labels.merge(part, on=["partition", "id"], how="inner", validate="one_to_one")
        if len(rows) != len(labels):
            raise ValueError(f"{system}, seed {seed}: {len(labels) - len(rows)} test rows have no prediction")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", metrics.MetricWarning)
            scores = dataset_metrics(rows, dataset)
        said.setdefault(str(system), {}).update({str(warning.message): None for warning in caught})
        counts = {"partitions": rows["partition"].nunique(), "rows": len(rows)}
        result.append({"system": system, "seed": seed, **counts, **scores})
    for system, messages in said.items():
        if messages:
            warnings.warn(f"{dataset}, {system}: {'; '.join(messages)}", metrics.MetricWarning, stacklevel=2)
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
