"""All measures of one system together, on rows whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from gexsent.evaluation import calibration, conformal, selective, trust
from gexsent.evaluation.trust import Held


def held(rng, count, seeds=3, *, shift=(0, 0, 0), groups=20, noise=0.5):
    """Intensities missed by `noise` times a scale that the seeds' spread and a gate tell; classes drawn from their
    probabilities, whose logits are then shifted."""
    scale = rng.choice([0.3, 2.0], count)
    intensity = rng.uniform(-2, 2, count)
    centre = intensity + noise * scale * rng.normal(size=count)
    logits = rng.normal(size=(count, 3)) * 2
    classes = (calibration.softmax(logits).cumsum(1) < rng.random((count, 1))).sum(1)
    rows = pd.DataFrame({"id": [f"r{i}" for i in range(count)], "group": rng.integers(0, groups, count).astype(str)})
    rows = rows.assign(group_rows=1, words=rng.integers(1, 30, count), text=True, vision=rng.random(count) < 0.5)
    rows = rows.assign(intensity=intensity, sentiment=pd.array(classes - 1, "Int8"))
    outputs = {
        "intensity": centre + 0.2 * scale * rng.normal(size=(seeds, count)),
        "sentiment": np.log(calibration.softmax(np.stack([logits + shift] * seeds))),
    }
    return Held(rows, outputs, {"gate_text": np.stack([scale] * seeds), "gate_vision": np.zeros((seeds, count))})


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    return [(held(rng, 400, shift=(1.5, -1.5, 0)), held(rng, 600, shift=(1.5, -1.5, 0)))]


@pytest.fixture(scope="module")
def frames(parts):
    return trust.measure(parts)


def row(frame, **values):
    for column, value in values.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_shifts_distort_probabilities_and_a_bias_fitted_on_validation_mends_them(parts, frames):
    stored, temperature, bias = (
        row(frames["calibration"], scaling=s) for s in (trust.STORED, trust.TEMPERATURE, trust.BIAS)
    )
    assert stored["ece_class_mean"] > 2 * bias["ece_class_mean"]
    assert bias["nll_mean"] < temperature["nll_mean"] - 0.05 < stored["nll_mean"]
    assert temperature["accuracy_mean"] == stored["accuracy_mean"] < bias["accuracy_mean"]
    # Computed directly, from the fit of the first seed: all seeds are alike here.
    (valid, test), rows = parts[0], bias
    fitted = calibration.fit(valid.outputs["sentiment"][0], valid.classes, bias=True)
    assert rows["nll_mean"] == pytest.approx(calibration.nll(fitted(test.outputs["sentiment"][0]), test.classes))
    assert (rows["seeds"], rows["rows"]) == (3, 600)
    constant = np.tile((np.bincount(valid.classes) + 1) / 403, (600, 1))
    assert rows["reference_nll"] == pytest.approx(calibration.nll(constant, test.classes))
    assert row(frames["calibration"], scaling=trust.STORED)["temperature_mean"] == 1


def test_bins_hold_every_prediction_of_every_seed(frames):
    for _, part in frames["bins"].groupby("scaling"):
        assert part["rows"].sum() == 3 * 600


def test_a_signal_that_knows_is_told_from_one_that_does_not(parts, frames):
    """The gate is high where the error is large: validation rows have to turn it round."""
    table = frames["selective"]
    gate, words = (row(table, task="intensity", signal=name) for name in ("gate_text", "words"))
    assert gate["low"] > 0.2
    assert words["low"] < 0 < words["high"]
    agreement = row(table, task="intensity", signal="agreement")
    assert 0 < agreement["gain"] < 1
    assert "gate_vision" not in set(table["signal"])  # the same for every row: no signal
    assert "confidence" not in set(table.loc[table["task"] == "intensity", "signal"])
    _, test = parts[0]
    loss = np.abs(test.outputs["intensity"] - test.intensity)
    direct = [selective.area(one, -signal) for one, signal in zip(loss, test.signals["gate_text"], strict=True)]
    assert gate["aurc_mean"] == pytest.approx(np.mean(direct))
    assert gate["random"] == pytest.approx(loss.mean())


def test_curves_end_at_the_mean_loss(parts, frames):
    _, test = parts[0]
    loss = np.abs(test.outputs["intensity"] - test.intensity).mean(1)
    for _, part in frames["curves"][frames["curves"]["task"] == "intensity"].groupby("signal"):
        assert part.loc[part["coverage"] == 1, "risk"].tolist() == pytest.approx(loss)


def test_intervals_cover_and_those_by_agreement_are_narrower_where_it_tells_the_error(parts, frames):
    table = frames["conformal"]
    for level in trust.LEVELS:
        for method in ("plain", "normalised", "sets"):
            assert row(table, method=method, level=level)["coverage"] == pytest.approx(
                level, abs=0.1
            )  # 400 and 600 rows: three deviations
    plain, normalised = (row(table, method=method, level=0.9) for method in ("plain", "normalised"))
    assert normalised["size"] < plain["size"]
    (valid, test) = parts[0]
    errors = [np.abs(side.outputs["intensity"].mean(0) - side.intensity) for side in (valid, test)]
    assert plain["coverage"] == pytest.approx((errors[1] <= conformal.quantile(errors[0], 0.9)).mean())
    assert plain["low"] < plain["coverage"] < plain["high"]
    assert (plain["valid_rows"], plain["valid_groups"], plain["test_groups"]) == (400, 20, 20)


def test_coverage_by_subgroup_agrees_with_coverage(frames):
    whole = row(frames["subgroups"], task="intensity", measure="coverage", subgroup="all rows")
    assert whole["value"] == pytest.approx(row(frames["conformal"], method="plain", level=0.9)["coverage"])


def test_losses_by_subgroup_are_those_computed_directly(parts, frames):
    _, test = parts[0]
    error = np.abs(test.outputs["intensity"] - test.intensity).mean(0)
    negative = row(frames["subgroups"], task="intensity", measure="MAE", subgroup="negative")
    assert negative["value"] == pytest.approx(error[(test.rows["sentiment"] == -1).to_numpy()].mean())
    assert set(frames["subgroups"]["family"]) == {"all rows", "text length", "modalities", "true sentiment"}


def test_rows_without_a_label_are_left_out_of_its_measures(parts):
    (valid, test) = parts[0]
    rows = test.rows.copy()
    rows.loc[:99, "sentiment"] = pd.NA
    frames = trust.measure([(valid, Held(rows, test.outputs, test.signals))])
    assert set(frames["calibration"]["rows"]) == {500}
    known = frames["subgroups"][frames["subgroups"]["subgroup"] == "all rows"].set_index(["task", "measure"])["rows"]
    assert known["sentiment", "error rate"] == 500 and known["intensity", "MAE"] == 600
    assert "unknown" in set(frames["subgroups"]["subgroup"])


def test_one_seed_has_no_agreement_and_no_deviation():
    rng = np.random.default_rng(1)
    frames = trust.measure([(held(rng, 80, seeds=1), held(rng, 90, seeds=1))])
    assert "agreement" not in set(frames["selective"]["signal"])
    assert set(frames["conformal"]["method"]) == {"plain", "sets"}
    assert frames["calibration"]["ece_sd"].isna().all() and frames["selective"]["aurc_sd"].isna().all()


def test_folds_are_calibrated_each_by_its_own_validation_rows():
    """Two folds, one of them shifted: together they are as good as each by itself."""
    rng = np.random.default_rng(2)
    plain, moved = ((held(rng, 400, shift=s), held(rng, 500, shift=s)) for s in ((0, 0, 0), (3.0, -3.0, 0)))
    whole = row(trust.measure([plain, moved])["calibration"], scaling=trust.BIAS)
    alone = [row(trust.measure([part])["calibration"], scaling=trust.BIAS)["nll_mean"] for part in (plain, moved)]
    assert whole["nll_mean"] == pytest.approx(np.mean(alone))
