import pickle

import numpy as np
import pytest

from gexsent.data.facet import read
from gexsent.data.table import BLOCKS
from gexsent.errors import DataError

HEADER = "frames\tsentence\tpolarity_combined\n"


def write_pickle(folder, content):
    (folder / "FACET_aligned_MOSEI.pkl").write_bytes(pickle.dumps(content))


def features(*keys, width=35, frames=2):
    return {key: {"features": np.ones((frames, width), np.float32)} for key in keys}


def test_ids_keep_their_dashes_and_find_features_without_them(facet_folder, quarantine):
    samples, labels, found, total = read(facet_folder, quarantine, seed=1)
    assert total == len(samples) == 60
    assert samples["id"].tolist()[:2] == ["-v00-_0", "-v00-_1"]
    assert samples["group"].tolist()[:4] == ["-v00-"] * 3 + ["-v01-"]
    assert labels["sentiment"].tolist()[:3] == [-1, 0, 1]
    assert "intensity" not in labels
    assert found["vision"].lengths.tolist() == [2] * 60
    np.testing.assert_array_equal(found["vision"].values[::2, 34], np.arange(60))
    assert quarantine.rows == []


def test_videos_are_split_whole_and_by_the_seed(facet_folder, quarantine):
    first, again, other = (read(facet_folder, quarantine, seed=seed)[0] for seed in (1, 1, 2))
    assert set(first["split"]) == set(BLOCKS)
    assert (first.groupby("group")["split"].nunique() == 1).all()
    assert first["split"].tolist() == again["split"].tolist() != other["split"].tolist()


@pytest.mark.parametrize(
    ("row", "problem", "action"),
    [
        ("b_1\ttext\tgood", "polarity is not a number", "left out"),
        ("b_1\ttext\t", "polarity is not a number", "left out"),
        ("b_1\ttext\t2", "polarity is not -1, 0 or 1", "left out"),
        ("b_1\ttext\tnan", "polarity is not -1, 0 or 1", "left out"),
        ("a_1\ttext\t1", "id occurs a second time", "left out"),
        (" \ttext\t1", "id is blank", "left out"),
        ("b_2\ttext\t1", "not in FACET_aligned_MOSEI.pkl", "kept without vision"),
        ("b_1\t \t1", "text is blank", "kept without text"),
    ],
)
def test_faulty_rows_are_quarantined(tmp_path, quarantine, row, problem, action):
    (tmp_path / "df_MOSEI_combined_train.tsv").write_text(f"{HEADER}a_1\tfine\t1.0\n{row}\n")
    write_pickle(tmp_path, features("a_1", "b_1"))
    samples, _, found, _ = read(tmp_path, quarantine, seed=1)
    assert len(samples) == (1 if action == "left out" else 2)
    assert found["vision"].ids == samples["id"].tolist()
    (noted,) = quarantine.rows
    assert (noted["row"], noted["problem"], noted["action"]) == (3, problem, action)


def test_values_that_are_not_finite_become_zero_and_are_noted(facet_folder, quarantine):
    content = features(*(f"v{number // 3:02d}_{number % 3}" for number in range(60)))
    content["v00_1"]["features"][1, 4] = np.nan
    write_pickle(facet_folder, content)
    values = read(facet_folder, quarantine, seed=1)[2]["vision"].values
    assert values[3].tolist() == [1.0] * 4 + [0.0] + [1.0] * 30
    assert [(row["id"], row["problem"]) for row in quarantine.rows] == [("-v00-_1", "NaN or infinity in vision")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected {id: {'features': array"),
        ({"a_1": np.ones(35)}, "expected {id: {'features': array"),
        (features("a_1", width=20), r"a_1: features of shape \(2, 20\), expected \(F, 35\)"),
        ({"a_1": {"features": np.ones(35)}}, r"a_1: features of shape \(35,\)"),
        ({"a_1": {"features": [["x"]]}}, "a_1: features are not an array of numbers"),
    ],
)
def test_faulty_pickles_are_named(tmp_path, quarantine, content, message):
    (tmp_path / "df_MOSEI_combined_train.tsv").write_text(f"{HEADER}a_1\tfine\t1.0\n")
    write_pickle(tmp_path, content)
    with pytest.raises(DataError, match=rf"FACET_aligned_MOSEI\.pkl: {message}"):
        read(tmp_path, quarantine, seed=1)


def test_the_table_must_be_there(facet_folder, quarantine):
    (facet_folder / "df_MOSEI_combined_train.tsv").unlink()
    with pytest.raises(DataError, match=r"df_MOSEI_combined_train\.tsv: there is no such file"):
        read(facet_folder, quarantine, seed=1)
