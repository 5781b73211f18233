"""What a column of labels is, by good columns and by bad ones."""

import numpy as np
import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.posts import labels
from gexsent.tasks import Task

NAN = float("nan")


def column(cells, **options):
    return pd.Series(cells, index=range(2, 2 + len(cells)), name="mood", **options)


FOUND = {
    "numbers as text": (["1", "2.5", "-3e1", ""], "regression", (), [1, 2.5, -30, NAN]),
    "numbers": ([1.5, None, 2], "regression", (), [1.5, NAN, 2]),
    "classes": (["b", " a", "b", "a", "a", "b", None], "classes", ("a", "b"), [1, 0, 1, 0, 0, 1, NAN]),
    "the words nan and None": (["nan", "None"] * 3, "classes", ("None", "nan"), [1, 0] * 3),
    "0_1 is no number": (["0_1", "0_2"] * 3, "classes", ("0_1", "0_2"), [0, 1] * 3),
    "yes and no": (["Yes", "no", "YES", "no", "yes", "No"], "binary", ("no", "yes"), [1, 0, 1, 0, 1, 0]),
    "truth values": ([True, False] * 3, "binary", ("false", "true"), [1, 0] * 3),
    "0 and 1": ([0, 1] * 3, "binary", ("0", "1"), [0, 1] * 3),
}


@pytest.mark.parametrize("what", FOUND)
def test_a_column_is_what_its_cells_say(what):
    cells, kind, classes, expected = FOUND[what]
    found = column(cells)
    task = labels.infer(found, 0)
    assert (task.kind, task.classes, task.label, task.name) == (kind, classes, "mood", "label0")
    np.testing.assert_array_equal(labels.codes(found, task), expected)


def test_an_ordered_category_is_levels_in_its_order_and_an_unordered_one_is_classes():
    for ordered, kind, outputs in ((True, "ordinal", 2), (False, "classes", 3)):
        dtype = pd.CategoricalDtype(["low", "mid", "high", "never"], ordered=ordered)
        found = column(["high", "low", "mid"] * 3, dtype=dtype)
        task = labels.infer(found, 1)
        assert (task.kind, task.outputs, task.classes) == (kind, outputs, ("low", "mid", "high"))
        assert labels.codes(found, task).tolist() == [2, 0, 1] * 3


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("classes", [1, 2, 2, 1, 1, 2], ("classes", 2, ("1", "2"))),
        ("classes", [1.0, 2.0, None, 2.0, 1.0, 1.0, 2.0], ("classes", 2, ("1", "2"))),
        ("levels", ["10", "9", "9", "10", "9", "10"], ("ordinal", 1, ("9", "10"))),
        ("number", [0, 1, 1], ("regression", 1, ())),
        ("yes/no", ["spam", "ham"] * 3, ("binary", 1, ("ham", "spam"))),
    ],
)
def test_the_kind_can_be_told(kind, cells, expected):
    task = labels.infer(column(cells), 0, kind)
    assert (task.kind, task.outputs, task.classes) == expected


@pytest.mark.parametrize(
    ("cells", "kind", "message"),
    [
        (["", None, " "], None, "column 'mood': no row has a label"),
        ([3, 3.0, 3], None, "every label is 3; there is nothing to learn"),
        (["a"] * 9, None, "every label is 'a'; there is nothing to learn"),
        (["yes"] * 9, None, "every label is 'yes'"),
        (["1", "2", "three", "4"], None, "row 4: 'three' is no number, and most labels are; mend it"),
        (["1", "2", "three"], "number", "row 4: 'three' is no number"),
        (["1", "inf"], "number", "row 3: 'inf' is no number"),
        (["1", "1e999"], "number", "a label is too large"),
        (["a"] * 5 + ["b"] * 5 + ["once"], None, "only row 12 has the label 'once', and 3 rows are the least"),
        (["a"] * 5 + ["b"] * 5 + ["c"] * 2, None, "only row 12, 13 has the label 'c'"),
        ([f"text {n}" for n in range(400)], None, "400 different labels in 400 rows, and 100 classes are the most"),
        (["low", "high"] * 4, "levels", "levels need an order"),
        (["a", "b", "c"] * 4, "yes/no", "yes/no needs two different labels, found a, b, c"),
        (["a", "b"] * 4, "ranking", "unknown kind 'ranking'; choose from number, classes, levels, yes/no"),
    ],
)
def test_a_column_that_cannot_be_learned_is_named_with_its_row(cells, kind, message):
    with pytest.raises(DataError, match="column 'mood'") as caught:
        labels.infer(column(cells), 0, kind)
    assert message in str(caught.value)


def test_a_label_that_the_model_does_not_know_is_named_with_its_row():
    task = labels.infer(column(["a", "b"] * 3), 0)
    with pytest.raises(DataError, match="column 'mood', row 3: 'c' is none of the labels a, b"):
        labels.codes(column(["a", "c"]), task)


def test_a_number_is_learned_in_deviations_from_its_mean():
    task = labels.in_units_of(Task("label0", "regression", 1, "stars"), np.array([2.0, NAN, 4.0]))
    assert (task.centre, task.scale) == (3, 1)
    classes = Task("label0", "classes", 2, "mood", ("a", "b"))
    assert labels.in_units_of(classes, np.array([0.0, 1.0])) is classes


def test_what_was_found_is_told():
    found = column(["a", "b", "b", "a", "b", "a", ""])
    task = labels.infer(found, 0)
    assert labels.describe(task, labels.codes(found, task)) == "mood: 2 classes (a 3, b 3); 6 of 7 rows labelled"
    stars = Task("label0", "regression", 1, "stars")
    assert labels.describe(stars, np.array([1, NAN, 4.5])) == "stars: a number from 1 to 4.5; 2 of 3 rows labelled"
