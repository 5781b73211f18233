import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pytest

from gexsent.data.unpickle import load_pickle
from gexsent.errors import DataError

CONTENT = {
    "float": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "big endian": np.arange(3, dtype=">f4"),
    "whole": np.array([1, -2], np.int16),
    "truth": np.array([True, False]),
    "strings": np.array(["x", "yy"]),
    "bytes": np.array([b"x", b"yy"]),
    "objects": np.array(["x", None, np.float32(2.5)], object),
    "nested": np.array([[np.ones(2), "a"], [{"k": np.zeros(1)}, 3]], object),
    "nothing": np.zeros((0, 3), np.float16),
    "number": np.float64(0.1),
    "name": np.str_("q"),
    "type": np.dtype("f4"),
    "plain": [1, (2.5, "é", b"\xff"), {3}, frozenset({4}), None, True, 1j],
    "ordered": OrderedDict(a=1),
}


def same(first, second) -> bool:
    if isinstance(first, np.ndarray):
        plain = type(second) is np.ndarray and first.dtype == second.dtype and first.shape == second.shape
        return plain and all(same(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True))
    if isinstance(first, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return first == second


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_values_come_back_under_every_protocol(tmp_path, protocol):
    path = tmp_path / "good.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    again = load_pickle(path)
    for name, value in CONTENT.items():
        assert same(value, again[name]), name


def test_arrays_can_be_written_to(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(3)))
    array = load_pickle(tmp_path / "a.pkl")
    array[0] = 1
    assert array.tolist() == [1, 0, 0]


def test_modules_of_numpy_1_are_known(tmp_path):
    content = pickle.dumps(np.arange(3.0), protocol=2).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in content
    (tmp_path / "old.pkl").write_bytes(content)
    assert load_pickle(tmp_path / "old.pkl").tolist() == [0, 1, 2]


def test_arrays_of_python_2_are_read(tmp_path):
    # Python 2 wrote an array's bytes as a str, which opcode U (short binary string) gives back.
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
    kind = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    data = np.array([1.5, -2.0]).tobytes()
    content = head + b"K\x01K\x02\x85" + kind + b"\x89U" + bytes([len(data)]) + data + b"tb."
    (tmp_path / "old.pkl").write_bytes(content)
    assert load_pickle(tmp_path / "old.pkl").tolist() == [1.5, -2.0]


class Runs:
    """A pickle of this calls `function(*arguments)` when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {}",), "system"),
        (subprocess.check_call, (["touch", "{}"],), "check_call"),
        (eval, ("open('{}', 'w')",), "eval"),
        (exec, ("open('{}', 'w')",), "exec"),
        (getattr, ("", "join"), "getattr"),
        (np.load, ("{}",), "load"),
        (np.fromfile, ("{}",), "fromfile"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_asks_for_code_is_refused_by_name_and_runs_nothing(tmp_path, function, arguments, name, protocol):
    mark = tmp_path / "it-ran"
    filled = [[part.format(mark) for part in a] if isinstance(a, list) else a.format(mark) for a in arguments]
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps([Runs(function, *filled)], protocol=protocol))
    with pytest.raises(DataError, match=rf"evil\.pkl: refused: it asks for \S+\.{name}, and only arrays"):
        load_pickle(tmp_path / "evil.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "call",
    [
        Runs(np.ndarray, (1,), np.dtype("O"), b"AAAAAAAA"),
        Runs(np.ndarray, (1,), "O", b"AAAAAAAA"),
        Runs(np.dtype, [("a", "O")]),
        Runs(np.dtype, "V8"),
        Runs(np.float64(0).__reduce__()[0], np.dtype("O"), b"AAAAAAAA"),
    ],
    ids=["objects in a buffer", "by name", "structures", "raw memory", "object scalar"],
)
def test_bytes_never_become_objects(tmp_path, call):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(call))
    try:
        result = load_pickle(tmp_path / "evil.pkl")
    except DataError as error:
        assert "refused" in str(error)
    else:
        assert result.size == 0  # the array was made empty, whatever it was given


def test_too_few_bytes_for_the_shape_are_refused(tmp_path):
    content = pickle.dumps(np.zeros(2), protocol=2).replace(b"K\x02\x85", b"K\x63\x85")
    (tmp_path / "short.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"short\.pkl: cannot be read"):
        load_pickle(tmp_path / "short.pkl")


@pytest.mark.parametrize("content", [b"", b"no pickle at all", pickle.dumps(CONTENT)[:-40]])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "damaged.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.pkl: cannot be read as a pickle"):
        load_pickle(tmp_path / "damaged.pkl")
    with pytest.raises(DataError, match=r"none\.pkl: cannot be read as a pickle: FileNotFoundError"):
        load_pickle(tmp_path / "none.pkl")
