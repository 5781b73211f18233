"""Tables as people have them, in pieces: CSV, TSV, JSON lines, Parquet, a DataFrame, or standard input.

Every reader yields frames of so many rows, so that memory stays flat however long the table is. Cells of CSV stay the text
that they are: ids such as 007 keep their zeros, and the words nan, NA, null and None are words. An empty cell, a null and a
NaN are missing.
"""

import codecs
import csv
import hashlib
import io
import itertools
import json
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gexsent.errors import DataError

ROWS = 512  # of a piece: what an interrupted run has to do again
STDIN = "-"
FORMATS = {
    ".csv": ",",
    ".tsv": "\t",
    ".jsonl": "",
    ".ndjson": "",
    ".parquet": "",
}  # with the separator, if there is one
PICTURES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
CLIPS = {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
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
        table = table.rename(columns=str)
        _check_header(list(table.columns), named(table))
        for start in range(0, len(table), rows):
            yield _numbered(table.iloc[start : start + rows], start)
        return
    if str(table) == STDIN:
        try:
            yield from _csv(io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline=""), named(table), ",", rows)
        except UnicodeDecodeError as error:
            raise DataError(f"{named(table)}: not UTF-8: {error.reason}; save the table as UTF-8") from error
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
        return
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            if FORMATS[kind]:
                yield from _csv(file, str(path), FORMATS[kind], rows)
            else:
                yield from _json_lines(file, path, rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:  # of UTF-16: UTF-8 has been looked through
        raise DataError(f"{path}: cannot be decoded: {error.reason}; save the file as UTF-8") from error


def read(table: Table) -> pd.DataFrame:
    """All of it at once.

    Raises:
        DataError: as `frames`, or there is no row.
    """
    parts = list(frames(table))
    if not parts:
        raise DataError(f"{named(table)}: the table has no rows")
    return pd.concat(parts)


@dataclass(frozen=True)
class Contents:
    """What a table holds, known before its rows are used. rows: None where it can be read but once, on standard input.

    columns: all that any row has, in the order in which they turn up.
    """

    rows: int | None
    columns: tuple[str, ...]


def opened(table: Table, *, rows: int = ROWS) -> tuple[Contents, Iterator[pd.DataFrame]]:
    """A table that has been read to its end once, so that a fault in its last row is found before any work, and its rows.

    Every frame has the same columns; None stands where a row of JSON lacks one.

    Raises:
        DataError: as `frames`, or there is no row.
    """
    if isinstance(table, (str, Path)) and str(table) == STDIN:
        pieces = frames(table, rows=rows)
        first = next(pieces, None)
        if first is None:
            raise DataError(f"{named(table)}: the table has no rows")
        return Contents(None, tuple(first.columns)), itertools.chain([first], pieces)
    count, columns = 0, {}
    for piece in frames(table, rows=rows):
        count += len(piece)
        columns.update(dict.fromkeys(piece.columns))
    if not count:
        raise DataError(f"{named(table)}: the table has no rows")
    names = list(columns)
    whole = (piece if list(piece) == names else _completed(piece, names) for piece in frames(table, rows=rows))
    return Contents(count, tuple(names)), whole


def digest(table: Table) -> str:
    """sha256 of all that is in a table; of standard input, which is never the same again, something new each time."""
    if isinstance(table, pd.DataFrame):
        found = hashlib.sha256()
        for piece in frames(table):
            found.update(lines(piece).encode(errors="replace"))
    elif str(table) == STDIN:
        return str(uuid.uuid4())
    else:
        with Path(table).expanduser().open("rb") as file:
            found = hashlib.file_digest(file, "sha256")
    return found.hexdigest()


def lines(frame: pd.DataFrame) -> str:
    """Rows as JSON lines; what is missing is null."""
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(json.dumps(record, ensure_ascii=False, default=_plain) + "\n" for record in records)


def listing(folder: Path) -> tuple[pd.DataFrame, str]:
    """A folder of pictures or of clips as a table: column `file`, a row each; and which they are, "image" or "clip".

    What has another ending, or lies in a hidden folder, is left out.

    Raises:
        DataError: there is neither, or there are both.
    """
    found: dict[str, list[str]] = {"image": [], "clip": []}
    for path in sorted(folder.rglob("*")):
        kind = "image" if path.suffix.lower() in PICTURES else "clip" if path.suffix.lower() in CLIPS else None
        inside = path.relative_to(folder)
        if kind and path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[kind].append(inside.as_posix())
    kinds = [kind for kind, names in found.items() if names]
    if not kinds:
        raise DataError(f"{folder}: holds no picture and no clip, such as a .jpg or an .mp4")
    if len(kinds) > 1:
        raise DataError(f"{folder}: holds pictures and clips; score a folder of the ones, then one of the others")
    return pd.DataFrame({"file": found[kinds[0]]}), kinds[0]


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


def _completed(piece: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    lacking = {name: pd.Series([None] * len(piece), piece.index, dtype=object) for name in names if name not in piece}
    return piece.assign(**lacking)[names]


def _plain(value: Any) -> Any:
    """What JSON does not know."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return None if value is pd.NA else str(value)


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
        if decoder.getstate()[0]:
            raise DataError(f"{path}: line {line}: ends in the middle of a letter; the file was cut short")
    return "utf-8-sig"


def _csv(file: Any, path: str, separator: str, rows: int) -> Iterator[pd.DataFrame]:
    # Strict, or a quote never closed would swallow the rows that follow.
    csv.field_size_limit(2**24)
    reader = csv.reader(file, delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        part: list[list[str]] = []
        start = 0
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


def _check_header(header: Sequence[str], path: str) -> None:
    if not any(header):
        raise DataError(f"{path}: its first line names no columns")
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
                if "\\ud" in line.lower():  # half an emoji, which a text cut at so many letters ends with, is no letter
                    record = json.loads(_mended(json.dumps(record, ensure_ascii=False)))
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
    values = {name: pd.Series([record.get(name) for record in records], dtype=object) for name in columns}
    return pd.DataFrame(values, index=range(len(records)))


def _mended(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parquet(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow
    from pyarrow import parquet

    start = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows):
                # Without what pandas wrote along, which would take columns for the index and so out of the table.
                frame = batch.to_pandas(types_mapper=_nullable, ignore_metadata=True)
                _check_header(list(frame.columns), str(path))
                yield _numbered(frame, start)
                start += len(frame)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _nullable(kind: Any) -> Any:
    """Whole numbers stay whole where some are missing."""
    import pyarrow

    return pd.Int64Dtype() if pyarrow.types.is_integer(kind) else None
