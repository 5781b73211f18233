"""CSV and TSV files as they come: byte-order marks, Windows line ends, encodings other than UTF-8, broken rows."""

import csv
import io
from pathlib import Path

import pandas as pd

from gexsent.data.table import Quarantine
from gexsent.errors import DataError

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_csv(path: Path, needed: list[str], quarantine: Quarantine, *, separator: str = ",") -> pd.DataFrame:
    """Every cell as the text it is (ids such as 8404 or -3g5 stay what they are); row numbers as the index, header = 1.

    A row with more or fewer cells than the header is left out and noted: its cells cannot be trusted to be in place.

    Raises:
        DataError: missing or empty file, not a table, or columns lacking.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    content = path.read_bytes()
    if not content.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(f"{path}: the file is empty")
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        quarantine.add(path, None, "", "not UTF-8; read as Windows-1252", "noted")
    # newline="" lets the parser see line ends inside quotes; strict, or a quote never closed would swallow later rows.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header, *rows = list(reader)
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num}: cannot be read as a table: {error}; mend the quotes"
        ) from error
    header = [column.strip() for column in header]
    lacking = [column for column in needed if column not in header]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(map(repr, lacking))}; its columns are {', '.join(header)}")
    whole = {}
    for number, row in enumerate(rows, start=2):
        if len(row) == len(header):
            whole[number] = row
        elif row:  # a blank line is nothing
            quarantine.add(path, number, "", f"{len(row)} cells under {len(header)} columns")
    if not whole:
        raise DataError(f"{path}: the table has a header and no rows of as many cells")
    return pd.DataFrame(list(whole.values()), columns=header, index=list(whole), dtype=str)
