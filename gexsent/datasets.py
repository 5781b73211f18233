"""The data sets: what each has to predict, how its scores are called, and where its files come from.

The published ones stand here. A table of one's own is an entry of params.yaml (`tables`), and becomes one of these when
that file is read. Nothing else knows a data set by its name, but the readers of the published layouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gexsent.errors import DataError
from gexsent.tasks import Task

CATEGORIES = ("humour", "sarcasm", "offensive", "motivational")
LEVELS = {"humour": 4, "sarcasm": 4, "offensive": 4, "motivational": 2}
SENTIMENTS = ("negative", "neutral", "positive")  # labels -1, 0, 1
LEVEL_NAMES = {
    "humour": ("not funny", "funny", "very funny", "hilarious"),
    "sarcasm": ("not sarcastic", "general", "twisted meaning", "very twisted"),
    "offensive": ("not offensive", "slight", "very offensive", "hateful"),
    "motivational": ("not motivational", "motivational"),
}

INTENSITY = Task("intensity", "regression", 1, "intensity")
SENTIMENT = Task("sentiment", "classes", 3, "sentiment", SENTIMENTS, first=-1)
PRESENT = tuple(Task(f"{c}_present", "binary", 1, c, (f"no {c}", c)) for c in CATEGORIES)
LEVEL = tuple(Task(f"{c}_level", "ordinal", LEVELS[c] - 1, c, LEVEL_NAMES[c]) for c in CATEGORIES)
SPOKEN = (INTENSITY, SENTIMENT)
MEMES = (SENTIMENT, *PRESENT, *LEVEL)


@dataclass(frozen=True)
class LabelColumn:
    """Where a table has the intensity or the sentiment.

    values: of the sentiment, {what a cell says: -1, 0 or 1}. low, high: of the intensity, what stands for -3 and for 3.
    """

    column: str
    values: dict[str, int] | None = None
    low: float = -3.0
    high: float = 3.0


@dataclass(frozen=True)
class TableSpec:
    """A table of one's own: its file in the raw folder, and which column means what; None where there is no such column.

    text: what was said or written. image, clip: the path of a picture or a video, from the file's folder on; a table has one
    of the two at most. group: rows with the same value stay together. split: train, valid or test; without it, five folds.
    labels: {"intensity" or "sentiment": its column}.
    """

    file: str
    id: str | None
    text: str | None
    image: str | None
    clip: str | None
    group: str | None
    split: str | None
    labels: dict[str, LabelColumn]


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    name: as in params.yaml, in file names and in the raw folder. title: as readers see it.
    layout: the family of layouts that it comes in: "clips" (of MMSA and the CMU SDK), "memes" (of SemEval) or "table".
    tasks: what can be learned from it, where a layout has the labels.
    groups: what its groups of rows are, in the plural. where: what to put into its raw folder. media: folders there.
    table: of the layout "table", what its columns mean.
    """

    name: str
    title: str
    layout: str
    tasks: tuple[Task, ...]
    groups: str
    where: str
    media: tuple[str, ...]
    table: TableSpec | None = None

    @property
    def main(self) -> Task:
        """The task that says most about the sentiment: what figures of single rows show, and explanations explain."""
        return main(self.tasks)

    @property
    def has_categories(self) -> bool:
        """Whether it is scored as SemEval-2020 Task 8 is: A for the sentiment, B and C for the categories."""
        return any(task in self.tasks for task in (*PRESENT, *LEVEL))

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """{label: its lowest and highest value}."""
        found: dict[str, tuple[float, float]] = {}
        for task in self.tasks:
            if task == INTENSITY:
                found[task.label] = (-3.0, 3.0)
            elif task.kind in ("classes", "ordinal"):
                found[task.label] = (task.first, task.first + len(task.classes) - 1)
        return found

    @property
    def headlines(self) -> tuple[str, ...]:
        """The scores that stand for it where there is room for no more."""
        if self.has_categories:
            return "macro_f1_a", "macro_f1_b", "macro_f1_c"
        return (self.score_names(self.main)[0],)

    def score_names(self, task: Task) -> tuple[str, str]:
        """What the two scores of a task are called: error and correlation, or macro-F1 and accuracy."""
        if task.kind == "regression":
            return ("mae", "corr") if task == self.main else (f"mae_{task.name}", f"corr_{task.name}")
        suffix = task.name
        if task == SENTIMENT:
            suffix = "a" if self.has_categories else "3"
        return f"macro_f1_{suffix}", f"acc_{suffix}"


MMSA = "label.csv and Raw/ from the {} folder of MMSA (github.com/thuiar/MMSA), or its feature pickles"
SPECS = {
    spec.name: spec
    for spec in (
        DatasetSpec("mosi", "CMU-MOSI", "clips", SPOKEN, "videos", MMSA.format("CMU-MOSI"), ("Raw",)),
        DatasetSpec("mosei", "CMU-MOSEI", "clips", SPOKEN, "videos", MMSA.format("CMU-MOSEI"), ("Raw",)),
        DatasetSpec(
            "memotion",
            "Memotion",
            "memes",
            MEMES,
            "groups of duplicate memes",
            "memotion_dataset_7k of SemEval-2020 Task 8 (search Kaggle for 'Memotion Dataset 7k')",
            ("images", "images_test"),
        ),
    )
}


def register(name: str, title: str, groups: str, table: TableSpec) -> DatasetSpec:
    """Know a table of one's own by a name, from now on.

    Raises:
        DataError: a published data set has that name.
    """
    if name in SPECS and SPECS[name].table is None:
        raise DataError(f"{name!r} is a published data set; call the table something else")
    tasks = tuple(task for task in SPOKEN if task.name in table.labels)
    named = [getattr(table, kind) for kind in ("id", "text", "image", "clip", "group", "split")]
    columns = [*filter(None, named), *(label.column for label in table.labels.values())]
    where = f"{table.file} with the columns {', '.join(columns)}, and the files that it names"
    SPECS[name] = DatasetSpec(name, title, "table", tasks, groups, where, (".",), table)
    return SPECS[name]


def main(tasks: Sequence[Task]) -> Task:
    """The first number among some tasks; where there is none, the first task."""
    return next((task for task in tasks if task.kind == "regression"), tasks[0])


def spec(name: str | DatasetSpec) -> DatasetSpec:
    """The data set of that name; one that is not known by name stands for itself.

    Raises:
        DataError: there is none.
    """
    if isinstance(name, DatasetSpec):
        return name
    if name not in SPECS:
        raise DataError(f"unknown data set {name!r}; choose from {', '.join(SPECS)}")
    return SPECS[name]


def title(name: str) -> str:
    """Its name as readers see it."""
    return spec(name).title
