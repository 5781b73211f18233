"""Write a scored table piece by piece, so that a run that was interrupted goes on, and the file is whole or not there.

Beside `scored.csv`, finished pieces lie in `scored.csv.partial/` with a journal of what they were made from. When the last
one is there, they are put together in that folder, and the result is renamed.
"""

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.posts import files

STDOUT = "-"
JOURNAL = "journal.json"


def check(path: Path, table: files.Table, *, overwrite: bool) -> None:
    """Whether a scored table may be written here, asked before any work.

    Raises:
        DataError: no such ending or folder, it is a folder or the table itself, or it exists and may not be replaced.
    """
    if path.suffix.lower() not in files.FORMATS:
        raise DataError(f"{path}: {path.suffix or 'no'} ending; the output is one of {', '.join(files.FORMATS)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    if not isinstance(table, pd.DataFrame) and path.exists() and path.samefile(Path(table).expanduser()):
        raise DataError(f"{path}: is the table that is read; name another file")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists; name another file, or replace it with --overwrite (overwrite=True)")


def write_stdout(pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Write pieces as CSV to standard output as they come, and pass them on."""
    for number, piece in enumerate(pieces):
        sys.stdout.buffer.write(_rendered(piece, ",", header=number == 0))
        sys.stdout.buffer.flush()
        yield piece


class Output:
    """A file in the making.

    Args:
        path: its final name. key: of everything that decides what will be in it; what was begun with another is dropped.
        schema: pyarrow's, of a .parquet file.
    """

    def __init__(self, path: Path, key: str, schema=None):
        self.path, self.schema = path, schema
        self.kind = path.suffix.lower()
        self.folder = path.with_name(path.name + ".partial")
        self.key = hashlib.sha256(key.encode()).hexdigest()
        self.pieces: list[dict] = []  # what is finished: rows, errors and bytes of each piece
        begun = self._begun()
        if begun is None and self.folder.exists():
            print(
                f"{self.folder}: was begun with another table, model or choice of columns; starting over",
                file=sys.stderr,
            )
            with self._explained():
                shutil.rmtree(self.folder)
        elif begun:
            self.pieces = begun
            print(f"{self.folder}: going on after {self.rows:,} rows", file=sys.stderr)
        with self._explained():
            self.folder.mkdir(exist_ok=True)

    @property
    def rows(self) -> int:
        return sum(piece["rows"] for piece in self.pieces)

    @property
    def errors(self) -> int:
        return sum(piece["errors"] for piece in self.pieces)

    def add(self, piece: pd.DataFrame, errors: int) -> None:
        """Write the next piece, of which so many rows had something wrong with them.

        Raises:
            DataError: the disk is full or cannot be written. Earlier pieces stay.
        """
        place = self._piece(len(self.pieces))
        with self._explained():
            if self.kind == ".parquet":
                self._write_parquet(piece, place)
            else:
                write_atomically(place, self._bytes(piece, header=not self.pieces))
            self.pieces.append({"rows": len(piece), "errors": errors, "bytes": place.stat().st_size})
            record = {"key": self.key, "pieces": self.pieces}
            write_atomically(self.folder / JOURNAL, (json.dumps(record) + "\n").encode())

    def finish(self) -> None:
        """Put the pieces together under the final name.

        Raises:
            DataError: as `add`.
        """
        whole = self.folder / f"whole{self.kind}"
        with self._explained():
            try:
                self._join(whole)
            except OSError:
                whole.unlink(missing_ok=True)  # half a file is of no use, and the disk may be full
                raise
            whole.replace(self.path)
            shutil.rmtree(self.folder)

    def _join(self, whole: Path) -> None:
        places = [self._piece(number) for number in range(len(self.pieces))]
        if self.kind == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetWriter(whole, self.schema) as writer:
                for place in places:
                    writer.write_table(parquet.read_table(place, schema=self.schema))
            return
        with whole.open("wb") as file:
            for place in places:
                with place.open("rb") as part:
                    shutil.copyfileobj(part, file)

    def _piece(self, number: int) -> Path:
        return self.folder / f"{number:06d}{self.kind}"

    def _bytes(self, piece: pd.DataFrame, *, header: bool) -> bytes:
        separator = files.FORMATS[self.kind]
        return _rendered(piece, separator, header=header) if separator else files.lines(piece).encode(errors="replace")

    def _write_parquet(self, piece: pd.DataFrame, place: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.Table.from_pandas(piece, schema=self.schema, preserve_index=False)
        buffer = pyarrow.BufferOutputStream()
        parquet.write_table(table, buffer)
        write_atomically(place, buffer.getvalue().to_pybytes())

    def _begun(self) -> list[dict] | None:
        """The pieces of an earlier run that was the same, up to the first that is not whole; None if it was another."""
        try:
            record = json.loads((self.folder / JOURNAL).read_text())
            if record["key"] != self.key:
                return None
            for number, piece in enumerate(record["pieces"]):
                place = self._piece(number)
                if not place.is_file() or place.stat().st_size != piece["bytes"]:
                    return record["pieces"][:number]
            return record["pieces"]
        except FileNotFoundError:
            return []  # killed before its first piece was finished
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written: {error.strerror or error}; once it can be, the same run started "
                f"again goes on after {self.rows:,} rows"
            ) from error


def _rendered(piece: pd.DataFrame, separator: str, *, header: bool) -> bytes:
    options = {"sep": separator, "index": False, "header": header, "lineterminator": "\n"}
    text = piece.to_csv(**options)
    if "\r" in text:  # which Python's csv leaves without quotes, although it reads it as the end of a line
        text = piece.to_csv(**options, quoting=csv.QUOTE_ALL)
    return text.encode(errors="replace")


def schema(table: files.Table, contents: files.Contents, predictions: pd.DataFrame):
    """pyarrow's schema of a table with these predictions beside it, from all its rows.

    Raises:
        DataError: a column holds values of several kinds, which Parquet does not take.
    """
    import pyarrow

    found = pyarrow.schema([])
    # Standard input can be read but once, and all its cells are texts.
    texts = [pd.DataFrame(columns=list(contents.columns), dtype=str)]
    for piece in files.opened(table)[1] if contents.rows is not None else texts:
        for name in piece:
            try:
                part = pyarrow.Schema.from_pandas(piece[[name]], preserve_index=False).remove_metadata()
                found = pyarrow.unify_schemas([found, part], promote_options="permissive")
            except pyarrow.ArrowException as error:
                raise DataError(
                    f"{files.named(table)}: column {name!r} holds values of several kinds, which Parquet does not take; "
                    "write .csv or .jsonl"
                ) from error
    kinds = {"O": pyarrow.string(), "f": pyarrow.float64(), "b": pyarrow.bool_()}
    return pyarrow.schema([*found, *((name, kinds[predictions[name].dtype.kind]) for name in predictions)])
