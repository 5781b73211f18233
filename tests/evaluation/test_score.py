"""From predictions to scores: labels that are missing, folds, seeds, and what stands in the file."""

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from gexsent.datasets import CATEGORIES
from gexsent.evaluation import score
from gexsent.evaluation.metrics import MetricWarning


@pytest.fixture
def memes():
    """Four memes, predicted perfectly: every class of every category occurs."""
    columns = {"id": list("abcd"), "partition": "official", "sentiment": [-1, 0, 1, 1]}
    columns |= {c: [0, 1, 2, 3] for c in CATEGORIES} | {"motivational": [0, 1, 0, 1]}
    rows = pd.DataFrame(columns).astype({c: "Int8" for c in ("sentiment", *CATEGORIES)})
    rows["pred_sentiment"] = [-1, 0, 1, 1]
    for category in CATEGORIES:
        rows[f"pred_{category}_level"] = rows[category].astype("int8")
        rows[f"pred_{category}_present"] = (rows[category] > 0).astype("int8")
    return rows


@pytest.fixture
def clips():
    """Four clips with intensity and its sign."""
    return pd.DataFrame(
        {
            "partition": "official",
            "id": list("abcd"),
            "intensity": np.array([-2.0, 0.0, 1.0, 3.0], np.float32),
            "sentiment": pd.array([-1, 0, 1, 1], "Int8"),
            "pred_intensity": np.array([-1.0, 0.5, 1.0, 3.0], np.float32),
            "pred_sentiment": [-1, 1, 0, 1],
        }
    )


def predictions_of(rows, systems=("gexsent",), seeds=(0,)):
    """Prediction rows of several systems and seeds, all alike."""
    predicted = rows[["partition", "id", *(c for c in rows if c.startswith("pred_"))]]
    parts = [predicted.assign(system=system, seed=seed) for system in systems for seed in seeds]
    return pd.concat(parts, ignore_index=True)


def labels_of(rows):
    return rows[[c for c in rows if not c.startswith("pred_")]]


def test_a_perfect_memotion_prediction(memes):
    scores = score.dataset_metrics(memes, "memotion")
    names = ["macro_f1_a", "acc_a", *(f"macro_f1_{task}" for task in "bc")]
    names += [f"macro_f1_{task}_{category}" for task in "bc" for category in CATEGORIES]
    assert set(scores) == set(names)
    assert scores.pop("acc_a") == 100
    assert set(scores.values()) == {1.0}


def test_memotion_a_is_macro_f1_over_three_classes(memes):
    memes["pred_sentiment"] = [-1, 0, 0, 1]  # F1: 1, 2/3, 2/3
    scores = score.dataset_metrics(memes, "memotion")
    assert scores["macro_f1_a"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert scores["acc_a"] == 75


def test_memotion_b_counts_any_level_as_present(memes):
    """True 0111. Predicting 0011: F1 of absent 2/3, of present 4/5. The mean is over four categories, not classes."""
    memes["pred_sarcasm_present"] = [0, 0, 1, 1]
    scores = score.dataset_metrics(memes, "memotion")
    assert scores["macro_f1_b_sarcasm"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["macro_f1_b"] == pytest.approx((3 + (2 / 3 + 4 / 5) / 2) / 4)
    assert scores["macro_f1_c"] == 1  # from its own predictions


def test_memotion_c_tells_levels_apart(memes):
    """True 0123, predicted 0122: F1 1, 1, 2/3 and 0 for the level that is never predicted."""
    memes["pred_humour_level"] = [0, 1, 2, 2]
    with pytest.warns(MetricWarning, match=r"macro_f1_c_humour: never predicted and counted as 0: class \[3\]"):
        scores = score.dataset_metrics(memes, "memotion")
    assert scores["macro_f1_c_humour"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert scores["macro_f1_c"] == pytest.approx((3 + (1 + 1 + 2 / 3) / 4) / 4)
    assert scores["macro_f1_b"] == 1


def test_motivational_has_two_levels(memes):
    """True 0101, predicted 0111. Two classes: were there four, two of them would count 0."""
    memes["pred_motivational_level"] = [0, 1, 1, 1]
    scores = score.dataset_metrics(memes, "memotion")
    assert scores["macro_f1_c_motivational"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_missing_label_is_left_out_of_its_own_category(memes):
    memes["pred_offensive_level"] = [1, 0, 2, 3]
    memes["pred_offensive_present"] = [1, 0, 1, 1]
    memes.loc[[0, 1], "offensive"] = pd.NA  # the two that are wrong
    memes["pred_humour_present"] = [1, 1, 1, 1]  # wrong in a row whose label of another category is missing
    with pytest.warns(MetricWarning):
        scores = score.dataset_metrics(memes, "memotion")
    assert scores["macro_f1_b_offensive"] == 0.5  # both right; "absent" is neither true nor predicted and counts 0
    assert scores["macro_f1_c_offensive"] == 0.5  # levels 2 and 3 right, 0 and 1 not there
    assert scores["macro_f1_b_humour"] == pytest.approx((0 + 6 / 7) / 2)
    assert scores["macro_f1_b_sarcasm"] == 1


def test_a_missing_sentiment_is_left_out(memes):
    memes["pred_sentiment"] = [-1, 0, 1, 0]
    memes.loc[3, "sentiment"] = pd.NA
    assert score.dataset_metrics(memes, "memotion")["acc_a"] == 100


def test_a_category_without_any_label_takes_the_mean_of_four_with_it(memes):
    memes["sarcasm"] = pd.array([pd.NA] * 4, "Int8")
    scores = score.dataset_metrics(memes, "memotion")
    gone = {"macro_f1_b", "macro_f1_c", "macro_f1_b_sarcasm", "macro_f1_c_sarcasm"}
    assert not gone & set(scores)
    assert scores["macro_f1_b_humour"] == 1 and scores["macro_f1_a"] == 1


@pytest.mark.parametrize("dataset", ["mosi", "mosei"])
def test_intensity_and_three_classes(clips, dataset):
    scores = score.dataset_metrics(clips, dataset)
    assert scores["mae"] == pytest.approx((1 + 0.5) / 4)
    assert scores["acc2_has0"] == 100
    assert scores["acc_3"] == 50
    assert scores["macro_f1_3"] == pytest.approx((1 + 0 + 1 / 2) / 3)  # true -1 0 1 1, predicted -1 1 0 1


def test_three_classes_come_from_their_own_head(clips):
    """Not from the sign of the predicted intensity."""
    assert score.dataset_metrics(clips.assign(pred_sentiment=[-1, 0, 1, 1]), "mosi")["acc_3"] == 100


def test_a_data_set_without_intensities(clips):
    for rows in (clips.drop(columns=["intensity", "pred_intensity"]), clips.assign(intensity=np.nan)):
        assert set(score.dataset_metrics(rows, "mosei")) == {"macro_f1_3", "acc_3"}


def test_rows_without_an_intensity_are_left_out_of_it_alone(clips):
    clips.loc[0, "intensity"] = np.nan
    scores = score.dataset_metrics(clips, "mosi")
    assert scores["mae"] == pytest.approx(0.5 / 3)
    assert scores["acc_3"] == 50


def test_one_row_a_system_and_seed(clips):
    predictions = predictions_of(clips, ("gexsent", "released"), (0, 1))
    predictions.loc[predictions["seed"] == 1, "pred_intensity"] += 1
    scores = score.seed_scores(predictions, labels_of(clips), "mosi")
    assert scores[["system", "seed"]].to_numpy().tolist() == [
        ["gexsent", 0],
        ["gexsent", 1],
        ["released", 0],
        ["released", 1],
    ]
    assert scores["mae"].tolist() == pytest.approx([1.5 / 4, 5.5 / 4, 1.5 / 4, 5.5 / 4])
    assert set(scores["partitions"]) == {1} and set(scores["rows"]) == {4}


def test_labels_and_predictions_meet_by_id_not_by_order(clips):
    shuffled = predictions_of(clips).iloc[[2, 0, 3, 1]]
    expected = score.seed_scores(predictions_of(clips), labels_of(clips), "mosi")
    pd.testing.assert_frame_equal(score.seed_scores(shuffled, labels_of(clips), "mosi"), expected)


def test_folds_are_pooled_not_averaged(clips):
    """Three rows in one fold, one in the other: the metric is over four rows. The same id may be in both."""
    clips["partition"] = ["fold0", "fold0", "fold0", "fold1"]
    clips.loc[3, "id"] = "a"
    clips["pred_sentiment"] = [-1, 0, 1, -1]  # 3 of 3, 0 of 1
    scores = score.seed_scores(predictions_of(clips), labels_of(clips), "mosi")
    assert scores["acc_3"].tolist() == [75.0]
    assert scores["partitions"].tolist() == [2]


def test_a_test_row_without_a_prediction_is_refused(clips):
    predictions = predictions_of(clips, seeds=(0, 1)).drop(index=6)
    with pytest.raises(ValueError, match="gexsent, seed 1: 1 test rows have no prediction"):
        score.seed_scores(predictions, labels_of(clips), "mosi")


def test_a_test_row_with_two_predictions_is_refused(clips):
    predictions = predictions_of(clips)
    with pytest.raises(ValueError, match="one-to-one"):
        score.seed_scores(pd.concat([predictions, predictions.head(1)]), labels_of(clips), "mosi")


def test_a_prediction_that_is_not_finite_is_refused(clips):
    predictions = predictions_of(clips)
    predictions.loc[0, "pred_intensity"] = np.nan
    with pytest.raises(ValueError, match="finite"):
        score.seed_scores(predictions, labels_of(clips), "mosi")


def test_one_warning_a_system_however_many_seeds(clips):
    clips["pred_intensity"] = np.float32(1)
    clips["pred_sentiment"] = 1
    predictions = predictions_of(clips, ("gexsent", "released"), (0, 1, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = score.seed_scores(predictions, labels_of(clips), "mosi")
    assert [str(w.message).split(":")[0] for w in caught] == ["mosi, gexsent", "mosi, released"]
    assert all("Corr is undefined" in str(w.message) and "class [-1, 0]" in str(w.message) for w in caught)
    assert scores["corr"].isna().all()


def test_mean_deviation_and_count():
    """Of 1, 2 and 6: mean 3, deviation sqrt((4 + 1 + 9) / 2)."""
    rows = [{"system": "gexsent", "seed": s, "partitions": 1, "rows": 9, "mae": v} for s, v in enumerate((1, 2, 6))]
    summary = score.summarise(pd.DataFrame(rows))
    assert summary == {"gexsent": {"mae": {"mean": 3.0, "sd": round(math.sqrt(7), 6), "n": 3}}}


def test_systems_keep_their_order_and_are_not_mixed():
    frame = pd.DataFrame({"system": ["z", "a", "z", "a"], "seed": [0, 0, 1, 1], "mae": [1.0, 5.0, 3.0, 5.0]})
    summary = score.summarise(frame)
    assert list(summary) == ["z", "a"]
    assert summary["z"]["mae"]["mean"] == 2 and summary["a"]["mae"] == {"mean": 5.0, "sd": 0.0, "n": 2}


def test_what_is_undefined_is_none():
    """One seed has no deviation; a seed without a value leaves no mean over the others."""
    frame = pd.DataFrame(
        {"system": ["a", "b", "b"], "seed": [0, 0, 1], "mae": [1.0, 2.0, 3.0], "corr": [0.5, 0.1, None]}
    )
    summary = score.summarise(frame)
    assert summary["a"]["mae"] == {"mean": 1.0, "sd": None, "n": 1}
    assert summary["b"]["corr"] == {"mean": None, "sd": None, "n": 2}


def test_the_file_is_strict_json(tmp_path):
    summary = {"gexsent": {"corr": {"mean": None, "sd": None, "n": 2}}}
    score.write_metrics(tmp_path / "metrics" / "mosi.json", summary)
    text = (tmp_path / "metrics" / "mosi.json").read_text()
    assert json.loads(text) == summary
    assert "NaN" not in text and text.endswith("}\n")
