"""What a row of a table gives a model, and what is wrong with the rest of it."""

import json

import numpy as np
import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.posts.columns import NAME, Columns, as_text, place, posts, require


def test_columns_are_read_as_they_were_saved(tmp_path):
    assert Columns.load(tmp_path) is None
    columns = Columns(text="caption", image="photo")
    columns.save(tmp_path)
    assert Columns.load(tmp_path) == columns
    assert columns.visual == "image" and columns.named() == {"text": "caption", "image": "photo"}


@pytest.mark.parametrize("values", [None, [], "text", {"words": "a"}, {"text": 5}, {"text": None}])
def test_a_file_that_names_no_columns_is_named(tmp_path, values):
    (tmp_path / NAME).write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"columns\.json: expected the columns text, image, clip, vision: "):
        Columns.load(tmp_path)


def test_two_visual_inputs_or_none_at_all_are_refused():
    with pytest.raises(DataError, match="image= and vision= were both given: a table has one kind of visual input"):
        Columns(text="a", image="b", vision="c")
    with pytest.raises(DataError, match="name the column of the texts"):
        Columns()


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    frame = pd.DataFrame({"id": [1], "caption": ["so"]})
    require(frame, ["caption"], "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: no column 'text'; its columns are id, caption"):
        require(frame, ["caption", "text"], "a.csv")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("nan", "nan"),
        (" so ", " so "),
        (None, ""),
        (np.nan, ""),
        (pd.NA, ""),
        (7, "7"),
        (np.array(["so", "nice"], object), "so nice"),
        (["so", None, 7], "so  7"),
        ("שלום 😀".encode(), "שלום 😀"),
        ("half \ud83d", "half ?"),
    ],
)
def test_a_cell_as_a_text(cell, text):
    assert as_text(cell) == text


def test_a_column_of_whole_numbers_is_read_as_written_whatever_stands_beside_it(tmp_path):
    frame = pd.DataFrame({"text": [5, 6], "share": [0.5, 1.0]})
    assert [post.text for post in posts(frame, Columns(text="text"), tmp_path)] == ["5", "6"]


def test_a_row_without_a_picture_or_with_one_that_is_not_there_keeps_its_text(tmp_path, picture):
    cells = [picture.name, "", None, np.nan, "gone.png", 5.0]
    frame = pd.DataFrame({"words": list("abcdef"), "photo": cells})
    found = posts(frame, Columns(text="words", image="photo"), tmp_path)
    assert [post.text for post in found] == list("abcdef")
    assert [post.media for post in found] == [tmp_path / picture.name, None, None, None, None, None]
    assert [post.problem for post in found[:4]] == ["", "", "", ""]
    assert found[4].problem == f"image: gone.png: there is no such file in {tmp_path}"
    assert found[5].problem == "image: expected the path of a file, found float"


def test_a_path_may_be_absolute_or_lead_through_folders_as_long_as_it_stays_inside(tmp_path, picture):
    (tmp_path / "under").mkdir()
    for name in (picture.name, f" {picture.name} ", str(picture), f"under/../{picture.name}"):
        assert place(name, tmp_path).samefile(picture)


BAD = {
    "../secret.png": "lies outside",
    "{outside}/secret.png": "lies outside",
    "link.png": "lies outside",
    "/etc/passwd": "lies outside",
    "~/a.png": "lies outside|there is no such file",
    "~nobody-of-that-name/a.png": "not the path of a file",
    "https://example.org/a.png": "is not fetched; download it and name the file",
    "a\0.png": "not the path of a file",
    "a" * 5000: "not the path of a file",
    "loop.png": "not the path of a file|there is no such file",
    "folder": "is a folder, not a file",
    "gone.png": "there is no such file",
}


@pytest.mark.parametrize("name", BAD)
def test_a_path_that_leads_nowhere_or_outside_is_refused(tmp_path, name):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "folder").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.png").touch()
    (tmp_path / "secret.png").touch()
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    with pytest.raises(DataError, match=BAD[name]):
        place(name.replace("{outside}", str(outside)), root)


def features(cell, root):
    (post,) = posts(pd.DataFrame({"v": [cell]}), Columns(vision="v"), root)
    return post


@pytest.mark.parametrize("cell", [[[1, 2.5], [3, 4]], np.array([[1, 2.5], [3, 4]]), "a.npy"])
def test_features_are_arrays_lists_or_files(tmp_path, cell):
    np.save(tmp_path / "a.npy", np.array([[1, 2.5], [3, 4]]))
    found = features(cell, tmp_path)
    assert found.problem == "" and found.vision.dtype == np.float32
    assert found.vision.tolist() == [[1, 2.5], [3, 4]]


def test_no_features_are_no_problem(tmp_path):
    assert features([], tmp_path)[1:] == features(None, tmp_path)[1:] == (None, None, "")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ([1.0, 2.0], r"expected an array \(T, D\) of numbers"),
        ([[1.0], [2.0, 3.0]], r"expected an array \(T, D\)"),
        ([["a"]], r"expected an array \(T, D\)"),
        (5.0, r"expected an array \(T, D\)"),
        ([[np.nan]], "NaN or infinity"),
        ([[1e300]], "NaN or infinity"),
        (np.array([[1j]]), r"expected an array \(T, D\)"),
        ("complex.npy", r"expected an array \(T, D\) of numbers"),
        ("gone.npy", "there is no such file"),
        ("words.npy", r"words\.npy: cannot be read as a \.npy file"),
        ("pickled.npy", r"pickled\.npy: cannot be read as a \.npy file"),
    ],
)
def test_features_that_are_none_are_named(tmp_path, cell, problem):
    (tmp_path / "words.npy").write_text("not an array")
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.array([[1j]]))
    found = features(cell, tmp_path)
    assert found.vision is None
    with pytest.raises(DataError, match=f"vision: .*{problem}"):
        raise DataError(found.problem)
