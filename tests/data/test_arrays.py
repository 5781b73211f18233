import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gexsent.data.arrays import Ragged
from gexsent.errors import DataError

GOOD = {"ids": np.array(["a", "-b", "8404"]), "values": np.arange(8.0).reshape(4, 2), "lengths": np.array([1, 0, 3])}


def written(tmp_path, **changes):
    path = tmp_path / "vision.npz"
    np.savez(path, **{k: v for k, v in {**GOOD, **changes}.items() if v is not None})
    return path


@given(st.lists(st.integers(0, 5), max_size=6), st.sampled_from([np.float16, np.float32]))
def test_round_trip(tmp_path_factory, lengths, dtype):
    path = tmp_path_factory.mktemp("npz") / "text.npz"
    ids = [f"-{number}" for number in range(len(lengths))]
    values = np.random.default_rng(0).normal(size=(sum(lengths), 3)).astype(dtype)
    Ragged(ids, values, np.array(lengths, np.int64)).save_npz(path)
    again = Ragged.load_npz(path)
    assert again.ids == ids
    assert again.values.dtype == dtype
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.lengths, lengths)


def test_files_of_the_same_features_are_the_same_bytes(tmp_path):
    ragged = Ragged(["a"], np.ones((2, 3), np.float16), np.array([2]))
    ragged.save_npz(tmp_path / "one.npz")
    ragged.save_npz(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([8404, 7]), ["8404", "7"]),
        (np.array([b"x", b"y"]), ["x", "y"]),
        (np.array(["007", "1e3"]), ["007", "1e3"]),
    ],
)
def test_ids_are_strings(tmp_path, ids, expected):
    path = written(tmp_path, ids=ids, lengths=np.array([1, 3], np.int32))
    ragged = Ragged.load_npz(path)
    assert ragged.ids == expected
    assert ragged.lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": None}, "no array 'lengths'"),
        ({"values": np.zeros(4)}, r"values must be a float array \(tokens, width\), found float64 \(4,\)"),
        ({"values": np.zeros((4, 2, 2))}, "values must be a float array"),
        ({"values": np.zeros((4, 2), int)}, "values must be a float array"),
        ({"values": np.zeros((5, 2))}, "3 ids and 3 lengths that sum to 4 do not describe 5 rows"),
        ({"lengths": np.array([1, 3])}, "3 ids and 2 lengths"),
        ({"lengths": np.array([5, -1, 0])}, "do not describe 4 rows"),
        ({"lengths": np.array([1.0, 0.0, 3.0])}, "lengths whole numbers"),
        ({"ids": np.array([["a", "b", "c"]])}, r"must be \(N,\)"),
        ({"ids": np.array(["a", "b", "a"])}, "id 'a' occurs twice"),
        ({"ids": np.array(["a", "b", None])}, "cannot be read as an npz of plain arrays"),
    ],
)
def test_faulty_arrays_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"vision\.npz: .*{message}"):
        Ragged.load_npz(written(tmp_path, **changes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_owner_of_a_value_that_is_not_finite_is_named(tmp_path, bad):
    for row, owner in ((0, "a"), (1, "8404"), (3, "8404")):
        values = GOOD["values"].copy()
        values[row, 1] = bad
        with pytest.raises(DataError, match=rf"vision\.npz: NaN or infinity in the features of '{owner}'"):
            Ragged.load_npz(written(tmp_path, values=values))


def test_files_that_are_no_npz(tmp_path):
    whole = written(tmp_path).read_bytes()
    np.save(tmp_path / "lone.npy", np.zeros(3))
    contents = [b"", b"not a zip", whole[: len(whole) // 2], (tmp_path / "lone.npy").read_bytes(), pickle.dumps([1])]
    for content in contents:
        (tmp_path / "text.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"text\.npz: cannot be read as an npz"):
            Ragged.load_npz(tmp_path / "text.npz")
    with pytest.raises(DataError, match=r"none\.npz: cannot be read"):
        Ragged.load_npz(tmp_path / "none.npz")


def test_align_orders_and_tells_what_is_missing_and_extra():
    ragged = Ragged(["a", "b", "c"], np.arange(10.0).reshape(5, 2), np.array([2, 1, 2]))
    aligned, missing, extra = ragged.align(["c", "new", "a"])
    assert (missing, extra) == (["new"], ["b"])
    np.testing.assert_array_equal(aligned.lengths, [2, 0, 2])
    np.testing.assert_array_equal(aligned.values[:, 0], [6, 8, 0, 2])
    np.testing.assert_array_equal(aligned.offsets, [0, 2, 2, 4])


def test_join_lays_end_to_end_and_lets_the_empty_have_any_width():
    ragged = Ragged.join(["a", "b", "c"], [np.zeros((0, 1)), np.ones((2, 3)), np.full((1, 3), 2.0)], "here")
    np.testing.assert_array_equal(ragged.lengths, [0, 2, 1])
    np.testing.assert_array_equal(ragged.values[:, 0], [1, 1, 2])
    assert Ragged.join([], [], "here").values.shape == (0, 1)


def test_join_names_the_id_with_another_width():
    with pytest.raises(DataError, match=r"here: features of 'b' have shape \(2, 4\), expected \(T, 3\)"):
        Ragged.join(["a", "b"], [np.ones((1, 3)), np.ones((2, 4))], "here")
    with pytest.raises(DataError, match="here: NaN or infinity in the features of 'b'"):
        Ragged.join(["a", "b"], [np.ones((1, 3)), np.full((1, 3), np.nan)], "here")
