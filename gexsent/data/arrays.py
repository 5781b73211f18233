"""Ragged arrays: a sequence of vectors for each sample, laid end to end. Users bring features as such an `.npz`."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gexsent.errors import DataError


@dataclass(frozen=True)
class Ragged:
    """ids (N), values (ΣT, D) float16 or float32, lengths (N,) int64; sample i owns the i-th stretch of values."""

    ids: list[str]
    values: np.ndarray
    lengths: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """(N + 1,) where each sample's stretch begins, and the end."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @classmethod
    def load_npz(cls, path: Path) -> "Ragged":
        """Read `ids` (N,), `values` (ΣT, D) and `lengths` (N,).

        Raises:
            DataError: not an npz, an array lacking or of the wrong shape, an id twice, NaN or infinity: with the id.
        """
        try:
            # Opened here: np.load leaves a file open when it is no zip.
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                lacking = {"ids", "values", "lengths"} - set(file.files)
                if lacking:
                    raise DataError(f"{path}: no array {sorted(lacking)[0]!r}; expected ids, values and lengths")
                ids, values, lengths = file["ids"], file["values"], file["lengths"]
        except DataError:
            raise
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path}: cannot be read as an npz of plain arrays: {error}") from error
        if ids.ndim != 1 or lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
            raise DataError(
                f"{path}: ids and lengths must be (N,), lengths whole numbers; found {ids.shape} {ids.dtype} and "
                f"{lengths.shape} {lengths.dtype}"
            )
        names = [i.decode() if isinstance(i, bytes) else str(i) for i in ids.tolist()]
        return cls(names, values, lengths.astype(np.int64)).checked(str(path))

    @classmethod
    def join(cls, ids: list[str], arrays: list[np.ndarray], where: str) -> "Ragged":
        """One array (T, D) for each id, laid end to end; those without rows may have any width.

        Raises:
            DataError: naming the id whose array has another width than the first, or is not 2-D; and as `checked`.
        """
        width = next((array.shape[-1] for array in arrays if len(array)), 1)
        for id_, array in zip(ids, arrays, strict=True):
            if len(array) and (array.ndim != 2 or array.shape[1] != width):
                raise DataError(f"{where}: features of {id_!r} have shape {array.shape}, expected (T, {width})")
        values = np.concatenate([np.zeros((0, width), np.float32), *(array for array in arrays if len(array))])
        return cls(ids, values, np.array([len(array) for array in arrays], np.int64)).checked(where)

    def checked(self, where: str) -> "Ragged":
        """Itself, after checks.

        Raises:
            DataError: naming `where`, and the id where there is one.
        """
        if self.values.ndim != 2 or not np.issubdtype(self.values.dtype, np.floating):
            raise DataError(
                f"{where}: values must be a float array (tokens, width), found {self.values.dtype} {self.values.shape}"
            )
        if len(self.ids) != len(self.lengths) or (self.lengths < 0).any() or self.lengths.sum() != len(self.values):
            raise DataError(
                f"{where}: {len(self.ids)} ids and {len(self.lengths)} lengths that sum to {self.lengths.sum()} do not "
                f"describe {len(self.values)} rows of values"
            )
        if len(set(self.ids)) != len(self.ids):
            raise DataError(
                f"{where}: id {next(i for n, i in enumerate(self.ids) if i in self.ids[:n])!r} occurs twice"
            )
        finite = np.isfinite(self.values).all(1)
        if not finite.all():
            owner = int(np.searchsorted(self.offsets, int(np.argmin(finite)), side="right")) - 1
            raise DataError(f"{where}: NaN or infinity in the features of {self.ids[owner]!r}")
        return self

    def save_npz(self, path: Path) -> None:
        np.savez(path, ids=np.array(self.ids, dtype=np.str_), values=self.values, lengths=self.lengths)

    def align(self, ids: list[str]) -> tuple["Ragged", list[str], list[str]]:
        """In the order of `ids`; one without features gets length 0. Also returns the missing and the extra ids."""
        position = {id_: row for row, id_ in enumerate(self.ids)}
        offsets = self.offsets
        parts, lengths = [self.values[:0]], []
        for id_ in ids:
            row = position.get(id_)
            part = self.values[:0] if row is None else self.values[offsets[row] : offsets[row + 1]]
            parts.append(part)
            lengths.append(len(part))
        wanted = set(ids)
        missing, extra = [i for i in ids if i not in position], [i for i in self.ids if i not in wanted]
        return Ragged(list(ids), np.concatenate(parts), np.array(lengths, np.int64)), missing, extra
