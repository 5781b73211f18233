"""What readers see of a metric: its name, its direction, its decimals, and in which table it stands."""

from dataclasses import dataclass

from gexsent.tasks import CATEGORIES


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
# Table name -> its columns. A table that is named after a data set is that data set's main table.
LAYOUTS = {
    "mosi": INTENSITY,
    "mosei": INTENSITY,
    "memotion": (*SEMEVAL, Column("acc_a", "A: accuracy", "percent")),
    "memotion_categories": tuple(
        Column(f"macro_f1_{task}_{category}", f"{task.upper()}: {category}", "0 to 1")
        for task in "bc"
        for category in CATEGORIES
    ),
}
TABLES = {"mosi": ("mosi",), "mosei": ("mosei",), "memotion": ("memotion", "memotion_categories")}
# What stands for a data set where there is room for no more.
HEADLINES = {"mosi": (MAE,), "mosei": (MAE,), "memotion": SEMEVAL}
