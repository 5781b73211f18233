"""The tables of notebooks/11_speed.ipynb: shown below a cell, and kept as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown

from benchmarks import timing
from gexsent.report import render
from gexsent.report.plain import PlainTable
from gexsent.report.style import SYSTEM_NAMES

SPREAD_NOTE = "Ratios: the median over the rounds, and in brackets the least and the largest."


def keep(table: pd.DataFrame, folder: Path, name: str, caption: str, data: pd.DataFrame | None = None) -> Markdown:
    """A table of texts whose index names its rows.

    Args:
        data: for the CSV, with all digits; else the table itself.
    """
    whole = table.rename_axis("").reset_index()
    body = [[str(value) for value in row] for row in whole.to_numpy()]
    data = whole if data is None else data
    plain = PlainTable(name, caption, tuple(map(str, whole.columns)), body, data, (SPREAD_NOTE,))
    folder.mkdir(parents=True, exist_ok=True)
    render.write(plain, folder)
    return Markdown(render.markdown(plain))


def ratios(
    seconds: Mapping[str, Mapping[str, Sequence[float]]], baselines: Sequence[str], amount: float, unit: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """For each heading, speeds against each baseline and what the median time is in `unit`, `amount` of which take it.

    Returns:
        The table as texts, and a row a heading, name and baseline with all digits.
    """
    columns, rows = {}, []
    for heading, found in seconds.items():
        before = f"{heading}: " if heading else ""
        for baseline in baselines:
            speeds = timing.speeds(found, baseline)
            columns[f"{before}× {named_system(baseline)}"] = shown(speeds)
            named = speeds.rename_axis("name").reset_index()
            rows.append(named.assign(heading=heading, baseline=baseline))
        each = {name: amount / np.median(values) for name, values in found.items()}
        columns[f"{before}{unit}"] = pd.Series({name: rounded(value) for name, value in each.items()})
    return pd.DataFrame(columns), pd.concat(rows, ignore_index=True)


def shown(spread: pd.DataFrame) -> pd.Series:
    """Ratios as text: median (least to largest)."""
    texts = spread.map(lambda value: f"{value:.2f}" if value >= 0.1 else f"{value:.2g}")
    return texts.apply(lambda row: f"{row['median']} ({row['min']} to {row['max']})", axis=1)


def rounded(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def named_system(name: str) -> str:
    """A system as readers see it; any other name as it is."""
    return SYSTEM_NAMES.get(name, name)
