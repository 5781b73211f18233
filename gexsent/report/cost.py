"""The table of costs: weights and multiply-adds of each system, counted by the evaluate stage."""

from collections.abc import Sequence

import pandas as pd

from gexsent import datasets
from gexsent.report.plain import PlainTable
from gexsent.report.scores import Scores
from gexsent.report.style import EDITION_NOTES, SYSTEM_NAMES, system_name
from gexsent.report.tables import NOTHING

HOW = (
    "Multiply-adds: of the matrix products of one forward pass of one typical sample, in millions. What is run is counted: "
    "of the experts those that are chosen for a token, not all that there are; in the released code's model the padding too. "
    "Sums, norms and activations are left out, and so are the frozen encoders, which come on top and are the same for all. "
    "Weights: all of the system's own parameters; the encoder layers that a fine-tuned system trains along are its own, and "
    "count in both."
)
NO_TIME = "Counts are the same on every machine. Time and memory are not: `make bench` measures them on yours."


def build(found: Sequence[Scores], edition: str) -> PlainTable | None:
    """A row a system, two columns a data set; None where nothing was counted."""
    found = [scores for scores in found if len(scores.costs)]
    if not found:
        return None
    order = list(SYSTEM_NAMES)
    systems = dict.fromkeys(system for scores in found for system in scores.costs["system"])
    systems = sorted(systems, key=lambda name: order.index(name) if name in order else len(order))
    tables = [scores.costs.set_index("system") for scores in found]
    body = [[system_name(system), *(text for table in tables for text in _cells(table, system))] for system in systems]
    sizes = "; ".join(f"{datasets.title(scores.dataset)} {_sample(scores.costs.iloc[0])}" for scores in found)
    heading = ["System"]
    for scores in found:
        heading += [f"{datasets.title(scores.dataset)} {what}" for what in ("weights", "multiply-adds (M)")]
    notes = [HOW, NO_TIME]
    if any(NOTHING in row for row in body):
        notes.append(f"{NOTHING}: not run on this data set.")
    return PlainTable(
        name="cost",
        caption="What each system costs: weights, and millions of multiply-adds for one sample of median length "
        f"({sizes}). {EDITION_NOTES.get(edition, f'Edition {edition}.')}",
        heading=tuple(heading),
        body=body,
        data=pd.concat([scores.costs.assign(dataset=scores.dataset) for scores in found], ignore_index=True),
        notes=tuple(notes),
    )


def _cells(table: pd.DataFrame, system: str) -> list[str]:
    if system not in table.index:
        return [NOTHING, NOTHING]
    return [f"{table.loc[system, 'parameters']:,}", f"{table.loc[system, 'multiply_adds'] / 1e6:,.3f}"]


def _sample(row: pd.Series) -> str:
    vision = f"{row['vision_tokens']} visual tokens" if row["vision_tokens"] else "no vision"
    return f"{row['text_tokens']} text tokens, {vision}"
