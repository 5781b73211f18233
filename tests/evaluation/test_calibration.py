"""Calibration: errors by hand, and scalings that must find what was done to the logits."""

import math

import numpy as np
import pytest

from gexsent.evaluation import calibration

CONFIDENCE = np.array([0.95, 0.40, 0.60, 0.55, 0.85, 0.90])
RIGHT = np.array([True, False, True, False, True, False])


def drawn(rng, count=20000):
    """Calibrated log-probabilities of three classes, and classes drawn from them."""
    logits = rng.normal(size=(count, 3)) * 2 + [0.5, -1.0, 0.0]
    probability = calibration.softmax(logits)
    return np.log(probability), (probability.cumsum(1) < rng.random((count, 1))).sum(1)


def test_six_points_by_hand_in_bins_of_equal_mass():
    """Sorted: .40 .55 | .60 .85 | .90 .95, right 0 0 | 1 1 | 0 1."""
    table = calibration.bins(CONFIDENCE, RIGHT, count=3)
    assert table["rows"].tolist() == [2, 2, 2]
    assert table["confidence"].tolist() == pytest.approx([0.475, 0.725, 0.925])
    assert table["accuracy"].tolist() == [0.0, 1.0, 0.5]
    assert calibration.error(table) == pytest.approx((0.475 + 0.275 + 0.425) / 3)


def test_equal_confidences_share_a_bin_so_that_the_order_of_the_rows_does_not_matter():
    right = np.arange(30) < 20
    table = calibration.bins(np.full(30, 0.5), right)
    assert table.to_numpy().tolist() == [[30, 0.5, pytest.approx(2 / 3)]]
    confidence = np.repeat([0.5, 0.7, 0.9], 10)
    shuffled = np.random.default_rng(0).permutation(30)
    tables = [
        calibration.bins(c, r, count=4) for c, r in ((confidence, right), (confidence[shuffled], right[shuffled]))
    ]
    assert tables[0]["rows"].tolist() == [10, 10, 10]
    assert tables[0].equals(tables[1])


def test_six_points_by_hand_in_bins_of_equal_width():
    """Of [0, .2) [.2, .4) [.4, .6) [.6, .8) [.8, 1] the last three hold .40 .55 | .60 | .85 .90 .95."""
    table = calibration.bins(CONFIDENCE, RIGHT, count=5, equal="width")
    assert table["rows"].tolist() == [2, 1, 3]
    assert calibration.error(table) == pytest.approx((2 * 0.475 + 1 * 0.4 + 3 * (0.9 - 2 / 3)) / 6)
    assert calibration.bins(np.ones(2), np.ones(2, bool), equal="width")["rows"].tolist() == [2]  # 1 is in a bin
    with pytest.raises(ValueError, match="mass"):
        calibration.bins(CONFIDENCE, RIGHT, equal="area")


def test_the_floor_is_what_calibrated_outcomes_show():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 1, 300)
    errors = [calibration.error(calibration.bins(confidence, rng.random(300) < confidence)) for _ in range(400)]
    assert calibration.error_floor(confidence) == pytest.approx(np.mean(errors), rel=0.06)
    assert calibration.error_floor(np.ones(50)) == 0.0


def test_proper_scores_by_hand():
    probability, truth = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
    assert calibration.brier(probability, truth) == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.49 + 0.36) / 2)
    assert calibration.nll(probability, truth) == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)
    assert calibration.nll(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(1e-12))


def test_a_temperature_that_was_applied_is_found():
    logits, truth = drawn(np.random.default_rng(1))
    found = calibration.fit(3.0 * logits, truth, bias=False)
    assert found.temperature == pytest.approx(3.0, rel=0.05)
    assert found.bias.tolist() == [0, 0, 0]
    before, after = calibration.softmax(3.0 * logits), found(3.0 * logits)
    assert (before.argmax(1) == after.argmax(1)).all()
    assert calibration.nll(after, truth) < calibration.nll(before, truth) - 0.1


def test_shifts_that_were_added_to_classes_are_found_and_taken_back():
    logits, truth = drawn(np.random.default_rng(2))
    shift = np.array([1.5, -2.0, 0.5])
    found = calibration.fit(2.0 * logits + shift, truth, bias=True)
    assert found.temperature == pytest.approx(2.0, rel=0.05)
    assert found.bias - found.bias.mean() == pytest.approx(-shift / 2.0, abs=0.06)
    assert found(2.0 * logits + shift) == pytest.approx(np.exp(logits), abs=0.03)


def test_a_temperature_alone_hides_a_shift_from_the_error_of_the_chosen_class_and_not_from_that_of_all():
    logits, truth = drawn(np.random.default_rng(2))
    shifted = 2.0 * logits + [1.5, -2.0, 0.5]
    alone, both = (calibration.fit(shifted, truth, bias=bias)(shifted) for bias in (False, True))
    errors = [calibration.error(calibration.bins(p.max(1), p.argmax(1) == truth)) for p in (alone, both)]
    assert max(errors) < 0.03
    assert calibration.class_error(alone, truth) > 3 * calibration.class_error(both, truth)
    assert calibration.nll(alone, truth) > calibration.nll(both, truth) + 0.05


def test_the_error_of_all_classes_by_hand():
    probability, truth = np.array([[0.7, 0.3], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]]), np.array([0, 1, 0, 1])
    # First class, sorted: .2 .6 | .7 .9, true 0 0 | 1 1: gaps .4 and .2; the second class mirrors it.
    assert calibration.class_error(probability, truth, count=2) == pytest.approx(0.3)


def test_the_scaling_found_is_the_best_one_around():
    logits, truth = drawn(np.random.default_rng(3), count=200)
    found = calibration.fit(2.0 * logits, truth, bias=True)

    def objective(temperature, bias):
        probability = calibration.Scaling(temperature, bias)(2.0 * logits)
        return calibration.nll(probability, truth) + (bias**2).sum() / (2 * calibration.PRIOR**2 * len(truth))

    best = objective(found.temperature, found.bias)
    for step in (0.9, 1.1):
        assert objective(step * found.temperature, found.bias) > best
    for k in range(3):
        for step in (-0.2, 0.2):
            assert objective(found.temperature, found.bias + step * np.eye(3)[k]) > best


def test_a_class_that_validation_lacks_keeps_a_probability():
    logits, truth = drawn(np.random.default_rng(4), count=60)
    kept = truth != 2
    probability = calibration.fit(logits[kept], truth[kept], bias=True)(logits)
    assert probability[:, 2].min() > 0
    assert probability[kept, 2].mean() < 0.1


def test_logits_that_say_nothing_leave_the_class_frequencies():
    rng = np.random.default_rng(5)
    truth = rng.choice(3, 3000, p=[0.6, 0.3, 0.1])
    probability = calibration.fit(rng.normal(size=(3000, 3)) * 3, truth, bias=True)(rng.normal(size=(500, 3)) * 3)
    assert probability.mean(0) == pytest.approx(np.bincount(truth) / 3000, abs=0.02)
    assert probability.std(0).max() < 0.05
