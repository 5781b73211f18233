import math

import pandas as pd
import pytest

from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.report.comparisons import build
from gexsent.report.render import latex, markdown, write
from gexsent.report.scores import Scores

PAIRS = [
    ["mae", "text_only", "gexsent", -0.0373, -0.0641, -0.0112, 0.006, 0.03, 31, 5],
    ["mae", "released", "gexsent", 0.14, 0.0795, 0.2114, 0.0002, 0.0008, 31, 5],
    ["corr", "text_only", "gexsent", 0.0281, -0.0124, 0.0448, 0.2, 0.2, 31, 5],
    ["corr", "released", "gexsent", math.nan, math.nan, math.nan, math.nan, math.nan, 31, 5],
]
OWN = [
    ["mae", "gexsent", 0.8559, 0.7997, 0.9174, 31, 5, 0],
    ["mae", "text_only", 0.8186, 0.7683, 0.8709, 31, 5, 0],
    ["mae", "released", 0.9962, 0.9052, 1.0889, 31, 5, 0],
    ["corr", "gexsent", 0.7332, 0.6821, 0.7736, 31, 5, 0],
    ["corr", "text_only", 0.7613, 0.7186, 0.7959, 31, 5, 12],
    ["corr", "released", math.nan, math.nan, math.nan, 31, 5, 10_000],
]


def scores(pairs=PAIRS, own=OWN, seeds=5, groups=31):
    fits = pd.DataFrame({"system": "gexsent", "seed": range(seeds), "partitions": 1, "rows": 686})
    pairs = pd.DataFrame(pairs, columns=PAIR_COLUMNS).assign(n_groups=groups)
    own = pd.DataFrame(own, columns=OWN_COLUMNS).assign(n_groups=groups)
    return Scores("mosi", {system: {} for system in ("gexsent", "text_only", "released")}, fits, pairs, own)


def test_a_row_a_metric_and_system_with_interval_p_and_verdict():
    assert build(scores(), "lite").rows() == [
        ["MAE ↓", "GEXSent", "0.8559 [0.7997, 0.9174]", "–", "–", "–", "reference"],
        ["MAE ↓", "Text only", "0.8186 [0.7683, 0.8709]", "-0.0373 [-0.0641, -0.0112]", "0.0060", "0.0300", "better"],
        ["MAE ↓", "Released code", "0.9962 [0.9052, 1.0889]", "+0.1400 [+0.0795, +0.2114]", "0.0002", "0.0008", "worse"],
        ["Corr ↑", "GEXSent", "0.7332 [0.6821, 0.7736]", "–", "–", "–", "reference"],
        ["Corr ↑", "Text only", "0.7613 [0.7186, 0.7959]", "+0.0281 [-0.0124, +0.0448]", "0.2000", "0.2000",
         "not told apart"],
        ["Corr ↑", "Released code", "–", "–", "–", "–", "undefined"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "difference", "verdict"),
    [("mae", -0.1, "better"), ("mae", 0.1, "worse"), ("corr", 0.1, "better"), ("corr", -0.1, "worse")],
)
def test_verdicts_follow_the_direction_of_the_metric(metric, difference, verdict):
    pair = [metric, "text_only", "gexsent", difference, 0, 0, 0.001, 0.001, 31, 5]
    table = build(scores([pair], [row for row in OWN if row[0] == metric][:2]), "lite")
    assert [row[-1] for row in table.rows()] == ["reference", verdict]


def test_caption_and_notes_say_how_it_was_done():
    table = build(scores(), "lite")
    assert table.name == "mosi_comparisons"
    for part in ("CMU-MOSI", "against GEXSent", "31 videos", "5 seeds averaged inside each draw", "Lite edition"):
        assert part in table.caption
    text = " ".join(table.notes)
    for part in ("10,000 draws", "the 3 comparisons", "p (Holm) < 0.05", "other test rows", "Up to 12 draws"):
        assert part in text
    assert "what ± in the result table says" in text
    assert "somewhat too narrow" in text
    assert "–: undefined" in text


def test_notes_stand_only_where_they_apply():
    table = build(scores(PAIRS[:2], OWN[:3], seeds=1, groups=6928), "sample")
    assert "6,928 videos, one seed" in table.caption and "generated data" in table.caption
    text = " ".join(table.notes)
    assert "with one seed, nothing is known" in text and "what ±" not in text
    for part in ("too narrow", "undefined"):
        assert part not in text


def test_nothing_compared_is_no_table():
    assert build(scores([], OWN[:1]), "lite") is None


def test_written_like_the_other_tables(tmp_path):
    table = build(scores(), "lite")
    write(table, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"mosi_comparisons.{s}" for s in ("csv", "md", "tex")]
    frame = pd.read_csv(tmp_path / "mosi_comparisons.csv")
    assert list(frame["system"]) == [row[1] for row in OWN]
    assert frame.loc[1, ["value_low", "difference", "difference_high", "p_holm"]].tolist() == [
        0.7683,
        -0.0373,
        -0.0112,
        0.03,
    ]
    assert frame.loc[[0, 3], "reference"].isna().all()
    assert "| MAE ↓  | Text only     |" in markdown(table)
    text = latex(table)
    assert r"\begin{tabular}{llrrrrr}" in text and r"\label{tab:mosi-comparisons}" in text
    assert r"Metric & System & Score {[}95 \%] & Difference {[}95 \%] & $p$ & p (Holm) & Verdict \\" in text
    assert text.isascii()
