"""Metrics as functions of sums, where the loop in test_compare.py does not lead."""

import numpy as np
import pandas as pd
import pytest

from gexsent.datasets import SPECS
from gexsent.evaluation import metrics
from gexsent.evaluation.measures import Correlation, MacroF1, MeanError, measures
from gexsent.report.columns import headlines

INTENSITY = ("pred_intensity", "intensity")
SENTIMENT = MacroF1((("pred", "true", (-1, 0, 1)),))


def score(measure, **columns):
    return float(measure.score(measure.terms(pd.DataFrame(columns)).sum(0)))


@pytest.mark.parametrize("dataset", SPECS)
def test_headline_metrics_are_compared(dataset):
    assert {column.metric for column in headlines(dataset)} <= measures(dataset).keys()


@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (1e6, 1), (0, 1e-9), (-5e3, 1e-3)])
def test_correlation_keeps_its_digits_far_from_0_and_for_small_spreads(shift, scale):
    rng = np.random.default_rng(0)
    true = rng.normal(size=200)
    pred = shift + scale * (true + rng.normal(size=200))
    found = score(Correlation(*INTENSITY), pred_intensity=pred, intensity=true)
    assert found == pytest.approx(metrics.intensity(pred, true)["corr"], abs=1e-6)


@pytest.mark.parametrize("measure", [MeanError(*INTENSITY), Correlation(*INTENSITY)])
def test_rows_without_a_label_add_nothing(measure):
    pred, true = [1.0, 2.0, 9.0, -1.0], [0.5, 2.5, np.nan, -1.0]
    without = score(measure, pred_intensity=[1.0, 2.0, -1.0], intensity=[0.5, 2.5, -1.0])
    assert score(measure, pred_intensity=pred, intensity=true) == pytest.approx(without, rel=1e-12)


@pytest.mark.parametrize("measure", [MeanError(*INTENSITY), Correlation(*INTENSITY), SENTIMENT])
def test_nothing_drawn_has_no_score(measure):
    assert np.isnan(measure.score(np.zeros((3, 6)))).all()


def test_macro_f1_by_hand():
    """True -1 0 1 1, predicted -1 0 0 1: F1 is 1, 2/3, 2/3. A class that nobody has counts 0."""
    assert score(SENTIMENT, pred=[-1, 0, 0, 1], true=[-1, 0, 1, 1]) == pytest.approx((1 + 4 / 3) / 3)
    assert score(SENTIMENT, pred=[1, 1], true=[1, 1]) == pytest.approx(1 / 3)


def test_every_degree_counts_as_present_where_classes_end_at_1():
    frame = {"pred": [0, 1, 1], "true": [0, 1, 3]}
    assert score(MacroF1((("pred", "true", (0, 1)),)), **frame) == 1
    assert score(MacroF1((("pred", "true", (0, 1, 2, 3)),)), **frame) < 1


def test_the_mean_is_over_parts():
    frame = {"pred": [0, 1], "true": [0, 1], "other": [1, 0]}
    both = MacroF1((("pred", "true", (0, 1)), ("other", "true", (0, 1))))
    assert score(both, **frame) == 0.5


def test_known_needs_predictions_and_labels():
    rows = pd.DataFrame({"pred": [0, 1], "true": [0, 1], "empty": [np.nan] * 2})
    assert SENTIMENT.is_known(rows)
    assert not SENTIMENT.is_known(rows.drop(columns="true"))
    assert not SENTIMENT.is_known(rows.assign(pred=rows["empty"]))
    assert not MacroF1((*SENTIMENT.parts, ("pred", "empty", (0, 1)))).is_known(rows)
    half = rows.assign(pred=[0, np.nan])
    with pytest.raises(ValueError, match="pred: 1 labelled rows have no prediction"):
        SENTIMENT.terms(half)
