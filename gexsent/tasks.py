"""What can be predicted, and how raw head outputs become predictions.

Four kinds of task, each with its own number of outputs:

* regression: one value.
* classes: one logit a class.
* binary: one logit, positive for "present".
* ordinal: one logit for each threshold, logit k for "level > k". The level is the number of thresholds passed,
  counted from below up to the first that is not (Frank and Hall 2001).
"""

from dataclasses import dataclass

import numpy as np

CATEGORIES = ("humour", "sarcasm", "offensive", "motivational")
LEVELS = {"humour": 4, "sarcasm": 4, "offensive": 4, "motivational": 2}
SENTIMENTS = ("neg", "neu", "pos")  # labels -1, 0, 1


@dataclass(frozen=True)
class Task:
    """One head: `label` is the column of the labels table that it learns from."""

    name: str
    kind: str
    outputs: int
    label: str

    def target(self, labels: np.ndarray) -> np.ndarray:
        """Labels (N,) with NaN for missing -> float targets (N,) in this task's own terms, NaN kept."""
        if self.kind == "classes":
            return labels + 1.0  # -1, 0, 1 -> 0, 1, 2
        if self.kind == "binary":
            return np.where(np.isnan(labels), np.nan, labels > 0)
        return labels


INTENSITY = Task("intensity", "regression", 1, "intensity")
SENTIMENT = Task("sentiment", "classes", 3, "sentiment")
PRESENT = tuple(Task(f"{c}_present", "binary", 1, c) for c in CATEGORIES)
LEVEL = tuple(Task(f"{c}_level", "ordinal", LEVELS[c] - 1, c) for c in CATEGORIES)

TASKS = {
    "mosi": (INTENSITY, SENTIMENT),
    "mosei": (INTENSITY, SENTIMENT),
    "memotion": (SENTIMENT, *PRESENT, *LEVEL),
}


def decode(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Head outputs {task: (N, outputs)} -> prediction columns {column: (N,)}.

    Probabilities come from the heads as they are. Where training corrected for uneven classes they refer to classes
    that are equally frequent.

    Raises:
        ValueError: an output is not finite, as after a training that diverged.
    """
    columns: dict[str, np.ndarray] = {}
    for name, raw in outputs.items():
        raw = np.asarray(raw, np.float64)
        if not np.isfinite(raw).all():
            raise ValueError(f"{name}: the outputs hold NaN or infinity; the training of this model diverged")
        if name == "intensity":
            columns["pred_intensity"] = raw[:, 0].astype(np.float32)
        elif name == "sentiment":
            shifted = np.exp(raw - raw.max(1, keepdims=True))
            probability = shifted / shifted.sum(1, keepdims=True)
            columns["pred_sentiment"] = (probability.argmax(1) - 1).astype(np.int8)
            for index, sentiment in enumerate(SENTIMENTS):
                columns[f"p_sentiment_{sentiment}"] = probability[:, index].astype(np.float32)
        elif name.endswith("_present"):
            category = name.removesuffix("_present")
            columns[f"p_{category}_present"] = np.exp(-np.logaddexp(0, -raw[:, 0])).astype(np.float32)
            columns[f"pred_{category}_present"] = (raw[:, 0] > 0).astype(np.int8)
        else:
            category = name.removesuffix("_level")
            passed = np.logical_and.accumulate(raw > 0, axis=1)
            columns[f"pred_{category}_level"] = passed.sum(1).astype(np.int8)
    return columns
