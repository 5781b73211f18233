"""Tables of how far predictions can be trusted: calibration, silence, intervals and subgroups of every system."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from gexsent import datasets
from gexsent.report.style import EDITION_NOTES, SYSTEM_NAMES

NOTHING = "–"
SIGNAL_NAMES = {
    "confidence": "Probability of the class",
    "agreement": "Agreement of the seeds",
    "gate_text": "Gate, text",
    "gate_vision": "Gate, vision",
    "share_entropy": "Entropy of the shares",
    "words": "Length of the text",
}
METHOD_NAMES = {"sets": "Sets of classes", "plain": "Intervals", "normalised": "Intervals by agreement"}
CAPTIONS = {
    "calibration": "Calibration of the sentiment classes on test rows, mean over seeds (± standard deviation).",
    "selective": "Selective prediction: what is won by answering in the order of a signal.",
    "conformal": "Split conformal prediction: promised and measured coverage on test rows.",
    "subgroups": "Test rows by subgroup: losses, and coverage of conformal intervals and sets of level 0.9.",
}
NOTES = {
    "calibration": "ECE: gap between confidence and accuracy in ten bins of equal mass; floor: what a perfectly "
    "calibrated model would show on as many rows; width: in ten bins of equal width; classes: mean over the "
    "probabilities of all three classes. In brackets the scores of always giving the class frequencies of the "
    "validation rows, one added to each count. Scalings are fitted on validation rows, for each fit by itself. As "
    "stored, probabilities hold shifts that serve macro-F1. ↑: higher is better; ↓: lower is better.",
    "selective": "Loss: absolute error of the intensity, error of the likeliest class after scaling. AURC: area under "
    "risk against coverage; random order has the mean loss, the oracle answers in the order of the loss. Gain: 1 the "
    "oracle, 0 random, below 0 worse, with a 95 % interval from 500 draws of whole groups. Signals other than the "
    "probability and the agreement are turned as validation rows say.",
    "conformal": "Predictions are means over seeds. Size: mean width of the intervals inside [−3, 3], of which 6 says "
    "nothing, or classes in a set. In brackets 95 % intervals from 1,000 draws of whole groups of validation and of "
    "test rows.",
    "subgroups": "Mean over seeds; in brackets 95 % intervals from 1,000 draws of whole groups. Difference: from all "
    "test rows. Bold: the worst subgroup of its family with at least 20 rows. The worst of several looks worse than "
    "it is. Error rate: of the likeliest class after scaling.",
}
SYSTEMS = ("gexsent", "text_only", "late_fusion", "released")
OTHERS = "The CSV file has all systems."
PRINTED = {  # which rows can be read by a human: column, its values, what is said of the others
    "calibration": ("system", SYSTEMS, OTHERS),
    "selective": ("system", SYSTEMS, OTHERS),
    "conformal": ("level", (0.9,), "The CSV file has all levels."),
    "subgroups": ("system", SYSTEMS[:1], OTHERS),
}


@dataclass(frozen=True)
class ReliabilityTable:
    """As render.py writes it; `text` makes a row's cells. `printed` are those of the `numbers` that text files show."""

    name: str
    caption: str
    heading: tuple[str, ...]
    left: int
    numbers: pd.DataFrame
    printed: pd.DataFrame
    text: Callable[[dict], list[str]]
    notes: tuple[str, ...]
    quoted = None

    @property
    def bold(self) -> frozenset[tuple[int, int]]:
        """The value of a worst subgroup."""
        if "worst" not in self.printed:
            return frozenset()
        return frozenset((int(place), self.left + 2) for place in self.printed["worst"].to_numpy().nonzero()[0])

    def rows(self) -> list[list[str]]:
        return [self.text(record) for record in self.printed.to_dict("records")]

    def frame(self) -> pd.DataFrame:
        """For the CSV."""
        return self.numbers.round(6)

    def part(self, **values: str | float) -> "ReliabilityTable":
        """The rows with these values, every one printed."""
        numbers = self.numbers
        for column, value in values.items():
            numbers = numbers[numbers[column] == value]
        numbers = numbers.reset_index(drop=True)
        return replace(self, numbers=numbers, printed=numbers)


def build(name: str, numbers: pd.DataFrame, edition: str) -> ReliabilityTable:
    """One of the tables of CAPTIONS from the rows that `evaluation.trust` gives, with dataset and system in front."""
    heading, left, text = LAYOUTS[name]
    column, values, why = PRINTED[name]
    kept = numbers[numbers[column].isin(values)].reset_index(drop=True)
    notes = (NOTES[name], *([why] if len(kept) < len(numbers) else []))
    caption = f"{CAPTIONS[name]} {EDITION_NOTES.get(edition, f'Edition {edition}.')}"
    return ReliabilityTable(name, caption, tuple(heading.split("|")), left, numbers, kept, text, notes)


def _who(record: dict) -> list[str]:
    return [datasets.title(record["dataset"]), SYSTEM_NAMES.get(record["system"], record["system"])]


def _spread(record: dict, name: str, form: str) -> str:
    mean, sd = record[f"{name}_mean"], record[f"{name}_sd"]
    return f"{mean:{form}}" if pd.isna(sd) else f"{mean:{form}} ± {sd:{form}}"


def _interval(record: dict, name: str, low: str, high: str, form: str) -> str:
    if pd.isna(record[name]):
        return NOTHING
    return f"{record[name]:{form}} [{record[low]:{form}}, {record[high]:{form}}]"


def _calibration(record: dict) -> list[str]:
    row = [*_who(record), record["scaling"], _spread(record, "ece", ".3f"), f"{record['ece_floor_mean']:.3f}"]
    row += [f"{record[f'{name}_mean']:.3f}" for name in ("ece_width", "ece_class")]
    row += [f"{record[f'{name}_mean']:.3f} ({record[f'reference_{name}']:.3f})" for name in ("brier", "nll")]
    return row + [f"{record[f'{name}_mean']:.3f}" for name in ("accuracy", "macro_f1")]


def _selective(record: dict) -> list[str]:
    row = [*_who(record), record["task"], SIGNAL_NAMES[record["signal"]], _spread(record, "aurc", ".3f")]
    row += [f"{record[name]:.3f}" for name in ("random", "oracle")]
    return [*row, _interval(record, "gain", "low", "high", "+.2f")]


def _conformal(record: dict) -> list[str]:
    row = [*_who(record), METHOD_NAMES[record["method"]], f"{record['level']:.2f}"]
    row += [_interval(record, "coverage", "low", "high", ".3f"), f"{record['size']:.2f}"]
    return row + [f"{record[name]:,}" for name in ("valid_rows", "valid_groups", "test_groups")]


def _subgroups(record: dict) -> list[str]:
    row = [*_who(record), record["task"], record["measure"], record["family"], record["subgroup"]]
    row += [f"{record['rows']:,}", f"{record['groups']:,}", _interval(record, "value", "low", "high", ".3f")]
    if record["subgroup"] == "all rows":
        return [*row, NOTHING]
    return [*row, _interval(record, "difference", "difference_low", "difference_high", "+.3f")]


# Table -> its heading, how many of its columns are set flush left, and the text of a row.
LAYOUTS: dict[str, tuple[str, int, Callable[[dict], list[str]]]] = {
    "calibration": (
        "Data set|System|Scaling|ECE ↓|floor|width ↓|classes ↓|Brier ↓ (reference)|NLL ↓ (reference)|Accuracy ↑|Macro-F1 ↑",
        3,
        _calibration,
    ),
    "selective": (
        "Data set|System|Task|Signal|AURC ↓|random|oracle|Gain ↑ [95 %]",
        4,
        _selective,
    ),
    "conformal": (
        "Data set|System|Method|Level|Coverage [95 %]|Size ↓|Calibration rows|their groups|Test groups",
        3,
        _conformal,
    ),
    "subgroups": (
        "Data set|System|Task|Measure|Family|Subgroup|Rows|Groups|Value [95 %]|Difference [95 %]",
        6,
        _subgroups,
    ),
}
