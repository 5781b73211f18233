"""Result tables: what stands in them. How they are written down is render.py's part."""

from dataclasses import dataclass

import pandas as pd

from gexsent import datasets
from gexsent.report.columns import Column, tables
from gexsent.report.quoted import Quoted
from gexsent.report.scores import ALPHA, Scores
from gexsent.report.style import EDITION_NOTES, system_name

NOTHING = "–"
DIRECTION = "↑: higher is better; ↓: lower is better."
NO_WINNER = (
    "No mean is marked as the best: whether one system beats another is a matter for a paired test over groups of "
    "test rows, not for two means."
)
BOLD = (
    f"Bold: the best mean of its column, where a paired test bears it out (p < {ALPHA} after Holm's correction): GEXSent "
    "beats every other system, or the system in bold beats GEXSent; others are not tested against one another."
)
CONVENTIONS = (
    "has-0: all test rows, negative against non-negative (0 counts as non-negative). non-0: only rows whose label is "
    "not 0, negative against positive. F1 is weighted over the two classes. Acc-3 and macro-F1 come from the head that "
    "tells negative, neutral and positive apart. Acc and F1 are percentages; MAE, Corr and macro-F1 are not."
)
TASKS = (
    "SemEval-2020 Task 8. A: negative, neutral, positive. B: presence of humour, sarcasm, offence and motivation. C: "
    "their degree. B and C are the plain mean of four macro-F1. Macro-F1 runs from 0 to 1; accuracy is a percentage."
)
CATEGORY_TASKS = (
    "Macro-F1 of each category, from 0 to 1. B: present or absent. C: degree, four levels, of which motivational has "
    "two. B and C come from different heads, so that their motivational columns may differ."
)
MACRO = (
    "Macro-F1 is the plain mean over classes and runs from 0 to 1; accuracy is a percentage; MAE and Corr are neither."
)
QUOTED_HEADING = "Quoted from publications, not measured here"
NOT_COMPARABLE = (
    "Quoted rows have other backbones, other modalities and other training than the measured ones. Systems whose "
    "backbones differ in size are not comparable as methods. Quoted numbers keep the digits of their source."
)


@dataclass(frozen=True)
class Table:
    """One table: measured rows from `scores`, and quoted ones under a heading of their own, or None."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    scores: Scores
    quoted: Quoted | None
    notes: tuple[str, ...]
    quoted_notes: tuple[str, ...]
    bold: frozenset[tuple[int, int]]  # places in `rows`: row, column
    left = 1  # columns that are set flush left

    @property
    def heading(self) -> tuple[str, ...]:
        return ("System", "n", *(column.heading for column in self.columns))

    def rows(self) -> list[list[str]]:
        """Measured rows as text: system, n, and a cell for each column."""
        rows = []
        for system in self.scores.summary:
            cells = [self.scores.cell(system, column.metric) for column in self.columns]
            texts = [format_cell(cell, column.decimals) for cell, column in zip(cells, self.columns, strict=True)]
            rows.append([system_name(system), str(max(cell["n"] for cell in cells)), *texts])
        return rows

    def frame(self) -> pd.DataFrame:
        """The measured rows as numbers for the CSV: a row a system, with mean, sd and n of every metric.

        The main table of a data set also takes the metrics that no layout names, so that nothing measured is lost.
        """
        metrics = [column.metric for column in self.columns]
        if self.name == self.scores.dataset:
            named = {column.metric for layout in tables(self.name).values() for column in layout}
            found = [metric for scores in self.scores.summary.values() for metric in scores]
            metrics += [metric for metric in dict.fromkeys(found) if metric not in named]
        counts = self.scores.seeds.groupby("system", sort=False)[["partitions", "rows"]].first()
        records = []
        for system in self.scores.summary:
            record = {"system": system, **counts.loc[system].to_dict()}
            for metric in metrics:
                cell = self.scores.cell(system, metric)
                record |= {f"{metric}_{part}": cell[part] for part in ("mean", "sd", "n")}
            records.append(record)
        return pd.DataFrame(records)


def build(scores: Scores, edition: str, quoted: Quoted | None) -> list[Table]:
    """The tables of one data set, the main one first; quoted rows stand in the main one alone.

    Args:
        quoted: published numbers, or None where the data are generated and no published number has any bearing.
    """
    result = []
    for name, layout in tables(scores.dataset).items():
        found = {metric for metrics in scores.summary.values() for metric in metrics}
        columns = tuple(column for column in layout if column.metric in found)
        if not columns:
            continue
        quoted_here = quoted if name == scores.dataset else None
        tested = [column for column in columns if column.metric in set(scores.pairs["metric"])]
        notes = [DIRECTION, _definitions(name, scores.dataset), _tested(name, tested, len(columns))]
        cells = [scores.cell(system, column.metric) for system in scores.summary for column in columns]
        if any(cell["mean"] is None for cell in cells):
            notes.append(
                f"{NOTHING}: undefined for at least one seed, as the correlation of constant predictions is, or not "
                "computed for this system."
            )
        if any(cell["n"] == 1 for cell in cells):
            notes.append("One seed has no deviation: its row shows the value alone.")
        quoted_notes = _quoted_notes(scores, quoted_here) if quoted_here else ()
        caption = _caption(name, scores, edition) + (f" {BOLD}" if tested else "")
        bold = _bold(scores, columns)
        result.append(Table(name, caption, columns, scores, quoted_here, (*notes,), quoted_notes, bold))
    return result


def _definitions(name: str, dataset: str) -> str:
    spec = datasets.spec(dataset)
    if spec.has_categories:
        return TASKS if name == dataset else CATEGORY_TASKS
    return CONVENTIONS if datasets.INTENSITY in spec.tasks else MACRO


def _bold(scores: Scores, columns: tuple[Column, ...]) -> frozenset[tuple[int, int]]:
    systems = list(scores.summary)
    winners = [(scores.winner(column), place) for place, column in enumerate(columns, 2)]  # after system and n
    return frozenset((systems.index(system), place) for system, place in winners if system is not None)


def _tested(name: str, tested: list[Column], columns: int) -> str:
    """What was tested, or that nothing was and why no mean is bold then."""
    if not tested:
        return NO_WINNER
    names = ", ".join(column.name for column in tested)
    others = " The other columns were not tested, and nothing is bold in them." if len(tested) < columns else ""
    return f"Tested: {names}; see {name}_comparisons.{others}"


def _caption(name: str, scores: Scores, edition: str) -> str:
    subject = datasets.title(scores.dataset) + (", by category" if name.endswith("_categories") else "")
    seeds, partitions = scores.count("seeds"), scores.count("partitions")
    how = "one seed" if seeds == "1" else f"mean ± standard deviation (n − 1) over n = {seeds} seeds"
    where = "one split" if partitions == "1" else f"{partitions} folds, each row tested once"
    note = EDITION_NOTES.get(edition, f"Edition {edition}.")
    return f"{subject}: {how}; {scores.count('rows')} test rows ({where}). {note}"


def _quoted_notes(scores: Scores, quoted: Quoted) -> tuple[str, ...]:
    notes = [NOT_COMPARABLE]
    if "split" not in quoted.details:
        notes.append("Test rows: the data set's standard test split.")
    elif scores.count("partitions") != "1":
        notes.append(
            "They were also tested on other rows: the measured rows come from folds of the SemEval training set, the "
            "quoted ones from the SemEval test set. Nothing follows from setting one beside the other."
        )
    if "text_encoder" not in quoted.details:
        notes.append("Backbones are not recorded for these rows; the sources describe them.")
    return (*notes, f"{NOTHING}: not reported by the source.")


def format_cell(cell: dict[str, float | int | None], decimals: int) -> str:
    """`0.9474 ± 0.0110`; the mean alone for one seed; a dash for what is undefined."""
    if cell["mean"] is None:
        return NOTHING
    mean = f"{cell['mean']:.{decimals}f}"
    if cell["n"] == 1:
        return mean
    return f"{mean} ± {NOTHING if cell['sd'] is None else format(cell['sd'], f'.{decimals}f')}"
