"""Tables and figures of damage, from frames whose every number is known."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gexsent.evaluation.robustness import LEVELS, WHOLE
from gexsent.report import render, style
from gexsent.report import robustness as report
from gexsent.report import robustness_tables as tables
from gexsent.report.columns import MAE, SEMEVAL

ROWS = (8, 20)
SYSTEMS = {"gexsent": 1.0, "text_only": 2.0, "vision_only": 3.0, "no_gam": 1.5, "gexsent+dropout": 1.25}


@pytest.fixture
def curves():
    """Errors of each system, plus the level under noise and missing vision; seed 1 is 0.2 above seed 0."""
    records = []
    for system, clean in SYSTEMS.items():
        for seed in (0, 1):
            records.append({"system": system, "seed": seed, "protocol": WHOLE, "level": 0.0, "mae": clean + 0.2 * seed})
            for protocol in ("noise", "no_vision"):
                for level in LEVELS[protocol][1:]:
                    row = {"system": system, "seed": seed, "protocol": protocol, "level": level}
                    records.append(row | {"mae": clean + level + 0.2 * seed})
    return pd.DataFrame(records).assign(draw=0)


@pytest.fixture
def areas():
    rows = []
    for protocol in ("noise", "no_vision"):
        for system, value in SYSTEMS.items():
            reference = None if system == "gexsent" else "gexsent"
            rows.append(
                {
                    "protocol": protocol,
                    "metric": "mae",
                    "system": system,
                    "value": value,
                    "low": value - 0.1,
                    "high": value + 0.1,
                    "n_groups": 60,
                    "seeds": 2,
                    "reference": reference,
                    "difference": value - 1 if reference else np.nan,
                    "difference_low": 0.0,
                    "difference_high": 2.0,
                    "p": 0.01 if reference else np.nan,
                    "p_holm": {"text_only": 0.04, "gexsent+dropout": 0.06}.get(system, 0.5) if reference else np.nan,
                }
            )
    return pd.DataFrame(rows)


def test_means_and_deviations_by_level_start_at_the_undamaged_input(curves):
    found = tables.means(curves, "text_only", "noise", "mae")
    assert found["mean"].to_dict() == pytest.approx({0.0: 2.1, 0.5: 2.6, 1.0: 3.1, 2.0: 4.1})
    assert found["sd"].tolist() == pytest.approx([np.std([0, 0.2], ddof=1)] * 4)
    assert tables.protocols(curves) == ["noise", "no_vision"]


def test_losses_are_turned_so_that_more_is_worse(curves):
    assert tables.loss(curves, MAE).loc["Text only"].to_dict() == {"Noise on vision": 2.0, "Vision missing": 1.0}
    scores = curves.assign(macro_f1_a=1 - curves["mae"] / 10)
    assert tables.loss(scores, SEMEVAL[0]).loc["Text only"].to_dict() == pytest.approx(
        {"Noise on vision": 0.2, "Vision missing": 0.1}
    )


@pytest.mark.parametrize(
    ("column", "difference", "p", "expected"),
    [
        (MAE, -0.1, 0.01, "better"),
        (MAE, 0.1, 0.01, "worse"),
        (SEMEVAL[0], 0.1, 0.01, "better"),
        (SEMEVAL[0], -0.1, 0.049, "worse"),
        (MAE, 0.1, 0.05, ""),
        (MAE, np.nan, np.nan, ""),
    ],
)
def test_verdicts(column, difference, p, expected):
    assert tables.verdict(column, difference, p) == expected


def test_the_table_of_areas(areas, curves):
    table = tables.areas(areas, curves, "mosi", "lite", ROWS)
    assert table.heading == ("Metric", "System", "Undamaged", "Noise on vision", "Vision missing")
    rows = {row[1]: row[2:] for row in table.rows()}
    assert rows["GEXSent"] == ["1.1000", *["1.0000 [0.9000, 1.1000]"] * 2]
    assert rows["Text only"] == ["2.1000", *["2.0000 [1.9000, 2.1000] (worse)"] * 2]
    assert rows["GEXSent + modality dropout"][1] == "1.2500 [1.1500, 1.3500]"  # p (Holm) of 0.06
    assert table.frame() is areas
    text = render.markdown(table)
    assert "8 of 20 test rows, whole groups drawn at random. Lite edition" in text and "60 videos" in text
    assert "too narrow" not in text
    few = tables.areas(areas.assign(n_groups=49), curves, "mosi", "lite", (20, 20))
    assert "too narrow" in render.markdown(few) and "all 20 test rows" in few.caption


def test_one_metric_alone(areas, curves):
    frame = pd.concat([areas.assign(metric=c.metric) for c in SEMEVAL])
    scores = curves.assign(**{c.metric: curves["mae"] for c in SEMEVAL})
    assert len(tables.areas(frame, scores, "memotion", "lite", ROWS).rows()) == 3 * len(SYSTEMS)
    one = tables.areas(frame, scores, "memotion", "lite", ROWS, "macro_f1_b").rows()
    assert [row[0] for row in one] == ["B: mean macro-F1 ↑"] * len(SYSTEMS)


def test_what_is_told_apart_by_question(areas):
    table = tables.verdicts([("mosi", areas)], "sample")
    noise = [row for row in table.rows() if row[3] == "Noise on vision"]
    assert noise == [
        ["CMU-MOSI", "baseline against GEXSent", "MAE", "Noise on vision", "–", "Text only", "Vision only"],
        ["CMU-MOSI", "ablation against GEXSent", "MAE", "Noise on vision", "–", "–", "No gated attention"],
        ["CMU-MOSI", "with modality dropout against without", "MAE", "Noise on vision", "–", "–", "GEXSent"],
    ]
    assert table.frame()["worse"].tolist() == ["Text only", "", ""] * 2
    assert "Sample edition" in table.caption
    assert tables.told(table).rows() == [row for row in table.rows() if row[1] == "baseline against GEXSent"]


def test_the_table_of_conflict_says_how_many_rows_there_are(areas):
    scores = areas[areas["protocol"] == "noise"].drop(columns="protocol")
    scores = pd.concat([scores.assign(where="conflict", rows=3), scores.assign(where="agreement", rows=1005)])
    table = tables.conflict(scores, "mosi", "lite", ROWS)
    assert [row[0] for row in table.rows()] == ["conflict (3)"] * 5 + ["agreement (1,005)"] * 5
    assert [row[-1] for row in table.rows()[:3]] == ["reference", "worse", "not told apart"]


@pytest.fixture
def routing():
    rows = []
    for system in ("gexsent", "gexsent+dropout", "no_gam"):
        for level in LEVELS["noise"]:
            protocol = "noise" if level else WHOLE
            shares = {"share_text": 0.4 + level / 10, "share_vision": 0.3 - level / 10, "share_shared": 0.3}
            rows.append({"system": system, "seed": 0, "protocol": protocol, "level": level, "gate_text": 0.5} | shares)
        rows.append({"system": system, "seed": 0, "protocol": "no_vision", "level": 1.0, "share_vision": 0.0})
    return pd.DataFrame(rows).assign(draw=0, gate_vision=np.nan)


@pytest.fixture
def drawn(curves, routing):
    style.use_style()
    figures = dict(report.draw(curves, routing, "mosi", "sample", ROWS))
    yield figures
    plt.close("all")


def labels_of(axis):
    return axis.get_legend_handles_labels()[1]


def heights(axis):
    return {line.get_label(): line.get_ydata().tolist() for line in axis.get_lines()}


def test_each_question_has_a_figure_of_its_own(drawn):
    assert list(drawn) == ["mosi_mae", "mosi_mae_ablations", "mosi_mae_dropout", "mosi_gates"]
    shown = {name: labels_of(figure.axes[0]) for name, figure in drawn.items()}
    assert shown["mosi_mae"] == ["GEXSent", "Text only", "Vision only"]
    assert shown["mosi_mae_ablations"] == ["GEXSent", "No gated attention"]
    for figure in drawn.values():
        assert "8 of 20 test rows" in figure.legends[0].get_title().get_text()
        assert "Sample edition" in figure.get_supxlabel()


def test_a_figure_without_ablations_or_variants_is_not_drawn(curves, routing):
    some = curves[curves["system"].isin(["text_only", "vision_only"])]
    assert [name for name, _ in report.draw(some, routing.iloc[:0], "mosi", "lite", ROWS)] == ["mosi_mae"]
    plt.close("all")


def test_lines_are_the_means(drawn):
    first, second = drawn["mosi_mae"].axes[:2]
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("Noise on vision", "Vision missing")
    assert heights(first)["Text only"] == pytest.approx([2.1, 2.6, 3.1, 4.1])
    assert heights(second)["GEXSent"] == pytest.approx([1.1, 1.35, 1.6, 1.85, 2.1])


def test_every_ablation_has_a_look_of_its_own(curves):
    from gexsent.systems import ABLATIONS

    gexsent = curves[curves["system"] == "gexsent"]
    frame = pd.concat([gexsent, *(gexsent.assign(system=name) for name in ABLATIONS)])
    lines = report.lines(frame, MAE, ["gexsent", *ABLATIONS]).axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 8
    plt.close("all")


def test_a_variant_stands_beside_its_system_and_what_never_had_the_missing_modality(drawn):
    (axis,) = drawn["mosi_mae_dropout"].axes
    assert axis.get_title(loc="left") == "GEXSent" and "vision missing" in axis.get_ylabel()
    found = heights(axis)
    assert found["without modality dropout"] == pytest.approx([1.1, 1.35, 1.6, 1.85, 2.1])
    assert found["with modality dropout"] == pytest.approx([1.35, 1.6, 1.85, 2.1, 2.35])
    assert found[report.ALONE] == pytest.approx([2.1, 2.35, 2.6, 2.85, 3.1])  # of text alone, as the fixture has it


def test_gates_and_shares_of_gexsent_alone_and_no_missing_modality(drawn):
    above, below = drawn["mosi_gates"].axes
    assert heights(above)["vision"] == pytest.approx([0.3, 0.25, 0.2, 0.1])
    assert set(labels_of(above)) == {
        f"{group}{end}" for group in report.GROUPS for end in ("", ", with modality dropout")
    }
    assert labels_of(below) == ["text", "text, with modality dropout"]  # a gate that no sample has is not drawn
