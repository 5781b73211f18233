import numpy as np
import pandas as pd
import pytest

from gexsent.data.table import BLOCKS
from gexsent.datasets import CATEGORIES, LEVELS, SPECS
from gexsent.evaluation.score import dataset_metrics
from gexsent.report.columns import MAE, Column, headlines, tables


def predictions(dataset: str) -> pd.DataFrame:
    """Rows whose predictions equal their labels, with every class of every task present."""
    count = 4 * len(BLOCKS)
    rows = pd.DataFrame({"sentiment": np.resize([-1, 0, 1], count), "intensity": np.linspace(-3, 3, count)})
    for category in CATEGORIES if dataset == "memotion" else ():
        rows[category] = np.arange(count) % LEVELS[category]
        rows[f"pred_{category}_level"] = rows[category]
        rows[f"pred_{category}_present"] = rows[category].clip(upper=1)
    return rows.assign(pred_sentiment=rows["sentiment"], pred_intensity=rows["intensity"])


@pytest.mark.parametrize("dataset", SPECS)
def test_every_metric_that_is_computed_has_one_column(dataset):
    """A metric that is added to the evaluation and forgotten here would be missing from the tables."""
    shown = [column.metric for layout in tables(dataset).values() for column in layout]
    assert sorted(shown) == sorted(dataset_metrics(predictions(dataset), dataset))


@pytest.mark.parametrize("dataset", SPECS)
def test_scale_says_what_a_perfect_prediction_scores(dataset):
    perfect = dataset_metrics(predictions(dataset), dataset)
    best = {"percent": 100, "0 to 1": 1, "own units": 1}
    for layout in tables(dataset).values():
        for column in layout:
            assert perfect[column.metric] == pytest.approx(0 if column.lower_is_better else best[column.scale])


def test_decimals_and_headings():
    assert (MAE.decimals, MAE.heading) == (4, "MAE ↓")
    assert (Column("x", "X", "percent").decimals, Column("x", "X", "percent").heading) == (2, "X ↑")
    assert Column("x", "X", "0 to 1").decimals == 4


def test_headlines_stand_in_the_main_table_and_lead_it():
    for dataset in SPECS:
        assert tables(dataset)[dataset][: len(headlines(dataset))] == headlines(dataset)


def test_both_conventions_are_named():
    names = [column.name for column in tables("mosi")["mosi"]]
    assert {"Acc-2 (has-0)", "F1 (has-0)", "Acc-2 (non-0)", "F1 (non-0)"} <= set(names)
