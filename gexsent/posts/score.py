"""A table and a model: which columns are used, and scoring them piece by piece, into a table or a file."""

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from gexsent.digest import source_digest
from gexsent.encoders.weights import fingerprint
from gexsent.errors import DataError
from gexsent.posts import files, output
from gexsent.posts.columns import Columns, require
from gexsent.posts.files import Table
from gexsent.posts.predictions import ERROR, empty, predictions

if TYPE_CHECKING:
    from gexsent.predictor import Predictor


@dataclass(frozen=True)
class Job:
    """A table that a model can score, with what its columns mean and the folder in which its paths start."""

    predictor: "Predictor"
    table: Table
    columns: Columns
    root: Path
    contents: files.Contents
    pieces: Iterator[pd.DataFrame]

    @classmethod
    def of(
        cls, predictor: "Predictor", table: Table, given: Mapping[str, str | None], media_root: Path | str | None
    ) -> "Job":
        """
        Args:
            table: a table, or a folder of pictures or clips, each of which is a row.
            given: {text, image, clip or vision: its column}, None for those that were not named.

        Raises:
            DataError: the table cannot be read, lacks a column, has one that a prediction would be called, or holds
                nothing that this model can use.
        """
        source = files.named(table)
        root = files.folder(table)
        if not isinstance(table, pd.DataFrame) and Path(table).expanduser().is_dir():
            root = Path(table).expanduser()
            table, kind = files.listing(root)
            given = {kind: "file"}
        if media_root is not None:
            root = Path(media_root).expanduser()
            if not root.is_dir():
                raise DataError(f"{root}: there is no such folder; media_root is where the pictures or clips lie")
        contents, pieces = files.opened(table)
        columns = meaning(predictor, contents.columns, source, given)
        taken = [name for name in empty(predictor.tasks) if name in contents.columns]
        if taken:
            raise DataError(f"{source}: it has a column {taken[0]!r} already, as predictions have; rename or remove it")
        return cls(predictor, table, columns, root, contents, pieces)

    def run(self, out: Path | str | None, *, overwrite: bool = False, progress: bool = True) -> pd.DataFrame | None:
        """Score all of it: as a table, or into the file `out`; say on standard error how many rows had something wrong.

        Raises:
            DataError: as output.check and output.Output.
        """
        if out is None:
            pieces = list(self.scored(progress=progress))
            _say(sum(len(piece) for piece in pieces), sum(map(_wrong, pieces)))
            whole = pd.concat(pieces)
            own = isinstance(self.table, pd.DataFrame)
            return whole.set_axis(self.table.index if own else pd.RangeIndex(len(whole)), axis=0)
        if str(out) == output.STDOUT:
            counts = [(len(piece), _wrong(piece)) for piece in output.write_stdout(self.scored(progress=progress))]
            _say(*map(sum, zip(*counts, strict=True)))
            return None
        path = Path(out).expanduser()
        output.check(path, self.table, overwrite=overwrite)
        nothing = empty(self.predictor.tasks)
        schema = output.schema(self.table, self.contents, nothing) if path.suffix.lower() == ".parquet" else None
        file = output.Output(path, self._key(), schema)
        for piece in self.scored(skip=len(file.pieces), progress=progress):
            file.add(piece, _wrong(piece))
        file.finish()
        _say(file.rows, file.errors)
        return None

    def _key(self) -> str:
        """Of all that decides the scores, but for what lies in the files of pictures and clips."""
        encoders = [encoder and encoder.fingerprint for encoder in (self.predictor.text, self.predictor.vision)]
        model = fingerprint(self.predictor.model, self.predictor.config, self.predictor.tasks, *encoders)
        code = source_digest("posts", "decode.py", "predictor.py", "encoders", "model", "data/media.py")
        return "\n".join((files.digest(self.table), repr(self.columns), str(self.root.resolve()), model, code))

    def scored(self, *, skip: int = 0, progress: bool = False) -> Iterator[pd.DataFrame]:
        """Piece after piece with its predictions beside it; without the first `skip` pieces, which are not scored."""
        done = sum(len(piece) for piece in itertools.islice(self.pieces, skip))
        total = self.contents.rows
        with tqdm(total=total, initial=done, desc="predict", unit="row", disable=not progress, file=sys.stderr) as bar:
            for piece in self.pieces:
                found = predictions(self.predictor, piece, self.columns, self.root, bar)
                yield pd.concat([piece, found.set_axis(piece.index, axis=0)], axis=1)


def meaning(predictor: "Predictor", header: Sequence[str], source: str, given: Mapping[str, str | None]) -> Columns:
    """What the columns of a table mean to a model: those that were named and no other; else those that it was trained
    with, else those called text, image, clip or vision, of which it takes the ones that it can use.

    Raises:
        DataError: a column is not there, or the model cannot use it, or needs another one.
    """
    given = {name: column for name, column in given.items() if column is not None}
    columns = Columns(**given) if given else predictor.columns or _by_name(predictor, header, source)
    require(pd.DataFrame(columns=list(header)), columns.named().values(), source)
    used = {name: column for name, column in columns.named().items() if name in predictor.uses}
    lacking = predictor.lacks(columns.text is not None, columns.visual is not None)
    if lacking:
        raise DataError(f"{source}: {lacking}, and name its column")
    for name, column in used.items():
        if problem := predictor.cannot_read(name):
            if name == "text":
                problem = "this model has no text encoder, and a table holds no features of texts; call it post by post"
            raise DataError(f"{source}: column {column!r}: {problem}")
    return Columns(**used)


def _by_name(predictor: "Predictor", header: Sequence[str], source: str) -> Columns:
    able = [name for name in predictor.uses if name in header and not predictor.cannot_read(name)]
    visual = [name for name in able if name != "text"][:1]
    if not able:
        wanted = " or ".join(name for name in predictor.uses if not predictor.cannot_read(name))
        raise DataError(
            f"{source}: no column is called {wanted}; name the one to score. Its columns are {', '.join(header)}"
        )
    return Columns(**{name: name for name in able if name == "text" or name in visual})


def _wrong(piece: pd.DataFrame) -> int:
    return int((piece[ERROR] != "").sum())


def _say(rows: int, wrong: int) -> None:
    if wrong:
        print(f"{wrong:,} of {rows:,} rows have something in the column `{ERROR}`", file=sys.stderr)
