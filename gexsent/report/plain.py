"""A table whose cells are text already: for tables that are not one data set's result table."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class PlainTable:
    """Written by render.py as result tables are; nothing in it is quoted. `data` holds all digits, for the CSV."""

    name: str
    caption: str
    heading: tuple[str, ...]
    body: list[list[str]]
    data: pd.DataFrame
    notes: tuple[str, ...]
    left: int = 1  # columns that are set flush left
    bold: frozenset[tuple[int, int]] = frozenset()  # places in `body`: row, column
    quoted = None

    def rows(self) -> list[list[str]]:
        return self.body

    def frame(self) -> pd.DataFrame:
        return self.data
