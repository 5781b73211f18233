"""From the raw outputs of a model's heads to predictions."""

from collections.abc import Iterable, Mapping

import numpy as np

from gexsent.tasks import Task


def decode(outputs: Mapping[str, np.ndarray], tasks: Iterable[Task]) -> dict[str, np.ndarray]:
    """Head outputs {task: (N, outputs)} -> prediction columns {column: (N,)}.

    Every task gives pred_<task>, in the terms of its label; classes give p_<task>_<class> too, and a binary task p_<task>.
    Probabilities come from the heads as they are. Where training corrected for uneven classes they refer to classes
    that are equally frequent.

    Args:
        tasks: those of the outputs, and perhaps others.

    Raises:
        ValueError: an output is not finite, as after a training that diverged.
    """
    known = {task.name: task for task in tasks}
    columns: dict[str, np.ndarray] = {}
    for name, raw in outputs.items():
        raw, task = np.asarray(raw, np.float64), known[name]
        if not np.isfinite(raw).all():
            raise ValueError(f"{name}: the outputs hold NaN or infinity; the training of this model diverged")
        if task.kind == "regression":
            columns[f"pred_{name}"] = (raw[:, 0] * task.scale + task.centre).astype(np.float32)
        elif task.kind == "classes":
            shifted = np.exp(raw - raw.max(1, keepdims=True))
            probability = shifted / shifted.sum(1, keepdims=True)
            columns[f"pred_{name}"] = _integers(probability.argmax(1) + task.first)
            for index, class_ in enumerate(task.classes):
                columns[f"p_{name}_{class_}"] = probability[:, index].astype(np.float32)
        elif task.kind == "binary":
            columns[f"p_{name}"] = np.exp(-np.logaddexp(0, -raw[:, 0])).astype(np.float32)
            columns[f"pred_{name}"] = (raw[:, 0] > 0).astype(np.int8)
        else:
            passed = np.logical_and.accumulate(raw > 0, axis=1)
            columns[f"pred_{name}"] = _integers(passed.sum(1) + task.first)
    return columns


def _integers(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int8 if not len(values) or values.max() < 128 else np.int32)
