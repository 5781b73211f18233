import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gexsent.datasets import LEVELS
from gexsent.evaluation import protocol
from gexsent.evaluation.metrics import MetricWarning

SIZES = {"test": 6, "valid": 3, "train": 11}


@pytest.fixture
def videos():
    """Twenty clips of seven videos of one to five clips."""
    return pd.Series(list("aaaaabbbbccccddeefgg"), index=[f"c{i:02d}" for i in range(20)])


def test_single_clips_are_dealt_out_in_the_sizes_asked_for(videos):
    roles = protocol.deal(videos.index.to_series(), SIZES, seed=0)
    assert roles.index.tolist() == videos.index.tolist()
    assert roles.value_counts().to_dict() == SIZES
    assert not roles.equals(protocol.deal(videos.index.to_series(), SIZES, seed=1))


def test_a_deal_is_a_permutation_of_the_names_and_not_of_the_rows(videos):
    roles = protocol.deal(videos.index.to_series(), SIZES, seed=3)
    order = np.random.default_rng(3).permutation(sorted(videos.index))
    by_hand = dict(zip(order, ["test"] * 6 + ["valid"] * 3 + ["train"] * 11, strict=True))
    assert roles.to_dict() == by_hand
    shuffled = protocol.deal(videos.index.to_series().sample(frac=1, random_state=1), SIZES, seed=3)
    assert shuffled.to_dict() == by_hand


@pytest.mark.parametrize("seed", range(5))
def test_whole_videos_stay_together_and_no_role_is_more_than_a_video_off(videos, seed):
    roles = protocol.deal(videos, SIZES, seed)
    assert roles.groupby(videos).nunique().eq(1).all()
    for role, size in SIZES.items():
        assert abs((roles == role).sum() - size) <= 5
    test, train = (videos[roles == role] for role in ("test", "train"))
    assert protocol.shared(test, train) == 0
    assert set(roles) == set(SIZES)


def test_share_of_test_rows_whose_video_is_trained_on():
    assert protocol.shared(pd.Series(list("aabc")), pd.Series(list("bbcd"))) == 0.5


def test_unpaired_is_welch_s_interval():
    first, second = np.array([0.70, 0.74, 0.69, 0.75]), np.array([0.80, 0.79, 0.90])
    found = protocol.unpaired(first, second)
    a, b = first.var(ddof=1) / 4, second.var(ddof=1) / 3
    degrees = (a + b) ** 2 / (a**2 / 3 + b**2 / 2)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(a + b)
    difference = first.mean() - second.mean()
    assert found["difference"] == pytest.approx(difference)
    assert [found["low"], found["high"]] == pytest.approx([difference - half, difference + half])
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(difference) / np.sqrt(a + b), degrees))


@pytest.mark.parametrize(("first", "second"), [([0.7], [0.8, 0.9]), ([0.7, 0.7], [0.9, 0.9])])
def test_without_a_spread_there_is_a_difference_and_no_interval(first, second):
    found = protocol.unpaired(np.array(first), np.array(second))
    assert found["difference"] == pytest.approx(np.mean(first) - np.mean(second))
    assert np.isnan([found["low"], found["high"], found["p"]]).all()


def test_unknown_labels_as_neutral_by_hand():
    test = pd.DataFrame({"partition": "official", "id": list("abcd")})
    test["sentiment"] = pd.array([-1, 0, 1, None], "Int8")
    perfect = test[["partition", "id"]].assign(system="a", seed=0, pred_sentiment=[-1, 0, 1, 1])
    neutral = perfect.assign(seed=1, pred_sentiment=[-1, 0, 1, 0])
    # Left out, both are perfect. As neutral, the first has F1 1, 2/3 and 2/3; the second is still perfect.
    expected = ((1 + 2 / 3 + 2 / 3) / 3 - 1 + 0) / 2
    found = protocol.unknown_as_neutral(pd.concat([perfect, neutral]), test, "mosi")
    assert found == {"macro_f1_3": pytest.approx(expected)}


def test_unknown_categories_as_absent_by_hand():
    test = pd.DataFrame({"partition": "official", "id": list("abcd"), "sentiment": pd.array([-1, 0, 1, 1], "Int8")})
    rows = test[["partition", "id"]].assign(system="a", seed=0, pred_sentiment=test["sentiment"])
    for category, levels in LEVELS.items():
        truth = [0, 1, levels - 1, None] if category == "humour" else [0, 1, levels - 1, 0]
        test[category] = pd.array(truth, "Int8")
        rows[f"pred_{category}_level"] = [0, 1, levels - 1, int(category == "humour")]
        rows[f"pred_{category}_present"] = [0, 1, 1, int(category == "humour")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        found = protocol.unknown_as_neutral(rows, test, "memotion")
    # Of humour the unknown row is now a miss: F1 of absent 2/3, of present 4/5, in a mean over four categories.
    assert found["macro_f1_a"] == 0
    assert found["macro_f1_b"] == pytest.approx(((2 / 3 + 4 / 5) / 2 - 1) / 4)
    assert found["macro_f1_b_humour"] == pytest.approx((2 / 3 + 4 / 5) / 2 - 1)
    assert found["macro_f1_c"] < 0
