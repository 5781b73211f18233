"""What can be predicted.

Four kinds of task, each with its own number of outputs:

* regression: one value, in units of `scale` above `centre`.
* classes: one logit per class.
* binary: one logit, positive for "present".
* ordinal: one logit per threshold, logit k for "level > k". The level is the number of thresholds passed,
  counted from below up to the first that is not (Frank and Hall 2001).

Which data set has which tasks stands in `datasets.py`, and how outputs become predictions in `decode.py`. Light to import.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent.digest import write_atomically
from gexsent.errors import DataError

if TYPE_CHECKING:
    import numpy as np

NAME = "tasks.json"
KINDS = ("regression", "classes", "binary", "ordinal")


@dataclass(frozen=True)
class Task:
    """One head.

    label: the column of the labels table that it learns from.
    classes: what its classes or levels are called, from the lowest value of the label, which is `first`, upwards; of a
        binary task the two of absent and present; none of a regression.
    centre, scale: of a regression, what the head calls 0 and how much it calls 1.
    """

    name: str
    kind: str
    outputs: int
    label: str
    classes: tuple[str, ...] = ()
    first: int = 0
    centre: float = 0.0
    scale: float = 1.0

    def target(self, labels: "np.ndarray") -> "np.ndarray":
        """Labels (N,) with NaN for missing -> float targets (N,) in this task's own terms, NaN kept."""
        if self.kind == "regression":
            return (labels - self.centre) / self.scale
        if self.kind == "binary":
            return labels.clip(max=1)  # any degree counts as present
        return labels - self.first


def save(tasks: Iterable[Task], folder: Path) -> None:
    """Write tasks.json into a model's folder."""
    write_atomically(folder / NAME, (json.dumps([asdict(task) for task in tasks], indent=2) + "\n").encode())


def load(folder: Path) -> tuple[Task, ...]:
    """What `save` wrote.

    Raises:
        DataError: the file cannot be read, or does not describe tasks.
    """
    path = folder / NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; expected the folder of a trained model") from error
    names = {field.name for field in fields(Task)}
    if not isinstance(values, list) or not all(isinstance(value, dict) and set(value) == names for value in values):
        raise DataError(f"{path}: expected a list of tasks, each with the keys {', '.join(sorted(names))}")
    tasks = tuple(Task(**{**value, "classes": tuple(value["classes"])}) for value in values)
    for task in tasks:
        outputs = {"classes": len(task.classes), "ordinal": len(task.classes) - 1}.get(task.kind, 1)
        if task.kind not in KINDS or task.outputs != outputs:
            raise DataError(f"{path}: {task.name}: {task.outputs} outputs do not fit {task.kind!r} and its classes")
    return tasks
