"""The paired bootstrap over groups, against a plain loop that resamples rows and calls the metrics on them."""

import warnings

import numpy as np
import pandas as pd
import pytest

from gexsent.datasets import CATEGORIES, LEVELS
from gexsent.evaluation import compare, metrics
from gexsent.evaluation.metrics import MetricWarning


def make_clips(groups=12, clips=5, seed=0):
    """Labels of MOSI's kind: groups that differ in level and in size; two rows have no sentiment."""
    rng = np.random.default_rng(seed)
    group = np.repeat([f"video{g:02d}" for g in range(groups)], rng.integers(1, clips + 1, groups))
    group = rng.permutation(group)
    intensity = np.clip(rng.normal(size=len(group)) * 1.5, -3, 3).astype(np.float32)
    labels = pd.DataFrame({"partition": "official", "id": [f"c{i}" for i in range(len(group))], "group": group})
    sentiment = pd.array(np.sign(intensity.round()).astype(int), "Int8")
    sentiment[[0, 3]] = pd.NA
    return labels.assign(intensity=intensity, sentiment=sentiment)


def predict(labels, systems, seeds=2):
    """Noisy predictions: {system: size of its noise}."""
    parts = []
    for number, (system, noise) in enumerate(systems.items()):
        for seed in range(seeds):
            rng = np.random.default_rng([number, seed])
            intensity = labels["intensity"] + noise * rng.normal(size=len(labels))
            part = labels[["partition", "id"]].assign(system=system, seed=seed)
            part["pred_intensity"] = intensity.astype(np.float32)
            parts.append(part.assign(pred_sentiment=np.sign(intensity.round()).astype(np.int8)))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def clips():
    labels = make_clips()
    return labels, predict(labels, {"gexsent": 0.5, "text_only": 0.8, "released": 2.0})


@pytest.fixture
def memes():
    """Two folds; labels that are missing here and there, one picture in several copies."""
    rng = np.random.default_rng(3)
    count = 60
    labels = pd.DataFrame({"id": [f"m{i}" for i in range(count)], "group": [f"g{i % 41}" for i in range(count)]})
    labels.insert(0, "partition", np.where(np.arange(count) % 41 < 20, "fold0", "fold1"))
    predictions = []
    for name, classes in (("sentiment", 3), *LEVELS.items()):
        labels[name] = pd.array(rng.integers(0, classes, count) - (name == "sentiment"), "Int8")
        if name != "sentiment":
            labels.loc[rng.integers(0, count, 6), name] = pd.NA
    for system in ("gexsent", "late_fusion"):
        for seed in range(2):
            part = labels[["partition", "id"]].assign(system=system, seed=seed)
            part["pred_sentiment"] = rng.integers(-1, 2, count).astype(np.int8)
            for category in CATEGORIES:
                part[f"pred_{category}_present"] = rng.integers(0, 2, count).astype(np.int8)
                part[f"pred_{category}_level"] = rng.integers(0, LEVELS[category], count).astype(np.int8)
            predictions.append(part)
    return labels, pd.concat(predictions, ignore_index=True)


def f1(rows, pred, true, classes):
    known = rows[rows[true].notna()]
    labels = np.minimum(known[true].astype(int), classes[-1])
    return metrics.macro_f1(known[pred].to_numpy(), labels.to_numpy(), list(classes))


def clip_scores(rows):
    scores = metrics.intensity(rows["pred_intensity"].to_numpy(), rows["intensity"].to_numpy())
    sentiment = f1(rows, "pred_sentiment", "sentiment", (-1, 0, 1))
    return {"mae": scores["mae"], "corr": scores["corr"], "macro_f1_3": sentiment}


def meme_scores(rows):
    present = [f1(rows, f"pred_{c}_present", c, (0, 1)) for c in CATEGORIES]
    level = [f1(rows, f"pred_{c}_level", c, range(LEVELS[c])) for c in CATEGORIES]
    sentiment = f1(rows, "pred_sentiment", "sentiment", (-1, 0, 1))
    return {"macro_f1_a": sentiment, "macro_f1_b": np.mean(present), "macro_f1_c": np.mean(level)}


def by_loop(predictions, labels, score, draws, seed):
    """{metric: rows (draw, system)}: every draw as real rows, every seed scored and then averaged."""
    names = sorted(labels["group"].unique())
    (counts,) = compare.count_groups(len(names), draws, seed)
    found = []
    for draw in counts:
        ids = [i for name, n in zip(names, draw, strict=True) for i in [*labels.loc[labels["group"] == name, "id"]] * n]
        for (system, fit_seed), part in predictions.groupby(["system", "seed"], sort=False):
            rows = part.merge(labels, on=["partition", "id"]).set_index("id").loc[ids]
            found.append({"draw": len(found), "system": system, "seed": fit_seed} | score(rows))
    fits = predictions[["system", "seed"]].drop_duplicates().shape[0]
    frame = pd.DataFrame(found)
    frame["draw"] //= fits
    return frame.groupby(["draw", "system"], sort=False).mean().drop(columns="seed")


@pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning")  # a small draw may lack a class
@pytest.mark.parametrize(
    ("kind", "dataset", "score"), [("clips", "mosi", clip_scores), ("memes", "memotion", meme_scores)]
)
def test_every_draw_equals_a_plain_loop_over_rows(kind, dataset, score, request):
    labels, predictions = request.getfixturevalue(kind)
    boots = compare.bootstrap(predictions, labels, dataset, draws=12, seed=4)
    expected = by_loop(predictions, labels, score, 12, 4)
    assert list(boots) == list(expected)
    for metric, boot in boots.items():
        table = expected[metric].unstack("system")[list(boot.draws)]
        np.testing.assert_allclose(boot.draws.to_numpy(), table.to_numpy(), rtol=1e-9)
        for system, part in predictions.groupby("system"):
            whole = [score(rows.merge(labels, on=["partition", "id"]))[metric] for _, rows in part.groupby("seed")]
            assert boot.point[system] == pytest.approx(np.mean(whole), rel=1e-9)
            assert boot.seeds[system] == len(whole)


def test_counts_are_draws_with_replacement():
    counts = np.concatenate(list(compare.count_groups(30, 4000, 0)))
    assert counts.shape == (4000, 30)
    assert (counts.sum(1) == 30).all()
    # Binomial(30, 1/30) in each cell: mean 1, variance 29/30; standard errors are below 0.02 and 0.03.
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.08)
    np.testing.assert_allclose(counts.var(0), 29 / 30, atol=0.15)


def test_blocks_change_memory_and_nothing_else(monkeypatch, clips):
    labels, predictions = clips
    whole = compare.bootstrap(predictions, labels, "mosi", draws=50)
    monkeypatch.setattr(compare, "CELLS", 90)
    assert len(list(compare.count_groups(12, 50, 0))) == 8
    for metric, boot in compare.bootstrap(predictions, labels, "mosi", draws=50).items():
        np.testing.assert_allclose(boot.draws, whole[metric].draws, rtol=1e-12)


def test_seeded_and_independent_of_the_order_of_rows(clips):
    labels, predictions = clips
    first = compare.bootstrap(predictions, labels, "mosi", draws=300)
    again = compare.bootstrap(predictions, labels.sample(frac=1, random_state=1), "mosi", draws=300)
    assert compare.pairs(again).to_csv() == compare.pairs(first).to_csv()
    assert compare.intervals(again).to_csv() == compare.intervals(first).to_csv()
    other = compare.bootstrap(predictions, labels, "mosi", draws=300, seed=1)
    assert not compare.intervals(other).equals(compare.intervals(first))


def test_pairs_are_differences_from_the_reference(clips):
    labels, predictions = clips
    boots = compare.bootstrap(predictions, labels, "mosi", draws=400)
    pairs = compare.pairs(boots)
    assert list(pairs) == compare.PAIR_COLUMNS
    assert pairs[["metric", "system"]].to_numpy().tolist() == [
        [metric, system] for metric in ("mae", "corr", "macro_f1_3") for system in ("text_only", "released")
    ]
    assert set(pairs["reference"]) == {"gexsent"} and set(pairs["n_groups"]) == {12} and set(pairs["seeds"]) == {2}
    for row in pairs.itertuples():
        boot = boots[row.metric]
        drawn = (boot.draws[row.system] - boot.draws["gexsent"]).to_numpy()
        assert row.difference == pytest.approx(boot.point[row.system] - boot.point["gexsent"], abs=1e-6)
        assert [row.low, row.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist(), abs=1e-6)
        assert row.p == pytest.approx(min(1, 2 * (1 + min((drawn <= 0).sum(), (drawn >= 0).sum())) / 401), abs=1e-6)
    np.testing.assert_allclose(pairs["p_holm"], compare.holm(pairs["p"].to_numpy()), atol=1e-5)
    against = compare.pairs(boots, reference="released")
    assert set(against["system"]) == {"gexsent", "text_only"} and set(against["reference"]) == {"released"}


def test_intervals_are_percentiles_of_each_system(clips):
    labels, predictions = clips
    boots = compare.bootstrap(predictions, labels, "mosi", draws=200)
    own = compare.intervals(boots)
    assert list(own) == compare.OWN_COLUMNS
    assert len(own) == 9 and (own["undefined"] == 0).all()
    for row in own.itertuples():
        low, high = np.percentile(boots[row.metric].draws[row.system], [2.5, 97.5])
        assert (row.low, row.high) == pytest.approx((low, high), abs=1e-6)
        assert row.value == pytest.approx(boots[row.metric].point[row.system], abs=1e-6)


def test_pairing_takes_out_what_systems_share(clips):
    """A system that is worse by 0.25 on every row: its own interval is wide, that of the difference has no width."""
    labels, _ = clips
    error = np.abs(np.random.default_rng(0).normal(size=len(labels)))
    part = labels[["partition", "id"]].assign(seed=0, pred_sentiment=0)
    worse = part.assign(system="text_only", pred_intensity=labels["intensity"].astype(float) + error + 0.25)
    best = part.assign(system="gexsent", pred_intensity=labels["intensity"].astype(float) + error)
    boots = compare.bootstrap(pd.concat([best, worse]), labels, "mosi", draws=199)
    row = compare.pairs(boots).iloc[0]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.25, 0.25, 0.25))
    assert row["p"] == 0.01  # 2 * (0 + 1) / (199 + 1): the least that 199 draws can say
    own = compare.intervals(boots).iloc[0]
    assert own["high"] - own["low"] > 0.1


def test_equal_systems_are_not_told_apart(clips):
    labels, predictions = clips
    same = predictions[predictions["system"] == "gexsent"]
    both = pd.concat([same, *(same.assign(system=f"copy{i}") for i in range(6))])
    pairs = compare.pairs(compare.bootstrap(both, labels, "mosi", draws=300))
    assert len(pairs) == 18
    assert (pairs["p"] == 1).all() and (pairs["p_holm"] == 1).all()
    assert (pairs[["difference", "low", "high"]] == 0).all(axis=None)


def test_alike_rows_of_one_group_count_once():
    """20 videos of 16 clips with the same error each: as 20 rows, and four times as wide as 320 lone rows would be."""
    level = np.random.default_rng(0).exponential(size=20)
    labels = pd.DataFrame({"partition": "official", "id": [str(i) for i in range(320)], "intensity": 0.0})
    predictions = labels[["partition", "id"]].assign(system="gexsent", seed=0, pred_intensity=np.repeat(level, 16))
    widths = {}
    for kind, group in {"video": np.repeat(range(20), 16), "row": range(320)}.items():
        boot = compare.bootstrap(predictions, labels.assign(group=[f"{g:03d}" for g in group]), "mosi", draws=4000)
        widths[kind] = boot["mae"].draws["gexsent"].std()
    assert widths["video"] == pytest.approx(level.std() / 20**0.5, rel=0.05)
    assert widths["video"] / widths["row"] == pytest.approx(4, rel=0.08)


def test_p_is_uniform_enough_where_nothing_differs():
    """80 experiments without a difference, 60 groups each: p is 0.5 on average, and rarely below 0.05."""
    p = []
    for number in range(80):
        rng = np.random.default_rng(number)
        labels = make_clips(groups=60, clips=2, seed=100 + number)[["partition", "id", "group", "intensity"]]
        part = labels[["partition", "id"]].assign(seed=0)
        noisy = [labels["intensity"] + rng.normal(size=len(labels)) for _ in range(2)]
        systems = zip(("gexsent", "text_only"), noisy, strict=True)
        predictions = pd.concat(part.assign(system=name, pred_intensity=values) for name, values in systems)
        boots = compare.bootstrap(predictions, labels, "mosi", draws=300, seed=number)
        p.append(compare.pairs(boots).set_index("metric").loc["mae", "p"])
    assert 0.4 < np.mean(p) < 0.6  # three standard errors of 0.29 / sqrt(80)
    assert (np.array(p) < 0.05).sum() <= 11  # binomial(80, 0.05) is larger once in a thousand


def test_p_value_by_hand():
    assert compare.p_value(np.array([1.0] * 9)) == 0.2  # 2 * (0 + 1) / 10, never 0
    assert compare.p_value(np.array([1.0] * 17 + [-1.0, 0.0])) == 0.3  # 2 * (2 + 1) / 20: 0 counts for both tails
    assert compare.p_value(np.array([-1.0] * 17 + [1.0, np.nan])) == 0.3  # and so does an undefined draw
    assert compare.p_value(np.array([-1.0, 1.0])) == 1.0
    assert compare.p_value(np.full(5, np.nan)) == 1.0


def test_p_and_interval_say_the_same():
    draws = np.sort(np.random.default_rng(0).normal(size=999))
    for shift in (1.5, 1.9, 2.1, 3.0):
        low, _ = np.percentile(draws + shift, (2.5, 97.5))
        assert (compare.p_value(draws + shift) < 0.05) is bool(low > 0)


def test_holm_by_hand():
    """0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1, which may not fall below the one before it."""
    np.testing.assert_allclose(compare.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(compare.holm(np.array([0.6, 0.7])), [1, 1])
    np.testing.assert_allclose(compare.holm(np.array([np.nan, 0.02, np.nan, 0.01])), [np.nan, 0.02, np.nan, 0.02])
    assert compare.holm(np.array([])).shape == (0,)


def test_one_family_over_all_metrics(clips):
    """The smallest p of the table is multiplied by the number of all its rows, not of those of one metric."""
    labels, predictions = clips
    pairs = compare.pairs(compare.bootstrap(predictions, labels, "mosi", draws=5000))
    least = pairs.loc[pairs["p"].idxmin()]
    assert least["p_holm"] == pytest.approx(min(1, 6 * least["p"]), abs=1e-5)


def test_a_system_without_a_metric_is_left_out_of_it(clips):
    labels, predictions = clips
    predictions.loc[predictions["system"] == "released", "pred_intensity"] = np.nan
    boots = compare.bootstrap(predictions, labels, "mosi", draws=20)
    assert list(boots["mae"].draws) == ["gexsent", "text_only"]
    assert list(boots["macro_f1_3"].draws) == ["gexsent", "text_only", "released"]
    assert compare.pairs(boots).groupby("metric").size().to_dict() == {"mae": 1, "corr": 1, "macro_f1_3": 2}


def test_without_labels_or_without_the_reference_there_is_nothing_to_compare(clips):
    labels, predictions = clips
    unlabelled = compare.bootstrap(predictions, labels.drop(columns="intensity"), "mosi", draws=20)
    assert list(unlabelled) == ["macro_f1_3"]
    alone = compare.bootstrap(predictions[predictions["system"] == "released"], labels, "mosi", draws=20)
    assert list(compare.pairs(alone)) == compare.PAIR_COLUMNS and compare.pairs(alone).empty
    assert len(compare.intervals(alone)) == 3


def test_correlation_of_constant_predictions_is_undefined_and_said(clips):
    """One constant seed is enough: a mean over the others would flatter the system."""
    labels, predictions = clips
    constant = (predictions["system"] == "released") & (predictions["seed"] == 1)
    predictions.loc[constant, "pred_intensity"] = np.float32(0.1)
    boots = compare.bootstrap(predictions, labels, "mosi", draws=40)
    own = compare.intervals(boots).set_index(["metric", "system"])
    assert own.loc[("corr", "released"), ["value", "low", "high"]].isna().all()
    assert own["undefined"].to_dict()["corr", "released"] == 40
    assert own["undefined"].sum() == 40  # MAE of a constant is a number like any other
    pairs = compare.pairs(boots).set_index(["metric", "system"])
    assert pairs.loc[("corr", "released"), ["difference", "low", "high", "p", "p_holm"]].isna().all()
    tests = pairs["p"].dropna()
    assert pairs["p_holm"].dropna().min() == pytest.approx(min(1, len(tests) * tests.min()), abs=1e-5)  # of 5, not 6
    with pytest.warns(MetricWarning, match="mosi: undefined in draws.*corr of released in 40"):
        compare.say_undefined(own.reset_index(), "mosi")


def test_draws_that_happen_to_be_constant_are_left_out_and_count_against(clips):
    """Predictions that differ in one video alone: a draw without it has no correlation."""
    labels, predictions = clips
    odd = labels["group"] == labels["group"].min()
    varied = np.where(odd, labels["intensity"], 0.7).astype(np.float32)
    predictions.loc[predictions["system"] == "released", "pred_intensity"] = np.tile(varied, 2)
    boots = compare.bootstrap(predictions, labels, "mosi", draws=200)
    counts = np.concatenate(list(compare.count_groups(12, 200, compare.SEED)))
    without = counts[:, 0] == 0
    assert boots["corr"].draws["released"].isna().to_numpy().tolist() == without.tolist()
    own = compare.intervals(boots).set_index(["metric", "system"]).loc[("corr", "released")]
    assert own["undefined"] == without.sum() > 20
    assert np.isfinite(own[["value", "low", "high"]].astype(float)).all()
    row = compare.pairs(boots).set_index(["metric", "system"]).loc[("corr", "released")]
    assert row["p"] >= 2 * (1 + without.sum()) / 201 - 1e-6


def test_nothing_undefined_is_not_said(clips):
    labels, predictions = clips
    own = compare.intervals(compare.bootstrap(predictions, labels, "mosi", draws=20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare.say_undefined(own, "mosi")


@pytest.mark.parametrize(("top", "dtype"), [(3, np.float32), (2**24, np.float64), (0.5, np.float64)])
def test_single_precision_only_where_it_is_exact(top, dtype):
    assert compare._exact(np.array([[0.0], [top]])).dtype == dtype


def test_rows_that_cannot_be_used(clips):
    labels, predictions = clips
    with pytest.raises(ValueError, match="2 test rows have no group"):
        compare.bootstrap(predictions, labels.assign(group=labels["group"].where(labels.index > 1)), "mosi")
    with pytest.raises(ValueError, match="gexsent, seed 0: 1 test rows have no prediction"):
        compare.bootstrap(predictions.iloc[1:], labels, "mosi")
    with pytest.raises(pd.errors.MergeError):
        compare.bootstrap(pd.concat([predictions, predictions.iloc[:1]]), labels, "mosi")


def test_families_are_corrected_apart():
    labels = make_clips()
    noise = {"gexsent": 0.5, "text_only": 0.8, "released": 2.0, "no_gam": 0.6, "flat_moe": 0.9}
    noise |= {"released_masked": 1.5, "gexsent+dropout": 0.7}
    predictions = predict(labels, noise)
    boots = compare.bootstrap(predictions, labels, "mosi", draws=300)
    found = compare.families(boots)
    families = (
        ("gexsent", ["text_only", "released"]),
        ("gexsent", ["no_gam", "flat_moe"]),
        ("released", ["released_masked"]),
    )
    parts = []
    for reference, others in families:  # each as if nothing else had been trained
        alone = compare.bootstrap(
            predictions[predictions["system"].isin([reference, *others])], labels, "mosi", draws=300
        )
        parts.append(compare.pairs(alone, reference))
    pd.testing.assert_frame_equal(found, pd.concat(parts, ignore_index=True))
    assert "gexsent+dropout" not in set(found["system"])  # compared where its question is asked
    main = compare.bootstrap(
        predictions[predictions["system"].isin(["gexsent", "text_only"])], labels, "mosi", draws=300
    )
    pd.testing.assert_frame_equal(compare.families(main), compare.pairs(main))
    lonely = compare.bootstrap(predictions[predictions["system"] == "gexsent"], labels, "mosi", draws=300)
    assert list(compare.families(lonely)) == compare.PAIR_COLUMNS and compare.families(lonely).empty
