import numpy as np
import pytest

from gexsent.data.pickles import read_mmsa
from gexsent.errors import DataError


def test_unaligned_files_are_cut_by_their_lengths(mmsa_pickle, quarantine):
    samples, labels, features, total = read_mmsa(mmsa_pickle(), quarantine)
    assert total == len(samples) == len(labels) == 6
    assert samples["id"][0] == "train-video$_$0"
    assert samples["group"].tolist() == [f"{s}-video" for s in ("train", "valid", "test") for _ in range(2)]
    assert samples["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert samples["text"].tolist()[:2] == ["train one", "train two"]
    assert labels["intensity"].tolist() == [-1.5, 2.0] * 3
    assert features["vision"].lengths.tolist() == [3, 2] * 3
    np.testing.assert_array_equal(features["vision"].values[:5, 0], [1, 1, 1, 2, 2])
    assert features["text"].lengths.tolist() == [5] * 6
    assert features["text"].values.shape == (30, 8)
    assert quarantine.rows == []


@pytest.mark.parametrize("width", [20, 35])
def test_aligned_files_lose_their_padding_at_either_end(mmsa_pickle, quarantine, width):
    def pad_first(content):
        content["train"]["vision"][0] = 0
        content["train"]["vision"][0, 2:4] = 7
        content["train"]["vision"][1] = 0

    path = mmsa_pickle(pad_first, name="aligned_50.pkl", unaligned=False, width=width)
    vision = read_mmsa(path, quarantine)[2]["vision"]
    assert vision.lengths.tolist() == [2, 0, 3, 2, 3, 2]  # a sample of zeros alone has no vision
    assert vision.values.shape == (12, width)
    assert (vision.values[:2] == 7).all()


def test_infinity_becomes_zero_and_is_noted(mmsa_pickle, quarantine):
    def spoil(content):
        content["valid"]["vision"][1, 0, 4] = -np.inf

    vision = read_mmsa(mmsa_pickle(spoil), quarantine)[2]["vision"]
    assert np.isfinite(vision.values).all()
    assert vision.values[3 + 2 + 3].tolist() == [3.0] * 4 + [0.0] + [3.0] * 15
    (row,) = quarantine.rows
    assert (row["row"], row["id"], row["problem"]) == (1, "valid-video$_$1", "infinity in vision")
    assert quarantine.enforce(total=6, limit=0.0) is None


def test_text_features_may_be_lacking(mmsa_pickle, quarantine):
    def strip(content):
        for part in content.values():
            del part["text"]

    assert list(read_mmsa(mmsa_pickle(strip), quarantine)[2]) == ["vision"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("regression_labels", np.nan, "train: label outside [-3, 3]"),
        ("regression_labels", 4.0, "train: label outside [-3, 3]"),
        ("id", "train-video$_$0", "train: id occurs a second time"),
        ("raw_text", " ", "train: text is blank"),
    ],
)
def test_faulty_rows_are_quarantined(mmsa_pickle, quarantine, key, value, problem):
    def spoil(content):
        content["train"][key][1] = value

    samples, _, features, _ = read_mmsa(mmsa_pickle(spoil), quarantine)
    kept = "kept" in quarantine.rows[0]["action"]
    assert len(samples) == (6 if kept else 5)
    assert features["vision"].ids == samples["id"].tolist()
    assert [row["problem"] for row in quarantine.rows] == [problem]


def drop(split, key):
    return lambda content: content[split].pop(key)


def put(split, key, value):
    return lambda content: content[split].update({key: value})


def nan(content):
    content["test"]["vision"][0, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("valid"), "expected a dict with the keys train, valid and test"),
        (lambda content: content.update(test=[1, 2]), "test: expected a dict of arrays, found list"),
        (drop("valid", "vision"), "valid: no array 'vision'"),
        (drop("train", "raw_text"), "train: no array 'raw_text'"),
        (put("test", "regression_labels", [0.0]), "test: 2 ids and 1 rows of regression_labels"),
        (put("test", "vision_lengths", [1]), "test: 2 ids and 1 rows of vision_lengths"),
        (put("test", "vision", np.ones((2, 5, 21))), r"vision: features of 'test-video\$_\$0' have shape \(3, 21\)"),
        (put("test", "vision", [["a"], ["b"]]), r"vision of 'test-video\$_\$0' is not an array of numbers"),
        (nan, r"vision: NaN or infinity in the features of 'test-video\$_\$0'"),
    ],
)
def test_faulty_files_are_named_with_the_fault(mmsa_pickle, quarantine, change, message):
    with pytest.raises(DataError, match=rf"unaligned_50\.pkl: .*{message}|unaligned_50\.pkl: {message}"):
        read_mmsa(mmsa_pickle(change), quarantine)
