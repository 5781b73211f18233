import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from gexsent.datasets import CATEGORIES, LEVELS
from gexsent.report import outcomes
from gexsent.report.columns import tables
from gexsent.report.style import EDITION_NOTES, use_style


@pytest.fixture(autouse=True)
def figures():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def make(count, systems, seeds, dataset, seed=0):
    """Random labels and predictions, the first label of every column missing."""
    rng = np.random.default_rng(seed)
    labels = pd.DataFrame({"partition": "official", "id": [f"-{i}" for i in range(count)]})
    labels["sentiment"] = pd.array(rng.integers(-1, 2, count), "Int8")
    if dataset == "mosi":
        labels["intensity"] = rng.uniform(-3, 3, count).astype("float32")
    else:
        for category in CATEGORIES:
            labels[category] = pd.array(rng.integers(0, LEVELS[category], count), "Int8")
    labels.loc[0, labels.columns[2:]] = pd.NA
    parts = []
    for system in systems:
        for number in range(seeds):
            part = labels[["partition", "id"]].assign(system=system, seed=number)
            probability = rng.dirichlet((1, 1, 1), count)
            part["pred_sentiment"] = (probability.argmax(1) - 1).astype(np.int8)
            part[["p_sentiment_negative", "p_sentiment_neutral", "p_sentiment_positive"]] = probability
            if dataset == "mosi":
                part["pred_intensity"] = rng.normal(0, 1.5, count).astype("float32")
            else:
                for category in CATEGORIES:
                    part[f"pred_{category}_level"] = rng.integers(0, LEVELS[category], count)
            parts.append(part)
    return pd.concat(parts, ignore_index=True), labels


@pytest.fixture
def mosi():
    return outcomes.joined(*make(40, ["released", "gexsent"], 2, "mosi"))


@pytest.fixture
def memotion():
    return outcomes.joined(*make(60, ["text_only", "gexsent"], 2, "memotion"))


def test_joined_matches_partition_and_id():
    labels = pd.DataFrame({"partition": ["fold0", "fold1"], "id": ["a", "a"], "sentiment": [-1, 1]})
    predictions = pd.DataFrame({"partition": ["fold1", "fold0"], "id": ["a", "a"], "system": "gexsent"})
    assert outcomes.joined(predictions, labels)["sentiment"].tolist() == [1, -1]


def test_a_prediction_of_no_test_row_is_refused():
    labels = pd.DataFrame({"partition": ["official"], "id": ["a"], "sentiment": [1]})
    predictions = pd.DataFrame({"partition": ["official"] * 2, "id": ["a", "stray"], "system": "gexsent"})
    with pytest.raises(ValueError, match="'stray' is predicted"):
        outcomes.joined(predictions, labels)


def test_systems_stand_in_the_order_of_the_tables(mosi):
    assert outcomes.systems(mosi) == ["gexsent", "released"]
    assert outcomes.systems(pd.DataFrame({"system": ["mine", "late_fusion", "mine"]})) == ["late_fusion", "mine"]


def test_named_classes_pool_the_seeds_of_one_system(mosi):
    table = outcomes.named_classes(mosi, "gexsent")
    assert table.columns.tolist() == ["actual", "predicted"]
    part = mosi[(mosi["system"] == "gexsent") & mosi["sentiment"].notna()]
    assert len(table) == len(part) == 2 * 39  # two seeds, one row without a label
    names = ["negative", "neutral", "positive"]
    expected = confusion_matrix(part["sentiment"].astype(int), part["pred_sentiment"])
    assert (confusion_matrix(table["actual"], table["predicted"], labels=names) == expected).all()


def test_a_system_that_is_missing_has_no_classes(mosi):
    table = outcomes.named_classes(mosi, "vision_only")
    assert table.columns.tolist() == ["actual", "predicted"]
    assert table.empty


def texts(axes):
    return [text.get_text() for text in axes.texts]


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def test_confusion_matrices_give_shares_of_the_true_class():
    labels = pd.DataFrame({"partition": "official", "id": list("abcd"), "sentiment": [-1, -1, -1, 1]})
    predictions = labels[["partition", "id"]].assign(system="gexsent", seed=0, pred_sentiment=[-1, -1, 0, 1])
    figure = outcomes.confusion_matrices(outcomes.joined(predictions, labels), "sample")
    assert titles(figure) == ["GEXSent"]
    assert texts(figure.axes[0])[:3] == ["67%\n(2)", "33%\n(1)", "0%\n(0)"]
    assert texts(figure.axes[0])[3:] == ["0%\n(0)"] * 5 + ["100%\n(1)"]  # no row is neutral: nothing is divided by 0


def test_predicted_against_true_draws_every_prediction_and_medians(mosi):
    figure = outcomes.predicted_against_true(mosi, "sample")
    assert titles(figure) == ["GEXSent", "Released code"]
    part = mosi[(mosi["system"] == "gexsent") & mosi["intensity"].notna()]
    dots = figure.axes[0].collections[0].get_offsets()
    assert np.allclose(dots, part[["intensity", "pred_intensity"]])
    medians = figure.axes[0].get_lines()[-1].get_xydata()
    for centre, median in medians:
        near = part[np.round(part["intensity"]) == centre]
        assert median == pytest.approx(np.median(near["pred_intensity"]))


def test_many_predictions_are_drawn_smaller():
    few, many = (outcomes.joined(*make(count, ["gexsent"], 1, "mosi")) for count in (50, outcomes.MANY + 10))
    sizes = [
        outcomes.predicted_against_true(rows, "lite").axes[0].collections[0].get_sizes()[0] for rows in (few, many)
    ]
    assert sizes[0] > sizes[1]


def test_intensity_classes_are_clipped_and_halves_go_to_the_even_neighbour():
    values = pd.Series([-3.4, -2.5, -0.5, 0.5, 1.5, 2.6])
    assert outcomes.intensity_class(values).tolist() == [-3, -2, 0, 0, 2, 3]


def test_error_by_intensity_is_the_mean_absolute_error_of_each_class(mosi):
    figure = outcomes.error_by_intensity(mosi, "sample")
    part = mosi[(mosi["system"] == "gexsent") & mosi["intensity"].notna()]
    for centre, error in figure.axes[0].get_lines()[0].get_xydata():
        near = part[np.round(part["intensity"]) == centre]
        assert error == pytest.approx(np.mean(np.abs(near["pred_intensity"] - near["intensity"])))
    heights = [bar.get_height() for bar in figure.axes[1].containers[0]]
    assert sum(heights) == 39  # samples, not predictions


def test_recalls_agree_with_scikit_learn(memotion):
    table = outcomes.recalls(memotion, "humour", "pred_humour_level", range(4))
    assert table.index.tolist() == ["gexsent", "text_only"]
    part = memotion[(memotion["system"] == "text_only") & memotion["humour"].notna()]
    expected = recall_score(part["humour"].astype(int), part["pred_humour_level"], average=None)
    assert np.allclose(table.loc["text_only"], 100 * expected)


def test_recall_of_a_class_without_rows_is_undefined(memotion):
    table = outcomes.recalls(memotion, "motivational", "pred_motivational_level", range(4))
    assert table[[2, 3]].isna().all(axis=None)
    assert table[[0, 1]].notna().all(axis=None)


def test_category_recalls_have_a_panel_for_each_category(memotion):
    figure = outcomes.category_recalls(memotion, "sample")
    assert titles(figure) == list(CATEGORIES)
    counts = memotion.drop_duplicates("id")["sarcasm"].value_counts()
    ticks = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert ticks == [f"{level}\n{counts[level]} rows" for level in range(4)]
    expected = outcomes.recalls(memotion, "sarcasm", "pred_sarcasm_level", range(4)).loc["gexsent"]
    assert np.allclose(figure.axes[1].get_lines()[0].get_ydata(), expected)


@pytest.mark.parametrize("count", [2, 9, 20])
def test_category_recalls_keep_every_system_within_its_level(memotion, count):
    one = memotion[memotion["system"] == "gexsent"]
    many = pd.concat([one.assign(system=f"system{i}") for i in range(count)])
    places = [line.get_xdata() for line in outcomes.category_recalls(many, "sample").axes[0].get_lines()]
    assert len(places) == count
    assert all((np.abs(place - np.arange(4)) < 0.5).all() for place in places)


def certain(confidence, right, sentiment):
    """Predictions of one class with this probability, the other two sharing the rest."""
    confidence, right, sentiment = np.array(confidence), np.array(right, bool), np.array(sentiment)
    columns = {"sentiment": sentiment, "pred_sentiment": np.where(right, sentiment, -sentiment)}
    rest = (1 - confidence) / 2
    return pd.DataFrame(
        columns | {"p_sentiment_negative": confidence, "p_sentiment_neutral": rest, "p_sentiment_positive": rest}
    )


def test_reliability_by_hand():
    # Ten predictions at 0.5, of which five are right, and ten at 0.9, of which six are.
    rows = certain([0.5] * 10 + [0.9] * 10, [1, 0] * 5 + [1] * 6 + [0] * 4, [1] * 20)
    table = outcomes.reliability(rows, balanced=False)
    assert table["rows"].tolist() == [10, 10]
    assert table["confidence"].tolist() == pytest.approx([0.5, 0.9])
    assert table["accuracy"].tolist() == pytest.approx([0.5, 0.6])
    assert outcomes.calibration_error(table) == pytest.approx(0.5 * 0.3)


def test_balanced_reliability_weighs_classes_alike():
    # Nine positive rows, all right, and one negative row, which is wrong: half of the weight lies on that row.
    rows = certain([0.8] * 10, [1] * 9 + [0], [1] * 9 + [-1])
    plain, balanced = (outcomes.reliability(rows, balanced=flag)["accuracy"].tolist() for flag in (False, True))
    assert plain == pytest.approx([0.9])
    assert balanced == pytest.approx([0.5])


def test_reliability_has_at_most_so_many_bins_and_no_small_ones():
    rng = np.random.default_rng(0)
    rows = certain(rng.uniform(0.4, 1, 95), rng.random(95) < 0.5, [1] * 95)
    assert len(outcomes.reliability(rows, balanced=False)) == 8
    assert len(outcomes.reliability(rows, bins=3, balanced=False)) == 3
    assert len(outcomes.reliability(rows[:25], balanced=False)) == 2
    assert len(outcomes.reliability(rows[:4], balanced=False)) == 1
    assert outcomes.reliability(rows[:0], balanced=False).empty


def test_calibration_draws_and_names_each_system(mosi):
    figure = outcomes.calibration(mosi, "sample", balanced=True)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    table = outcomes.reliability(mosi[mosi["system"] == "gexsent"], balanced=True)
    assert labels[0] == f"GEXSent: ECE {outcomes.calibration_error(table):.3f}"
    assert labels[1].startswith("Released code: ECE")
    assert np.allclose(figure.axes[0].get_lines()[1].get_xydata(), table[["confidence", "accuracy"]])
    assert "alike" in figure.axes[0].get_title(loc="left")
    assert "alike" not in outcomes.calibration(mosi, "sample", balanced=False).axes[0].get_title(loc="left")


def test_seeds_draw_every_score_and_their_mean():
    scores = pd.DataFrame({"system": ["released", "gexsent", "gexsent"], "mae": [1.0, 0.5, 0.7], "corr": np.nan})
    figure = outcomes.seeds(scores, tables("mosi")["mosi"], "sample")
    assert titles(figure) == ["MAE ↓"]  # no seed has a correlation, and the other metrics are not there
    assert figure.get_figwidth() >= outcomes.NARROWEST  # a single panel leaves room for the note under it
    drawn = [line.get_xydata().tolist() for line in figure.axes[0].get_lines()]
    assert drawn[0] == [[0.5, 0], [0.7, 0]]
    assert drawn[1][0] == pytest.approx([0.6, 0])
    assert drawn[2] == [[1.0, 1]]


def test_seeds_fill_several_rows():
    scores = pd.DataFrame({"system": ["gexsent"]} | {column.metric: [0.5] for column in tables("mosi")["mosi"]})
    figure = outcomes.seeds(scores, tables("mosi")["mosi"], "sample")
    assert [title for title in titles(figure) if title] == [column.heading for column in tables("mosi")["mosi"]]


@pytest.mark.parametrize("edition", ["sample", "lite"])
def test_every_figure_says_what_its_numbers_are(edition, mosi, memotion):
    scores = pd.DataFrame({"system": ["gexsent"], "mae": [1.0]})
    for figure in (
        outcomes.confusion_matrices(mosi, edition),
        outcomes.predicted_against_true(mosi, edition),
        outcomes.error_by_intensity(mosi, edition),
        outcomes.category_recalls(memotion, edition),
        outcomes.calibration(mosi, edition, balanced=True),
        outcomes.seeds(scores, tables("mosi")["mosi"], edition),
    ):
        assert figure.get_supxlabel() == EDITION_NOTES[edition]
