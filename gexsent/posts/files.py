"""Tables as people have them, in pieces: CSV, TSV, JSON lines, Parquet, a DataFrame, or standard input.

Every reader yields frames of so many rows, so that memory stays flat however long the table is. Cells of CSV stay the text
that they are: ids such as 007 keep their zeros, and the words nan, NA, null and None are words. An empty cell, a null and a
NaN are missing.
"""

import codecs
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gexsent.errors import DataError

ROWS = 1024  # of a piece
STDIN = "-"
FORMATS = {
    ".csv": ",",
    ".tsv": "\t",
    ".jsonl": "",
    ".ndjson": "",
    ".parquet": "",
}  # with the separator, if there is one
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Table = str | Path | pd.DataFrame


def frames(table: Table, *, rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """The rows of a table in order, `rows` at a time. The index counts them as a spreadsheet does: the first row is 2.

    Args:
        table: the path of a .csv, .tsv, .jsonl or .parquet file; "-" for CSV on standard input; or a DataFrame.

    Raises:
        DataError: no such file, no such format, not a table, or a row that is not like the others, with its line.
    """
    if isinstance(table, pd.DataFrame):
        if table.columns.duplicated().any():
            raise DataError(f"the table: two columns are called {table.columns[table.columns.duplicated()][0]!r}")
        for start in range(0, len(table), rows):
            yield _numbered(table.iloc[start : start + rows].rename(columns=str), start)
        return
    if str(table) == STDIN:
        yield from _csv(io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline=""), Path("standard input"), ",", rows)
        return
    path = Path(table).expanduser()
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a table; name a .csv, .tsv, .jsonl or .parquet file in it")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise DataError(f"{path}: {kind or 'no'} ending; a table is one of {', '.join(FORMATS)}")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty")
    if kind == ".parquet":
        yield from _parquet(path, rows)
    elif FORMATS[kind]:
        with path.open(encoding=_encoding(path), newline="") as file:
            yield from _csv(file, path, FORMATS[kind], rows)
    else:
        with path.open(encoding=_encoding(path)) as file:
            yield from _json_lines(file, path, rows)


def read(table: Table) -> pd.DataFrame:
    """All of it at once.

    Raises:
        DataError: as `frames`, or there is no row.
    """
    parts = list(frames(table))
    if not parts:
        raise DataError(f"{named(table)}: the table has no rows")
    return pd.concat(parts)


def named(table: Table) -> str:
    """What a message calls a table."""
    return "the table" if isinstance(table, pd.DataFrame) else "standard input" if str(table) == STDIN else str(table)


def folder(table: Table) -> Path:
    """Where the paths in a table start from: beside its file, or the working directory."""
    if isinstance(table, pd.DataFrame) or str(table) == STDIN:
        return Path.cwd()
    return Path(table).expanduser().resolve().parent


def missing(cell: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, NA, or text of white space alone."""
    if isinstance(cell, str):
        return not cell.strip()
    if isinstance(cell, (list, tuple, dict, np.ndarray)):
        return len(cell) == 0
    return bool(pd.isna(cell))


def _numbered(frame: pd.DataFrame, start: int) -> pd.DataFrame:
    return frame.set_axis(pd.RangeIndex(start + 2, start + 2 + len(frame)), axis=0)


def _encoding(path: Path) -> str:
    """UTF-8 or UTF-16 by its mark. Other encodings look like one another: which one it is, only its owner knows."""
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            return "utf-16"
        file.seek(0)
        decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
        while block := file.read(2**20):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += block[: error.start].count(b"\n")
                raise DataError(
                    f"{path}: line {line}: not UTF-8; save the file as UTF-8 (a spreadsheet calls it CSV UTF-8)"
                ) from error
            line += block.count(b"\n")
    return "utf-8-sig"


def _csv(file: Any, path: Path, separator: str, rows: int) -> Iterator[pd.DataFrame]:
    # Strict, or a quote never closed would swallow the rows that follow.
    reader = csv.reader(file, delimiter=separator, strict=True)
    csv.field_size_limit(2**24)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        part, start = [], 0
        for row in reader:
            if not row:  # a blank line is nothing
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}: line {reader.line_num}: {len(row)} cells under {len(header)} columns; put quotes around a "
                    "text that holds a separator or a line end"
                )
            part.append(row)
            if len(part) == rows:
                yield _numbered(pd.DataFrame(part, columns=header, dtype=str), start)
                part, start = [], start + len(part)
        if part:
            yield _numbered(pd.DataFrame(part, columns=header, dtype=str), start)
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num}: cannot be read as a table: {error}; mend the quotes"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason}; save it as UTF-8") from error


def _check_header(header: Sequence[str], path: Path) -> None:
    if not any(header):
        raise DataError(f"{path}: the first line names no columns")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r}")


def _json_lines(file: Any, path: Path, rows: int) -> Iterator[pd.DataFrame]:
    part, start = [], 0
    try:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}: line {number}: not JSON: {error}; each line is one object") from error
            if not isinstance(record, dict):
                raise DataError(f'{path}: line {number}: expected an object such as {{"text": …}}, found {line[:40]!r}')
            part.append(record)
            if len(part) == rows:
                yield _numbered(_objects(part), start)
                part, start = [], start + len(part)
    except RecursionError as error:
        raise DataError(f"{path}: line {number}: nested too deep to be a row of a table") from error
    if part:
        yield _numbered(_objects(part), start)


def _objects(records: list[dict]) -> pd.DataFrame:
    # As objects, or a number in one row and none in another would become 7.0 and NaN.
    columns = list(dict.fromkeys(name for record in records for name in record))
    return pd.DataFrame({name: pd.Series([record.get(name) for record in records], dtype=object) for name in columns})


def _parquet(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow
    from pyarrow import parquet

    start = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows):
                frame = batch.to_pandas(types_mapper=_nullable)
                _check_header(list(frame.columns), path)
                yield _numbered(frame, start)
                start += len(frame)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _nullable(kind: Any) -> Any:
    """Whole numbers stay whole where some are missing."""
    import pyarrow

    return pd.Int64Dtype() if pyarrow.types.is_integer(kind) else None
