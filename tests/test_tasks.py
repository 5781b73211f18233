"""Targets made from labels, and predictions made from head outputs, for each kind of task."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from gexsent.datasets import CATEGORIES, INTENSITY, LEVEL, LEVELS, MEMES, PRESENT, SENTIMENT, spec
from gexsent.decode import decode
from gexsent.errors import DataError
from gexsent.tasks import Task, load, save

NAN = float("nan")


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        (INTENSITY, [-3, NAN, 0.5], [-3, NAN, 0.5]),
        (SENTIMENT, [-1, 0, 1, NAN], [0, 1, 2, NAN]),
        (PRESENT[0], [0, 1, 2, 3, NAN], [0, 1, 1, 1, NAN]),
        (LEVEL[0], [0, 1, 2, 3, NAN], [0, 1, 2, 3, NAN]),
    ],
)
def test_targets_keep_what_is_missing(task, labels, expected):
    target = task.target(np.array(labels, np.float64))
    np.testing.assert_array_equal(target, expected)
    assert target.dtype == np.float64


def test_heads_of_each_data_set():
    """Names, numbers of outputs and the label column that each learns from."""
    assert spec("mosi").tasks == spec("mosei").tasks
    assert {t.name: (t.kind, t.outputs, t.label) for t in spec("mosi").tasks} == {
        "intensity": ("regression", 1, "intensity"),
        "sentiment": ("classes", 3, "sentiment"),
    }
    expected = {"sentiment": ("classes", 3, "sentiment")}
    for category, levels in (("humour", 4), ("sarcasm", 4), ("offensive", 4), ("motivational", 2)):
        expected[f"{category}_present"] = ("binary", 1, category)
        expected[f"{category}_level"] = ("ordinal", levels - 1, category)
    assert {t.name: (t.kind, t.outputs, t.label) for t in MEMES} == expected


def test_intensity_is_the_output_itself():
    columns = decode({"intensity": np.array([[-3.7], [0.25]])}, [INTENSITY])
    assert list(columns) == ["pred_intensity"]
    np.testing.assert_array_equal(columns["pred_intensity"], np.float32([-3.7, 0.25]))  # beyond 3 it is not clipped
    assert columns["pred_intensity"].dtype == np.float32


def test_sentiment_is_the_largest_logit_with_softmax_beside_it():
    columns = decode({"sentiment": np.log([[1.0, 2.0, 5.0], [6.0, 1.0, 1.0], [1.0, 8.0, 1.0]])}, [SENTIMENT])
    assert columns["pred_sentiment"].tolist() == [1, -1, 0]
    assert columns["p_sentiment_negative"] == pytest.approx([1 / 8, 6 / 8, 1 / 10])
    assert columns["p_sentiment_neutral"] == pytest.approx([2 / 8, 1 / 8, 8 / 10])
    assert columns["p_sentiment_positive"] == pytest.approx([5 / 8, 1 / 8, 1 / 10])


def test_present_is_a_positive_logit():
    columns = decode({"sarcasm_present": np.array([[np.log(3)], [-np.log(3)], [0.0]])}, MEMES)
    assert columns["pred_sarcasm_present"].tolist() == [1, 0, 0]  # even odds are not "present"
    assert columns["p_sarcasm_present"] == pytest.approx([0.75, 0.25, 0.5])


def test_levels_are_counted_up_to_the_first_threshold_not_passed():
    raw = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [1, 1, 1], [-1, 1, 1], [1, -1, 1], [0, 1, 1]])
    assert decode({"humour_level": raw}, MEMES)["pred_humour_level"].tolist() == [0, 1, 2, 3, 0, 1, 0]
    assert decode({"motivational_level": raw[:, :1]}, MEMES)["pred_motivational_level"].tolist() == [
        0,
        1,
        1,
        1,
        0,
        1,
        0,
    ]


def test_logits_of_any_size_are_no_trouble():
    """Without care exp overflows, with a warning, at 710."""
    columns = decode({"humour_present": np.array([[-1e4], [1e4]]), "sentiment": np.array([[1e4, 0, -1e4]] * 2)}, MEMES)
    assert columns["p_humour_present"].tolist() == [0, 1]
    assert columns["p_sentiment_negative"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["intensity", "sentiment", "humour_present", "humour_level"])
def test_a_model_that_diverged_is_not_decoded(name):
    with pytest.raises(ValueError, match=f"{name}: the outputs hold NaN or infinity"):
        decode({name: np.array([[0.0, 0.0, NAN]]).T}, [INTENSITY, *MEMES])


def test_a_regression_is_learned_in_its_own_units_and_told_in_those_of_the_label():
    stars = Task("stars", "regression", 1, "stars", centre=3.5, scale=0.5)
    labels = np.array([1.0, NAN, 4.5])
    target = stars.target(labels)
    np.testing.assert_array_equal(target, [-5, NAN, 2])
    np.testing.assert_array_equal(decode({"stars": target[[0, 2], None]}, [stars])["pred_stars"], labels[[0, 2]])


def test_classes_of_any_number_and_name():
    topics = Task("topic", "classes", 200, "topic", tuple(f"t{i}" for i in range(200)))
    raw = np.zeros((2, 200))
    raw[0, 199] = raw[1, 3] = 5
    columns = decode({"topic": raw}, [topics])
    assert columns["pred_topic"].tolist() == [199, 3]
    assert columns["p_topic_t199"][0] == pytest.approx(np.exp(5) / (np.exp(5) + 199))


def test_tasks_come_back_from_a_folder_as_they_were(tmp_path):
    save(MEMES, tmp_path)
    assert load(tmp_path) == MEMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("{}", "expected a list of tasks"),
        ('[{"name": "x"}]', "expected a list of tasks, each with the keys centre, classes"),
        (json.dumps([asdict(SENTIMENT) | {"outputs": 4}]), "sentiment: 4 outputs do not fit 'classes'"),
        (json.dumps([asdict(LEVEL[0]) | {"outputs": 4}]), "humour_level: 4 outputs do not fit 'ordinal'"),
        (json.dumps([asdict(INTENSITY) | {"kind": "ranking"}]), "intensity: 1 outputs do not fit 'ranking'"),
    ],
)
def test_a_file_that_describes_no_tasks_is_named(tmp_path, content, message):
    (tmp_path / "tasks.json").write_text(content)
    with pytest.raises(DataError, match=rf"tasks\.json: .*{message}"):
        load(tmp_path)


def test_every_task_of_memotion_gives_its_columns():
    outputs = {task.name: np.zeros((5, task.outputs)) for task in MEMES}
    columns = decode(outputs, MEMES)
    for category in CATEGORIES:
        assert {f"pred_{category}_present", f"p_{category}_present", f"pred_{category}_level"} <= set(columns)
    assert all(len(values) == 5 for values in columns.values())
    assert len(columns) == 4 + 3 * len(LEVELS)
