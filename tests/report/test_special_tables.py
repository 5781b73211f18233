"""Tables over all data sets: ablations, audit, cost."""

import math

import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.evaluation.score import summarise
from gexsent.report import ablations, audit, cost
from gexsent.report.render import latex, markdown
from gexsent.report.scores import COST_COLUMNS, Scores
from gexsent.stages.audit import COLUMNS, SEED_COLUMNS


def scores(values, pairs, dataset="mosi", costs=()):
    """{system: {metric: value of each seed}} and (metric, system, reference, difference, low, high, p_holm)."""
    seeds = pd.concat(pd.DataFrame({"system": s, "seed": range(len(m["mae"])), **m}) for s, m in values.items())
    rows = [[*pair[:6], pair[6], pair[6], 31, 2] for pair in pairs]
    own = [
        [metric, system, 0, 0, 0, 31, 2, 0]
        for system, found in values.items()
        for metric in ("mae", "corr")
        if metric in found
    ]
    frames = pd.DataFrame(rows, columns=PAIR_COLUMNS), pd.DataFrame(own, columns=OWN_COLUMNS)
    seeds = seeds.assign(partitions=1, rows=686)
    return Scores(dataset, summarise(seeds), seeds, *frames, pd.DataFrame(costs, columns=COST_COLUMNS))


@pytest.fixture
def ablated():
    values = {
        "gexsent": {"mae": [0.5, 0.7], "corr": [0.8, 0.8]},
        "text_only": {"mae": [0.1, 0.1], "corr": [0.9, 0.9]},
        "flat_moe": {"mae": [0.7, 0.9], "corr": [0.7, 0.7]},
        "no_gam": {"mae": [0.8, 0.8], "corr": [0.85, 0.85]},
    }
    pairs = [
        ("mae", "text_only", "gexsent", -0.5, -0.6, -0.4, 0.001),
        ("mae", "flat_moe", "gexsent", 0.2, 0.1, 0.3, 0.01),
        ("mae", "no_gam", "gexsent", 0.2, 0.05, 0.3, 0.04),
        ("corr", "flat_moe", "gexsent", -0.1, -0.2, 0.05, 0.2),
        ("corr", "no_gam", "gexsent", 0.05, -0.1, 0.2, 0.3),
    ]
    return scores(values, pairs, costs=[["gexsent", 1000, 5, 13, 0], ["flat_moe", 990, 4, 13, 0]])


def test_ablations_row_by_row(ablated):
    table = ablations.build([ablated], "lite")
    assert table.heading[:6] == ("Data set", "System", "Weights", "MAE ↓", "Difference [95 %]", "p (Holm)")
    assert table.rows() == [
        ["CMU-MOSI", "GEXSent", "1,000", "0.6000 ± 0.1414", "–", "–", "0.8000 ± 0.0000", "–", "–"],
        ["CMU-MOSI", "Flat mixture", "990", "0.8000 ± 0.1414", "+0.2000 [+0.1000, +0.3000]", "0.0100",
         "0.7000 ± 0.0000", "-0.1000 [-0.2000, +0.0500]", "0.2000"],
        ["CMU-MOSI", "No gated attention", "–", "0.8000 ± 0.0000", "+0.2000 [+0.0500, +0.3000]", "0.0400",
         "0.8500 ± 0.0000", "+0.0500 [-0.1000, +0.2000]", "0.3000"],
    ]  # fmt: skip
    # In MAE GEXSent beats both; text only, which is better, is no ablation. In Corr the best mean is not borne out.
    assert table.bold == {(0, 3)}
    assert "Lite edition" in table.caption and "CMU-MOSI 2" in table.caption
    assert "what ± says" in " ".join(table.notes)
    assert "**0.6000 ± 0.1414**" in markdown(table) and r"\textbf{0.6000 $\pm$ 0.1414}" in latex(table)
    frame = table.frame()
    assert frame[["system", "metric"]].drop_duplicates().shape == (6, 2)
    assert frame.loc[frame["system"] == "flat_moe", "p_holm"].tolist() == [0.01, 0.2]


def test_without_an_ablation_or_without_gexsent_there_is_no_table(ablated):
    assert ablations.build([ablated.only(["gexsent", "text_only"])], "lite") is None
    assert ablations.build([ablated.only(["flat_moe", "no_gam"])], "lite") is None


def test_one_seed_says_so_in_ablations():
    one = scores({"gexsent": {"mae": [0.5]}, "no_gam": {"mae": [0.6]}}, [])
    assert "with one seed" in " ".join(ablations.build([one], "lite").notes)


@pytest.fixture
def released():
    three = {"macro_f1_3": [0.5, 0.6], "acc_3": [70.0, 74.0]}
    values = {
        "gexsent": {"mae": [0.5, 0.7], "corr": [0.8, 0.8], **three},
        "released": {"mae": [1.0, 1.2], "corr": [0.6, 0.6], **three},
        "released_masked": {"mae": [0.9, 0.9], "corr": [0.65, 0.65], **three},
    }
    pairs = [
        ("mae", "released", "gexsent", 0.5, 0.4, 0.6, 0.001),
        ("mae", "released_masked", "released", -0.2, -0.3, -0.1, 0.01),
        ("corr", "released_masked", "released", 0.05, -0.1, 0.2, 0.6),
    ]
    return scores(values, pairs)


@pytest.fixture
def audited():
    effects = [
        ["test_selected", "official", "mae", -0.02, -0.03, -0.01, 0.001, 0.006, 2, 686],
        ["random_clips", "official", "mae", -0.05, math.nan, math.nan, math.nan, math.nan, 2, 686],
        ["random_clips", "random_videos", "mae", -0.03, -0.09, 0.03, 0.3, 0.6, 2, 686],
        ["unknown_as_neutral", "released", "macro_f1_3", -0.01, math.nan, math.nan, math.nan, math.nan, 2, 1234],
    ]
    seeds = [["official", "text_only", s, 686, 0.0, 0.8 + 0.1 * s] for s in range(2)]
    seeds += [[name, "text_only", 0, 686, share, 0.7] for name, share in (("random_clips", 0.98), ("test_selected", 0))]
    return audit.Audit(pd.DataFrame(effects, columns=COLUMNS), pd.DataFrame(seeds, columns=[*SEED_COLUMNS, "mae"]))


def test_audit_row_by_row(released, audited):
    table = audit.build([released], {"mosi": audited}, "lite")
    # By hand: accuracy minus macro-F1 is 0.2 and 0.14, mean 0.17, sd 0.0424.
    assert [row[1:] for row in table.rows()] == [
        ["Released code as it is", "2", "1.1000 ± 0.1414", "0.6000 ± 0.0000", "0.5500 ± 0.0707"],
        ["… padding masked", "2", "-0.2000 [-0.3000, -0.1000]", "+0.0500 [-0.1000, +0.2000]", "–"],
        ["… F1 averaged over rows (accuracy), not over classes", "2", "–", "–", "+0.1700 ± 0.0424"],
        ["… unknown labels taken as neutral (1,234 rows)", "2", "–", "–", "-0.0100"],
        ["Text only, official protocol", "2", "0.8500 ± 0.0707", "–", "–"],
        ["… epoch chosen on the test rows", "2", "-0.0200 [-0.0300, -0.0100]", "–", "–"],
        ["… clips dealt out at random", "2", "-0.0500", "–", "–"],
        ["… clips at random minus videos at random: the leak", "2", "-0.0300 [-0.0900, +0.0300]", "–", "–"],
    ]
    assert table.bold == {(1, 3), (5, 3)}
    assert "98 % come from videos that are also trained on (CMU-MOSI)" in " ".join(table.notes)
    frame = table.frame().set_index(["change", "against", "metric"])
    assert frame.loc[("released_masked", "released", "mae"), "p_holm"] == 0.01
    assert frame.loc[("unknown_as_neutral", "released", "macro_f1_3"), "rows"] == 1234
    assert latex(table).isascii() and r"\ldots{} padding masked" in latex(table)


def test_the_audit_needs_a_mended_fault_or_an_audited_protocol(released, audited):
    assert audit.build([released.only(["gexsent", "released"])], {}, "lite") is None
    code = audit.build([released], {}, "lite")
    assert [row[1] for row in code.rows()][-1].startswith("… F1 averaged over rows")
    protocol = audit.build([released.only(["gexsent"])], {"mosi": audited}, "lite")
    assert protocol.rows()[0][1] == "Text only, official protocol"


def test_memotion_is_audited_in_task_a():
    seeds = pd.DataFrame({"system": ["released"] * 2, "seed": [0, 1], "macro_f1_a": [0.3, 0.3], "acc_a": [50.0, 50.0]})
    found = Scores("memotion", summarise(seeds.assign(partitions=5, rows=80)), seeds.assign(partitions=5, rows=80))
    effect = ["unknown_as_neutral", "released", "macro_f1_a", 0.0, *[math.nan] * 4, 2, 0]
    of_b = ["unknown_as_neutral", "released", "macro_f1_b", -0.02, *[math.nan] * 4, 2, 482]
    labels_only = audit.Audit(pd.DataFrame([effect, of_b], columns=COLUMNS), pd.DataFrame(columns=SEED_COLUMNS))
    table = audit.build([found], {"memotion": labels_only}, "lite")
    assert [row[-1] for row in table.rows()] == ["0.3000 ± 0.0000", "+0.2000 ± 0.0000", "+0.0000", "-0.0200"]
    assert table.rows()[-1][1] == "… task B: unknown categories taken as absent (482 rows)"


def test_an_official_split_of_memotion_is_audited_in_task_a():
    effects = [["test_selected", "official", "macro_f1_a", 0.02, 0.01, 0.03, 0.001, 0.006, 2, 80]]
    seeds = [["official", "text_only", s, 80, 0.0, 0.3] for s in range(2)]
    seeds += [[name, "text_only", 0, 80, 0.5, 0.32] for name in ("random_clips", "test_selected")]
    found = audit.Audit(
        pd.DataFrame(effects, columns=COLUMNS), pd.DataFrame(seeds, columns=[*SEED_COLUMNS, "macro_f1_a"])
    )
    one = pd.DataFrame({"system": ["text_only"], "seed": [0], "macro_f1_a": [0.3], "partitions": [1], "rows": [80]})
    table = audit.build([Scores("memotion", summarise(one), one)], {"memotion": found}, "sample")
    assert [row[-1] for row in table.rows()] == ["0.3000 ± 0.0000", "+0.0200 [+0.0100, +0.0300]"]


def test_reading_what_the_audit_stage_left(tmp_path, audited):
    assert audit.read(tmp_path, "mosi") is None
    folder = tmp_path / "audit"
    folder.mkdir()
    audited.effects.to_csv(folder / "mosi.csv", index=False)
    with pytest.raises(DataError, match=r"mosi_seeds\.csv: cannot be read"):
        audit.read(tmp_path, "mosi")
    audited.seeds.to_csv(folder / "mosi_seeds.csv", index=False)
    pd.testing.assert_frame_equal(audit.read(tmp_path, "mosi").effects, audited.effects)
    audited.effects[:0].to_csv(folder / "mosi.csv", index=False)  # a data set left out
    assert audit.read(tmp_path, "mosi") is None


def test_costs_of_all_data_sets_side_by_side():
    rows = [["gexsent", 1_079_567, 6_127_750, 13, 0], ["no_gam", 681_485, 3_254_000, 13, 0]]
    mosi = scores({"gexsent": {"mae": [0.5]}}, [], costs=rows)
    memotion = scores({"gexsent": {"mae": [0.5]}}, [], "memotion", [["text_only", 68_625, 1_006_720, 20, 1]])
    table = cost.build([mosi, memotion], "lite")
    assert table.rows() == [
        ["GEXSent", "1,079,567", "6.128", "–", "–"],
        ["Text only", "–", "–", "68,625", "1.007"],
        ["No gated attention", "681,485", "3.254", "–", "–"],
    ]
    assert "CMU-MOSI 13 text tokens, no vision; Memotion 20 text tokens, 1 visual tokens" in table.caption
    assert table.frame()["multiply_adds"].tolist() == [6_127_750, 3_254_000, 1_006_720]
    assert cost.build([scores({"gexsent": {"mae": [0.5]}}, [])], "lite") is None
