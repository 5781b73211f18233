"""Golden numbers for every rule of the metrics, worked out by hand, and scikit-learn on random arrays."""

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from gexsent.evaluation import metrics
from gexsent.evaluation.metrics import MetricWarning

# Halves on both sides of zero, zeros among labels and predictions, and values beyond either limit.
TRUE = np.array([-3.0, -1.5, -0.5, 0.0, 0.0, 0.5, 1.5, 2.5])
PRED = np.array([-3.6, -0.5, 0.0, 0.0, -0.2, 0.4, 2.5, 3.5])


def test_golden_intensity():
    scores = metrics.intensity(PRED, TRUE)
    assert scores["mae"] == pytest.approx((0.6 + 1 + 0.5 + 0 + 0.2 + 0.1 + 1 + 1) / 8)  # 3.5 and -3.6 are not clipped
    # Rounded: true -3 -2 0 0 0 0 2 2, predicted -3 0 0 0 0 0 2 3.
    assert scores["acc7"] == 75.0
    # Clipped to 2 first: true -2 -2 0 0 0 0 2 2, predicted -2 0 0 0 0 0 2 2.
    assert scores["acc5"] == 87.5
    # Non-negative: true ---+++++ , predicted --++-+++ : six of eight; F1 2/3 (three true) and 4/5 (five true).
    assert scores["acc2_has0"] == 75.0
    assert scores["f1_has0"] == pytest.approx(100 * (3 * 2 / 3 + 5 * 4 / 5) / 8)
    # Without the two zeros among the labels: true ---+++, predicted --0+++, and 0 is not positive.
    assert scores["acc2_non0"] == 100.0
    assert scores["f1_non0"] == 100.0
    p, y = PRED - PRED.mean(), TRUE - TRUE.mean()
    assert scores["corr"] == pytest.approx((p * y).sum() / math.sqrt((p * p).sum() * (y * y).sum()))
    assert list(scores) == ["mae", "corr", "acc7", "acc5", "acc2_has0", "f1_has0", "acc2_non0", "f1_non0"]


@pytest.mark.parametrize(
    ("value", "seven", "five"),
    [
        *[(0.5, 0, 0), (1.5, 2, 2), (2.5, 2, 2), (0.49, 0, 0), (0.51, 1, 1), (2.51, 3, 2), (9, 3, 2)],
        *[(-0.5, 0, 0), (-1.5, -2, -2), (-2.5, -2, -2), (-2.51, -3, -2), (-9, -3, -2)],
    ],
)
def test_a_value_falls_into_one_class(value, seven, five):
    """Halves go to the even neighbour, after clipping. The class is found by trying each as the label."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # one sample has no correlation
        hit7 = [c for c in range(-3, 4) if metrics.intensity([value], [float(c)])["acc7"] == 100]
        hit5 = [c for c in range(-2, 3) if metrics.intensity([value], [float(c)])["acc5"] == 100]
    assert (hit7, hit5) == ([seven], [five])


def test_the_label_is_clipped_and_rounded_too():
    scores = metrics.intensity([2.0, 3.0, 0.0], [2.5, 2.6, 0.5])
    assert scores["acc7"] == 100.0
    assert metrics.intensity([2.0, -3.0], [3.0, 0.0])["acc5"] == 50.0  # 3 becomes 2 among five classes
    assert metrics.intensity([2.0, -3.0], [3.0, 0.0])["acc7"] == 0.0


def test_a_prediction_of_exactly_zero():
    """Right for a negative label without zeros and for a non-negative one with them; wrong the other way round."""
    scores = metrics.intensity([0.0, 0.0, 0.0, 1.0], [-1.0, 1.0, 0.0, 2.0])
    assert scores["acc2_has0"] == 75.0  # wrong for -1 alone
    assert scores["acc2_non0"] == pytest.approx(100 * 2 / 3)  # -1 and 2 right, 1 wrong, the label 0 left out


def test_negative_zero_is_zero():
    assert metrics.intensity([-0.0, 1.0], [0.0, 1.0]) == metrics.intensity([0.0, 1.0], [0.0, 1.0])


@pytest.mark.parametrize(("pred", "true"), [([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0, 1.0])])
def test_corr_of_a_constant_is_undefined_and_said_once(pred, true):
    with pytest.warns(MetricWarning, match="Corr is undefined") as caught:
        scores = metrics.intensity(pred, true)
    assert len(caught) == 1
    assert math.isnan(scores["corr"])
    assert scores["mae"] == 0.5  # the others stand


def test_corr_of_values_that_hardly_differ():
    """Their squares underflow; the correlation of two points is 1 or -1 all the same."""
    assert metrics.intensity([1e-300, 2e-300], [0.0, 1.0])["corr"] == pytest.approx(1)
    assert metrics.intensity([1e-300, 2e-300], [1.0, 0.0])["corr"] == pytest.approx(-1)
    large = np.float64(1e6) + np.array([0.0, 1e-6, 2e-6, 1e-6])
    assert metrics.intensity(large, [0.0, 1.0, 2.0, 1.0])["corr"] == pytest.approx(1, abs=1e-3)


def test_labels_that_are_all_zero():
    """The non-0 pair has no sample left: undefined, not 0."""
    with pytest.warns(MetricWarning) as caught:
        scores = metrics.intensity([0.5, -0.5, 0.0], [0.0, 0.0, 0.0])
    assert len(caught) == 2  # the labels are constant as well
    assert {str(w.message).split(" are ")[0].split(" is ")[0] for w in caught} == {"Corr", "Acc-2 and F1 non-0"}
    assert math.isnan(scores["acc2_non0"]) and math.isnan(scores["f1_non0"]) and math.isnan(scores["corr"])
    assert scores["acc2_has0"] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_are_refused(bad, side):
    arrays = [[1.0, 2.0], [1.0, 2.0]]
    arrays[side][0] = bad
    with pytest.raises(ValueError, match="finite"):
        metrics.intensity(*arrays)


@pytest.mark.parametrize(("pred", "true"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_shapes_are_checked(pred, true):
    for metric in (metrics.intensity, metrics.accuracy):
        with pytest.raises(ValueError, match="same length"):
            metric(pred, true)


@pytest.mark.parametrize("seed", range(5))
def test_intensity_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(-9, 10, 200) / 3
    pred = np.round(true + rng.normal(0, 1.2, 200), 1)  # many halves and zeros
    scores = metrics.intensity(pred, true)
    for limit, name in ((3, "acc7"), (2, "acc5")):
        classes = [[round(min(limit, max(-limit, float(v)))) for v in values] for values in (true, pred)]
        assert scores[name] == pytest.approx(100 * accuracy_score(*classes))
    kept = true != 0
    for name, y, p in (("has0", true >= 0, pred >= 0), ("non0", true[kept] > 0, pred[kept] > 0)):
        assert scores[f"acc2_{name}"] == pytest.approx(100 * accuracy_score(y, p))
        assert scores[f"f1_{name}"] == pytest.approx(100 * f1_score(y, p, average="weighted"))


def test_golden_confusion():
    counts = metrics.confusion([0, 1, 1, -1, 0], [0, 1, 0, -1, 1], [-1, 0, 1])
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]  # rows are true classes
    assert metrics.confusion([1, 1], [0, 1], [0, 1]).tolist() == [[0, 1], [0, 1]]


def test_confusion_keeps_the_order_of_the_classes():
    assert metrics.confusion([1], [0], [1, 0]).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("values", [[2, 0], [-1, 0]])
def test_a_value_that_is_no_class_is_refused(values):
    with pytest.raises(ValueError, match=f"{values[0]} is not one of the classes"):
        metrics.confusion(values, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="not one of the classes"):
        metrics.confusion([0, 1], values, [0, 1])


@pytest.mark.parametrize("value", [0.7, math.nan])
def test_classes_are_whole_numbers(value):
    for score in (metrics.accuracy, lambda p, t: metrics.macro_f1(p, t, [0, 1])):
        with pytest.raises(ValueError, match="whole numbers"):
            score([value, 1], [0, 1])


def test_golden_macro_f1():
    """F1 of -1: 2*1/(1+2) = 2/3; of 0: 2*1/(2+2) = 1/2; of 1: 2*1/(2+1) = 2/3."""
    pred, true = [-1, 0, 0, 1, 1], [-1, -1, 0, 0, 1]
    assert metrics.f1_by_class(metrics.confusion(pred, true, [-1, 0, 1])) == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    assert metrics.macro_f1(pred, true, [-1, 0, 1]) == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)


def test_a_class_never_predicted_counts_0_and_is_named():
    with pytest.warns(MetricWarning, match=r"never predicted and counted as 0: class \[1\]") as caught:
        score = metrics.macro_f1([0, 0, 0, 0], [0, 0, 0, 1], [0, 1])
    assert len(caught) == 1
    assert score == pytest.approx((6 / 7 + 0) / 2)


def test_a_class_neither_predicted_nor_true_counts_0_too():
    with pytest.warns(MetricWarning, match=r"class \[2, 3\]"):
        assert metrics.macro_f1([0, 1], [0, 1], [0, 1, 2, 3]) == pytest.approx(0.5)


def test_a_class_predicted_but_never_true_counts_0_without_a_warning():
    assert metrics.macro_f1([0, 1, 2], [0, 1, 1], [0, 1, 2]) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_golden_weighted_f1():
    """F1 of 0: 2*1/(1+3) = 1/2, three true; F1 of 1: 2*1/(3+1) = 1/2, one true."""
    assert metrics.weighted_f1(np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])) == pytest.approx(0.5)
    assert metrics.weighted_f1(np.array([False, False]), np.array([True, True])) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_classes_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    pred, true, classes = rng.integers(-1, 2, 50), rng.integers(-1, 2, 50), [-1, 0, 1]
    assert metrics.confusion(pred, true, classes).tolist() == confusion_matrix(true, pred, labels=classes).tolist()
    assert metrics.macro_f1(pred, true, classes) == pytest.approx(f1_score(true, pred, average="macro"))
    assert metrics.accuracy(pred, true) == pytest.approx(100 * accuracy_score(true, pred))
    two = pred > 0, true > 0
    assert metrics.weighted_f1(*two) == pytest.approx(f1_score(two[1], two[0], average="weighted"))
