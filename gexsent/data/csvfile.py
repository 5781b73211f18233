"""CSV and TSV files as they come: byte-order marks, Windows line ends, encodings other than UTF-8."""

import io
from pathlib import Path

import pandas as pd

from gexsent.data.table import Quarantine
from gexsent.errors import DataError


def read_csv(path: Path, needed: list[str], quarantine: Quarantine, *, separator: str = ",") -> pd.DataFrame:
    """Every cell as the text it is (ids such as 8404 or -3g5 stay what they are); row numbers as the index, header = 1.

    Raises:
        DataError: missing or empty file, not a table, or columns lacking.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        quarantine.add(path, None, "", "not UTF-8; read as Windows-1252", "noted")
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=separator)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
    lacking = [column for column in needed if column not in frame.columns]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, lacking))}; its columns are {', '.join(frame.columns)}"
        )
    if frame.empty:
        raise DataError(f"{path}: the table has a header and no rows")
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    return frame
