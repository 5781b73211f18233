import dataclasses
import math

import pandas as pd
import pytest

from gexsent.evaluation.compare import PAIR_COLUMNS
from gexsent.evaluation.score import summarise
from gexsent.report.quoted import Quoted
from gexsent.report.scores import Scores
from gexsent.report.style import system_name
from gexsent.report.tables import build, format_cell

SOURCE = ("paper A (the source's own table)",)
QUOTED = Quoted(
    pd.DataFrame([{"system": "Other", "year": "2019", "text_encoder": "BERT", "mae": "0.9", "source": "1"}]),
    ("year", "text_encoder"),
    SOURCE,
)
ON_SEMEVAL = Quoted(
    pd.DataFrame([{"system": "Other", "split": "SemEval test", "macro_f1_a": "0.35", "source": "1"}]),
    ("split",),
    SOURCE,
)


def scores(values: dict[str, dict[str, list[float]]], dataset: str = "mosi", partitions: int = 1) -> Scores:
    """{system: {metric: value of each seed}} as the evaluate stage would leave it."""
    seeds = pd.concat(
        pd.DataFrame({"system": system, "seed": range(len(next(iter(m.values())))), **m})
        for system, m in values.items()
    )
    seeds = seeds.assign(partitions=partitions, rows=686)
    return Scores(dataset, summarise(seeds), seeds)


def test_rows_are_mean_and_sd_over_seeds():
    # Worked by hand: 0.5, 0.7 and 0.9 have mean 0.7 and sd sqrt(0.08 / 2) = 0.2.
    (table,) = build(scores({"gexsent": {"mae": [0.5, 0.7, 0.9], "acc7": [30.0, 40.0, 50.0]}}), "sample", None)
    assert table.rows() == [["GEXSent", "3", "0.7000 ± 0.2000", "40.00 ± 10.00"]]


def test_systems_keep_their_order_and_columns_the_layout_s():
    values = {name: {"acc7": [40.0, 41.0], "mae": [0.5, 0.6]} for name in ("released", "gexsent", "late_fusion")}
    (table,) = build(scores(values), "sample", None)
    assert [row[0] for row in table.rows()] == ["Released code", "GEXSent", "Late fusion"]
    assert [column.heading for column in table.columns] == ["MAE ↓", "Acc-7 ↑"]


def test_undefined_values_are_dashes_with_a_note():
    (table,) = build(scores({"gexsent": {"mae": [0.5, 0.6], "corr": [0.8, math.nan]}}), "sample", None)
    assert table.rows() == [["GEXSent", "2", "0.5500 ± 0.0707", "–"]]
    assert any(note.startswith("–: undefined") for note in table.notes)
    (whole,) = build(scores({"gexsent": {"mae": [0.5, 0.6]}}), "sample", None)
    assert not any("undefined" in note for note in whole.notes)


def test_one_seed_has_no_deviation():
    (table,) = build(scores({"gexsent": {"mae": [0.5]}}), "quick", None)
    assert table.rows() == [["GEXSent", "1", "0.5000"]]
    assert any("One seed" in note for note in table.notes)
    assert "one seed" in table.caption


def test_caption_names_edition_data_set_seeds_rows_and_partitions():
    values = {"gexsent": {"macro_f1_a": [0.3, 0.4, 0.5], "macro_f1_b_humour": [0.5, 0.5, 0.5]}}
    main, categories = build(scores(values, "memotion", partitions=5), "sample", None)
    for part in ("Memotion", "n = 3 seeds", "686 test rows", "5 folds", "says nothing about sentiment"):
        assert part in main.caption
    assert "by category" in categories.caption
    assert "by category" not in main.caption
    (mosi,) = build(scores({"gexsent": {"mae": [0.5, 0.6]}}), "lite", None)
    assert "one split" in mosi.caption
    assert "real data" in mosi.caption
    (named_by_a_user,) = build(scores({"gexsent": {"mae": [0.5, 0.6]}}), "mine", None)
    assert "Edition mine." in named_by_a_user.caption


def test_categories_stand_in_a_table_of_their_own():
    values = {"gexsent": {"macro_f1_a": [0.3], "macro_f1_b_humour": [0.5], "macro_f1_c_sarcasm": [0.2]}}
    main, categories = build(scores(values, "memotion"), "sample", None)
    assert (main.name, [c.metric for c in main.columns]) == ("memotion", ["macro_f1_a"])
    assert categories.name == "memotion_categories"
    assert [c.heading for c in categories.columns] == ["B: humour ↑", "C: sarcasm ↑"]
    (alone,) = build(scores({"gexsent": {"macro_f1_a": [0.3]}}, "memotion"), "sample", None)
    assert alone.name == "memotion"


def test_quoted_rows_stand_in_the_main_table_alone():
    values = {"gexsent": {"macro_f1_a": [0.3], "macro_f1_b_humour": [0.5]}}
    main, categories = build(scores(values, "memotion", partitions=5), "lite", ON_SEMEVAL)
    assert main.quoted is ON_SEMEVAL
    assert categories.quoted is None
    assert categories.quoted_notes == ()


@pytest.mark.parametrize(("partitions", "said"), [(5, True), (1, False)])
def test_other_test_rows_are_said_where_the_measured_ones_are_folds(partitions, said):
    main = build(scores({"gexsent": {"macro_f1_a": [0.3]}}, "memotion", partitions), "lite", ON_SEMEVAL)[0]
    assert any("tested on other rows" in note for note in main.quoted_notes) is said


def test_quoted_notes_say_what_the_file_records():
    (mosi,) = build(scores({"gexsent": {"mae": [0.5]}}), "lite", QUOTED)
    text = " ".join(mosi.quoted_notes)
    assert "not comparable" in text
    assert "standard test split" in text
    assert "Backbones are not recorded" not in text
    memotion = build(scores({"gexsent": {"macro_f1_a": [0.3]}}, "memotion"), "lite", ON_SEMEVAL)[0]
    assert "Backbones are not recorded" in " ".join(memotion.quoted_notes)


def test_frame_has_every_digit_and_the_metrics_no_layout_names():
    values = {"gexsent": {"mae": [0.512345, 0.512347], "new_metric": [1.0, 3.0]}, "text_only": {"mae": [0.7, 0.7]}}
    frame = build(scores(values), "sample", None)[0].frame()
    assert frame["system"].tolist() == ["gexsent", "text_only"]
    assert frame["partitions"].tolist() == [1, 1]
    assert frame["rows"].tolist() == [686, 686]
    assert frame["mae_mean"].tolist() == [0.512346, 0.7]
    assert frame["mae_n"].tolist() == [2, 2]
    assert frame.loc[0, ["new_metric_mean", "new_metric_sd"]].tolist() == [2.0, pytest.approx(2**0.5, abs=1e-6)]
    assert math.isnan(frame.loc[1, "new_metric_mean"])


BOTH = {"gexsent": {"mae": [0.1, 0.2], "acc7": [40, 41]}, "text_only": {"mae": [0.9, 1.0], "acc7": [20, 21]}}


def compared(values: dict, metric: str, p: float, dataset: str = "mosi") -> Scores:
    pair = [metric, "text_only", "gexsent", 0.8, 0.7, 0.9, p, p, 31, 2]
    return dataclasses.replace(scores(values, dataset), pairs=pd.DataFrame([pair], columns=PAIR_COLUMNS))


def test_without_a_test_nothing_is_bold_and_the_table_says_so():
    (table,) = build(scores(BOTH), "sample", None)
    assert table.bold == frozenset()
    assert any("paired test" in note for note in table.notes)
    assert "Bold" not in table.caption


@pytest.mark.parametrize(("p", "bold"), [(0.01, {(0, 2)}), (0.2, set())])
def test_the_best_mean_is_bold_where_a_test_bears_it_out(p, bold):
    (table,) = build(compared(BOTH, "mae", p), "sample", None)
    assert table.bold == bold
    assert "Bold: the best mean of its column, where a paired test bears it out (p < 0.05" in table.caption
    assert any(note.startswith("Tested: MAE; see mosi_comparisons. The other columns") for note in table.notes)
    assert not any("No mean is marked" in note for note in table.notes)
    alone = {system: {"mae": values["mae"]} for system, values in BOTH.items()}
    (all_tested,) = build(compared(alone, "mae", p), "sample", None)
    assert not any("other columns" in note for note in all_tested.notes)


def test_a_table_without_a_tested_column_keeps_its_caption():
    values = {
        s: {"macro_f1_a": [v] * 2, "macro_f1_b_humour": [v] * 2} for s, v in (("gexsent", 0.3), ("text_only", 0.4))
    }
    main, categories = build(compared(values, "macro_f1_a", 0.01, "memotion"), "sample", None)
    assert (main.bold, categories.bold) == ({(1, 2)}, set())
    assert "Bold" in main.caption and "Bold" not in categories.caption
    assert any("No mean is marked" in note for note in categories.notes)


@pytest.mark.parametrize(
    ("cell", "decimals", "text"),
    [
        ({"mean": 55.416667, "sd": 3.145764, "n": 3}, 2, "55.42 ± 3.15"),
        ({"mean": -0.04789, "sd": 0.0, "n": 5}, 4, "-0.0479 ± 0.0000"),
        ({"mean": 0.5, "sd": None, "n": 2}, 4, "0.5000 ± –"),
        ({"mean": None, "sd": None, "n": 5}, 4, "–"),
    ],
)
def test_format_cell(cell, decimals, text):
    assert format_cell(cell, decimals) == text


def test_a_system_without_a_name_is_written_out():
    assert [system_name("gexsent"), system_name("early_fusion")] == ["GEXSent", "Early fusion"]
