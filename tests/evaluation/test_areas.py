"""Curves, areas and conflict, against sums by hand and the metrics of whole tables."""

import numpy as np
import pandas as pd
import pytest

from gexsent.datasets import CATEGORIES, SENTIMENTS
from gexsent.datasets import LEVELS as CATEGORY_LEVELS
from gexsent.evaluation import areas, compare
from gexsent.evaluation.robustness import LEVELS, WHOLE, Condition
from gexsent.evaluation.score import dataset_metrics

pytestmark = pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning")
COUNT = 24
UNHARMED = Condition(WHOLE, 0.0)


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    values = rng.normal(size=COUNT).astype(np.float32)
    frame = pd.DataFrame({"partition": "official", "id": [f"c{i}" for i in range(COUNT)]})
    sentiment = pd.array(np.sign(np.round(values)).astype(int), "Int8")
    return frame.assign(intensity=values, sentiment=sentiment, group=[f"v{i % 7}" for i in range(COUNT)])


def off_by(labels, error, sign=1):
    """Prediction columns whose MAE is `error`, to the last row."""
    values = labels["intensity"].to_numpy() + sign * error
    return {"pred_intensity": values, "pred_sentiment": np.sign(values).astype(np.int8)}


@pytest.fixture
def outcomes(labels):
    """Two systems with noise at three levels; errors grow as 1 + level for GEXSent, and stay 2 for the other."""
    found = {}
    for seed in (0, 1):
        runs = {UNHARMED: off_by(labels, 1.0)}
        runs |= {Condition("noise", level, seed): off_by(labels, 1 + level) for level in LEVELS["noise"][1:]}
        found["gexsent", seed] = runs
        found["late_fusion", seed] = {condition: off_by(labels, 2.0) for condition in runs}
    return found


@pytest.mark.parametrize("protocol", LEVELS)
def test_weights_are_those_of_the_trapezoid_rule(protocol):
    levels = np.array(LEVELS[protocol])
    weights = areas.weights(protocol)
    assert sum(weights.values()) == pytest.approx(1)
    values = np.random.default_rng(1).normal(size=len(levels))
    expected = np.trapezoid(values, levels) / (levels[-1] - levels[0])
    assert sum(w * v for w, v in zip(weights.values(), values, strict=True)) == pytest.approx(expected)


def test_the_area_is_the_mean_height_of_the_curve(labels, outcomes):
    curves, boots = areas.score(outcomes, labels, "mosi", draws=50)
    boot = boots["noise", "mae"]
    # Heights 1, 1.5, 2, 3 at 0, 0.5, 1, 2: (0.625 + 0.875 + 2.5) / 2.
    assert boot.point.to_dict() == pytest.approx({"gexsent": 2.0, "late_fusion": 2.0}, abs=1e-6)
    assert boot.draws.to_numpy() == pytest.approx(np.full((50, 2), 2.0), abs=1e-6)
    assert boot.groups == 7 and boot.seeds.to_dict() == {"gexsent": 2, "late_fusion": 2}
    part = curves[(curves["system"] == "gexsent") & (curves["seed"] == 1)]
    assert part["level"].tolist() == [0, 0.5, 1, 2] and part["draw"].tolist() == [0, 1, 1, 1]
    assert part["mae"].tolist() == pytest.approx([1, 1.5, 2, 3], abs=1e-6)


def test_runs_of_one_level_count_as_their_mean(labels, outcomes):
    """A seed that meets two draws does not weigh its levels more than the level without damage."""
    runs = outcomes["gexsent", 0]
    runs |= {Condition("noise", level, 2): off_by(labels, 4.0) for level in LEVELS["noise"][1:]}
    boots = areas.score(outcomes, labels, "mosi", draws=2)[1]
    means = [1, *((2 * (1 + level) + 4.0) / 3 for level in (0.5, 1, 2))]
    expected = np.trapezoid(means, LEVELS["noise"]) / 2
    assert boots["noise", "mae"].point["gexsent"] == pytest.approx(expected, abs=1e-6)


def test_the_draws_are_those_of_the_comparison_of_single_scores(labels):
    """A curve that does not move has the bootstrap of its score."""
    rng = np.random.default_rng(4)
    noisy = {"pred_intensity": labels["intensity"].to_numpy() + rng.normal(size=COUNT)}
    outcomes = {("gexsent", 0): {UNHARMED: noisy} | {Condition("noise", x): noisy for x in LEVELS["noise"][1:]}}
    boot = areas.score(outcomes, labels, "mosi", draws=40)[1]["noise", "mae"]
    rows = labels[["partition", "id"]].assign(system="gexsent", seed=0, **noisy)
    expected = compare.bootstrap(rows, labels, "mosi", draws=40)["mae"]
    assert boot.draws.to_numpy() == pytest.approx(expected.draws.to_numpy())


@pytest.mark.parametrize("dataset", ["mosi", "memotion"])
def test_curves_hold_the_metrics_of_the_evaluation(labels, dataset):
    rng = np.random.default_rng(2)
    columns = {"pred_intensity": rng.normal(size=COUNT), "pred_sentiment": rng.integers(-1, 2, COUNT)}
    for category in CATEGORIES:
        labels[category] = pd.array(rng.integers(0, CATEGORY_LEVELS[category], COUNT), "Int8")
        columns[f"pred_{category}_present"] = rng.integers(0, 2, COUNT)
        columns[f"pred_{category}_level"] = rng.integers(0, CATEGORY_LEVELS[category], COUNT)
    labels.loc[3, "sentiment"] = pd.NA
    row = areas.score({("tfn", 0): {UNHARMED: columns}}, labels, dataset, draws=2)[0].iloc[0]
    expected = dataset_metrics(labels.assign(**columns), dataset)
    names = ["mae", "corr", "macro_f1_3"] if dataset == "mosi" else ["macro_f1_a", "macro_f1_b", "macro_f1_c"]
    assert row[names].tolist() == pytest.approx([expected[name] for name in names], abs=1e-6)


def test_each_family_has_its_reference_and_a_correction_of_its_own(labels, outcomes):
    rng = np.random.default_rng(3)
    for seed in (0, 1):
        for system, error in (("late_fusion+dropout", 0.5), ("tfn", 1.3), ("no_gam", 1.4)):
            noise = rng.normal(size=COUNT) / 4
            outcomes[system, seed] = {c: off_by(labels, error + noise) for c in outcomes["gexsent", seed]}
    table = areas.table(areas.score(outcomes, labels, "mosi", draws=200)[1])
    assert len(table) == 5
    references = table.set_index("system")["reference"].dropna().to_dict()
    assert references == {
        "late_fusion": "gexsent",
        "tfn": "gexsent",
        "no_gam": "gexsent",
        "late_fusion+dropout": "late_fusion",
    }
    rows = table.set_index("system")
    for system, reference in references.items():
        expected = rows.loc[system, "value"] - rows.loc[reference, "value"]
        assert rows.loc[system, "difference"] == pytest.approx(expected, abs=2e-6)
    for family in (["late_fusion", "tfn"], ["no_gam"], ["late_fusion+dropout"]):
        assert rows.loc[family, "p_holm"].to_numpy() == pytest.approx(
            compare.holm(rows.loc[family, "p"].to_numpy()), abs=1e-5
        )


def test_conflict_is_where_the_mean_signs_differ(labels):
    def runs(values):
        return {UNHARMED: {"pred_intensity": np.resize(np.array(values, float), COUNT)}}

    outcomes = {
        ("text_only", 0): runs([1, 1, -3, 0]),
        ("text_only", 1): runs([1, -0.5, 1, 0]),
        ("vision_only", 0): runs([1, -1, 1, -1]),
    }
    # Text on the mean over seeds: 1, 0.25, -1, 0. The last has no sign.
    assert areas.in_conflict(outcomes, "mosi").tolist() == [False, True, True, False] * (COUNT // 4)
    del outcomes["vision_only", 0]
    assert areas.in_conflict(outcomes, "mosi") is None


def test_conflict_of_classes_is_that_of_the_mean_probabilities():
    def runs(*rows):
        names = [f"p_sentiment_{name}" for name in SENTIMENTS]
        return {UNHARMED: dict(zip(names, np.array(rows).T, strict=True))}

    outcomes = {
        ("text_only", 0): runs([0.6, 0.3, 0.1], [0.4, 0.3, 0.3]),
        ("text_only", 1): runs([0.6, 0.3, 0.1], [0.0, 0.3, 0.7]),
        ("vision_only", 0): runs([0.5, 0.4, 0.1], [0.6, 0.3, 0.1]),
    }
    assert areas.in_conflict(outcomes, "memotion").tolist() == [False, True]


def test_scores_in_conflict_and_elsewhere_are_those_of_their_rows(labels, outcomes):
    subset = np.arange(COUNT) % 3 == 0
    for seed in (0, 1):
        values = labels["intensity"].to_numpy() + np.where(subset, 3.0, 0.5)
        outcomes["late_fusion", seed][UNHARMED] = {"pred_intensity": values}
    table = areas.conflict(outcomes, labels, "mosi", subset).set_index(["where", "system"])
    assert table["value"].to_dict() == pytest.approx(
        {
            ("conflict", "gexsent"): 1.0,
            ("conflict", "late_fusion"): 3.0,
            ("agreement", "gexsent"): 1.0,
            ("agreement", "late_fusion"): 0.5,
        },
        abs=1e-6,
    )
    assert table["rows"].groupby("where").first().to_dict() == {"conflict": 8, "agreement": 16}
    assert table.loc[("conflict", "late_fusion"), "difference"] == pytest.approx(2.0, abs=1e-6)
    everywhere = areas.conflict(outcomes, labels, "mosi", np.zeros(COUNT, bool))
    assert set(everywhere["where"]) == {"agreement"}
