"""What readers see of a metric: its name, its direction, its decimals, and in which table it stands."""

from dataclasses import dataclass

from gexsent import datasets
from gexsent.datasets import CATEGORIES
from gexsent.tasks import Task


@dataclass(frozen=True)
class Column:
    """One metric as a table's column. `scale` says what its numbers are: "own units", "percent" or "0 to 1"."""

    metric: str
    name: str
    scale: str
    lower_is_better: bool = False

    @property
    def decimals(self) -> int:
        return 2 if self.scale == "percent" else 4

    @property
    def heading(self) -> str:
        return f"{self.name} {'↓' if self.lower_is_better else '↑'}"


MAE = Column("mae", "MAE", "own units", lower_is_better=True)
INTENSITY = (
    MAE,
    Column("corr", "Corr", "own units"),
    Column("acc7", "Acc-7", "percent"),
    Column("acc5", "Acc-5", "percent"),
    Column("acc2_has0", "Acc-2 (has-0)", "percent"),
    Column("f1_has0", "F1 (has-0)", "percent"),
    Column("acc2_non0", "Acc-2 (non-0)", "percent"),
    Column("f1_non0", "F1 (non-0)", "percent"),
    Column("acc_3", "Acc-3", "percent"),
    Column("macro_f1_3", "Macro-F1 (3 classes)", "0 to 1"),
)
SEMEVAL = (
    Column("macro_f1_a", "A: macro-F1", "0 to 1"),
    Column("macro_f1_b", "B: mean macro-F1", "0 to 1"),
    Column("macro_f1_c", "C: mean macro-F1", "0 to 1"),
)
BY_CATEGORY = tuple(
    Column(f"macro_f1_{task}_{category}", f"{task.upper()}: {category}", "0 to 1")
    for task in "bc"
    for category in CATEGORIES
)


def tables(dataset: str) -> dict[str, tuple[Column, ...]]:
    """{table: its columns}. The first is named after the data set, and is its main table."""
    spec = datasets.spec(dataset)
    if spec.has_categories:
        main = (*SEMEVAL, Column("acc_a", "A: accuracy", "percent"))
        return {dataset: main, f"{dataset}_categories": BY_CATEGORY}
    if datasets.INTENSITY in spec.tasks:
        return {dataset: INTENSITY}
    return {dataset: tuple(column for task in spec.tasks for column in _of_task(spec, task))}


def _of_task(spec: datasets.DatasetSpec, task: Task) -> tuple[Column, ...]:
    of = "" if len(spec.tasks) == 1 else f"{task.label}: "
    first, second = spec.score_names(task)
    if task.kind == "regression":
        return Column(first, f"{of}MAE", "own units", lower_is_better=True), Column(second, f"{of}Corr", "own units")
    return Column(first, f"{of}Macro-F1", "0 to 1"), Column(second, f"{of}Accuracy", "percent")


def headlines(dataset: str) -> tuple[Column, ...]:
    """What stands for a data set where there is room for no more: the main table begins with it."""
    return tuple(column for column in tables(dataset)[dataset] if column.metric in datasets.spec(dataset).headlines)
