"""Pickles, read without running what is in them.

A pickle is a program. This reader lets it build arrays, numbers, strings and plain containers, and refuses all else by
name. numpy's own functions for that are not called: with hostile arguments they take any bytes for pointers to objects.
"""

import builtins
import collections
import pickle
import re
from pathlib import Path

import numpy as np

from gexsent.errors import DataError

_CONTAINERS = {
    ("builtins", name): getattr(builtins, name)
    for name in ("dict", "list", "set", "frozenset", "tuple", "bytearray", "int", "float", "complex", "bool", "bytes")
} | {("collections", "OrderedDict"): collections.OrderedDict}
_SIMPLE = re.compile(r"[<>|=]?([biufcSUO])\d*")


class _Dtype:
    """Stands for numpy.dtype: numbers, booleans, strings, and objects that are themselves in the pickle."""

    def __init__(self, spec: str, align: bool = False, copy: bool = False):
        if not isinstance(spec, str) or not _SIMPLE.fullmatch(spec):
            raise DataError(f"it holds an array of {spec!r}, and only numbers, strings and objects are allowed")
        self.value = np.dtype(spec)

    def __setstate__(self, state: tuple) -> None:
        order, width = state[1], state[5]
        if self.value.kind in "SU" and width > 0:
            self.value = np.dtype(f"{self.value.kind}{width // (4 if self.value.kind == 'U' else 1)}")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for numpy.ndarray, which a pickle makes empty and fills afterwards."""

    def __init__(self, *_: object):
        self.value = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _filled(shape, dtype, "F" if fortran else "C", data)


def _filled(shape: tuple, dtype: _Dtype, order: str, data: object) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise DataError("it holds an array without a type")
    if dtype.value.kind == "O":
        if not isinstance(data, list):
            raise DataError("it holds an array of objects that are not listed")
        cells = np.empty(len(data), object)
        cells[:] = data
        return cells.reshape(shape, order=order)
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)  # a str: written by Python 2
    return np.ndarray(shape, dtype.value, raw, order=order).copy()


def _from_buffer(data: object, dtype: _Dtype, shape: tuple, order: str, *_: object) -> np.ndarray:
    return _filled(shape, dtype, order, data)


def _scalar(dtype: _Dtype, data: object = b"") -> object:
    return _filled((1,), dtype, "C", data)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")  # how protocols before 3 write bytes


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.multiarray", "_reconstruct"): _Array,
    ("numpy.multiarray", "scalar"): _scalar,
    ("numpy.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        home = {"__builtin__": "builtins"}.get(module, module)
        home = re.sub(r"^numpy\._?core\.", "numpy.", home)  # the name before and after numpy 2
        allowed = _CONTAINERS.get((home, name)) or _STAND_INS.get((home, name))
        if allowed is None:
            raise DataError(
                f"it asks for {module}.{name}, and only arrays, numbers, strings and containers are allowed"
            )
        return allowed


def _plain(value: object) -> object:
    """The value with every stand-in replaced by what it stands for."""
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, _Dtype):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        cells = np.empty(value.size, object)
        cells[:] = [_plain(item) for item in value.ravel()]
        return cells.reshape(value.shape)
    return value


def load_pickle(path: Path) -> object:
    """The content of an untrusted pickle of arrays and plain values.

    Raises:
        DataError: the file is not a pickle, is cut short, or asks for anything else; the message names what.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file, encoding="latin1").load())
    except DataError as error:
        raise DataError(
            f"{path}: refused: {error}; take the file from its publisher, or bring features as .npz"
        ) from None
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(
            f"{path}: cannot be read as a pickle: {type(error).__name__}: {error}; copy or download it again"
        ) from error
