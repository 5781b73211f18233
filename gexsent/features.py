"""Ragged token features on disk: shards, an index, checksums. Written so that a killed extraction goes on.

A finished store is `shard-00000.npy`, … (float16, tokens of consecutive samples end to end) and `index.json`: ids,
lengths, width, the digest of each shard, and the fingerprint of the encoder that made them. The same input gives the
same bytes.
"""

import errno
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gexsent.digest import full_disk_explained, write_atomically
from gexsent.errors import DataError

INDEX, PARTIAL = "index.json", "unfinished.json"


class Output(NamedTuple):
    """One store to be made."""

    folder: Path
    width: int  # D
    fingerprint: str  # of everything that decides the features besides the ids; another one starts over


def extract(
    outputs: Sequence[Output],
    ids: Sequence[str],
    encode: Callable[[Sequence[str]], Sequence[list[np.ndarray]]],
    *,
    shard_rows: int = 1024,
    label: str = "features",
) -> list["FeatureStore"]:
    """Encode samples shard by shard, skipping shards that an earlier run with the same input has finished.

    Args:
        outputs: the stores that one pass of the encoder fills.
        ids: of all samples, in order.
        encode: some ids -> for each output, an array (T, width) for each id; T may be 0.
        shard_rows: samples a shard.

    Raises:
        DataError: the disk is full, or an array is not finite or not of that width. Finished shards stay.
    """
    stores = [_Unfinished(output, list(ids), shard_rows) for output in outputs]
    for number, start in enumerate(tqdm(range(0, len(ids), shard_rows), desc=label, unit="shard")):
        lacking = [store for store in stores if number >= len(store.done)]
        if lacking:
            part = ids[start : start + shard_rows]
            for store, arrays in zip(stores, encode(part), strict=True):
                if store in lacking:
                    store.add(part, arrays)
    return [store.finish() for store in stores]


class _Unfinished:
    """A store that is being made, or was left unfinished by an earlier run."""

    def __init__(self, output: Output, ids: list[str], shard_rows: int):
        self.folder, self.width, fingerprint = output
        self.folder.mkdir(parents=True, exist_ok=True)
        self.plan = {"fingerprint": fingerprint, "width": self.width, "shard_rows": shard_rows, "ids": ids}
        self.key = hashlib.sha256(json.dumps(self.plan).encode()).hexdigest()
        self.done, self.wanted = _finished(self.folder, self.key), -(-len(ids) // shard_rows)
        if len(self.done) < self.wanted:  # what an old index describes is about to be overwritten
            (self.folder / INDEX).unlink(missing_ok=True)

    def add(self, part: Sequence[str], arrays: list[np.ndarray]) -> None:
        number = len(self.done)
        arrays = [_checked(id_, array, self.width) for id_, array in zip(part, arrays, strict=True)]
        content = io.BytesIO()
        np.save(content, np.concatenate([np.zeros((0, self.width), np.float16), *arrays]))
        shard = {"lengths": [len(a) for a in arrays], "sha256": hashlib.sha256(content.getbuffer()).hexdigest()}
        try:
            write_atomically(self.folder / f"shard-{number:05d}.npy", content.getvalue())
            record = {"key": self.key, "shards": [*self.done, shard]}
            write_atomically(self.folder / PARTIAL, json.dumps(record).encode())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DataError(
                    f"{self.folder}: the disk is full after {number} of {self.wanted} shards; make room and run again to "
                    "go on"
                ) from error
            raise
        self.done.append(shard)

    def finish(self) -> "FeatureStore":
        index = {**self.plan, "key": self.key, "shards": self.done}
        with full_disk_explained(self.folder):
            write_atomically(self.folder / INDEX, (json.dumps(index) + "\n").encode())
        (self.folder / PARTIAL).unlink(missing_ok=True)
        kept = {self.folder / f"shard-{n:05d}.npy" for n in range(len(self.done))}
        for extra in set(self.folder.glob("shard-*.npy*")) - kept:
            extra.unlink()
        return FeatureStore.open(self.folder)


def _finished(folder: Path, key: str) -> list[dict]:
    """Shards of an earlier run with the same key, up to the first that is not whole."""
    for name in (INDEX, PARTIAL):
        try:
            record = json.loads((folder / name).read_text())
        except (OSError, ValueError):
            continue
        if not isinstance(record, dict) or record.get("key") != key:
            continue
        for number, shard in enumerate(record["shards"]):
            if _digest(folder / f"shard-{number:05d}.npy") != shard["sha256"]:
                return record["shards"][:number]
        return record["shards"]
    return []


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _checked(id_: str, array: np.ndarray, width: int) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != width:
        raise DataError(f"features of {id_!r}: expected shape (T, {width}), found {array.shape}")
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise DataError(f"features of {id_!r}: NaN, infinity, or a value beyond float16's 65,504; scale the features")
    return half


@dataclass(frozen=True)
class FeatureStore:
    """A finished store, read through memory maps.

    ids: N samples. lengths: (N,) tokens of each. width: D. digest: changes with any byte of the features.
    """

    folder: Path
    ids: list[str]
    lengths: np.ndarray
    width: int
    fingerprint: str
    digest: str
    shards: list[np.ndarray]
    shard_rows: int

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "FeatureStore":
        """Map a store; `verify` also reads every byte and compares checksums.

        Raises:
            DataError: there is no finished store, a shard is lacking or cut short, or a checksum differs.
        """
        try:
            index = json.loads((folder / INDEX).read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: no finished features here; run the extract stage: {error}") from error
        shards = []
        for number, shard in enumerate(index["shards"]):
            path = folder / f"shard-{number:05d}.npy"
            try:
                values = np.load(path, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"{path}: lacking or cut short; run the extract stage again: {error}") from error
            if values.shape != (sum(shard["lengths"]), index["width"]):
                raise DataError(f"{path}: shape {values.shape} is not what {INDEX} says; run the extract stage again")
            if verify and _digest(path) != shard["sha256"]:
                raise DataError(f"{path}: its bytes have changed since it was written; run the extract stage again")
            shards.append(values)
        lengths = np.array([length for shard in index["shards"] for length in shard["lengths"]], np.int64)
        digest = hashlib.sha256("".join(shard["sha256"] for shard in index["shards"]).encode()).hexdigest()
        return cls(
            folder, index["ids"], lengths, index["width"], index["fingerprint"], digest, shards, index["shard_rows"]
        )

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """All tokens (ΣT, D) in memory and offsets (N + 1,): sample i owns values[offsets[i] : offsets[i + 1]]."""
        values = np.concatenate([np.zeros((0, self.width), np.float16), *self.shards])
        return values, np.concatenate([[0], np.cumsum(self.lengths)])

    def row(self, number: int) -> np.ndarray:
        """Tokens (T, D) of the sample at a position."""
        shard, place = divmod(number, self.shard_rows)
        first = shard * self.shard_rows
        start = int(self.lengths[first : first + place].sum())
        return self.shards[shard][start : start + int(self.lengths[number])]
