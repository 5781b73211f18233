"""Figures and tables of reliability: what of the numbers they show."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gexsent.evaluation import calibration, trust
from gexsent.evaluation.trust import Held
from gexsent.report import reliability, reliability_tables, render


def side(rng, count):
    rows = pd.DataFrame({"id": np.arange(count).astype(str), "group": rng.integers(0, 12, count).astype(str)})
    rows = rows.assign(group_rows=1, words=rng.integers(1, 30, count), text=True, vision=True)
    rows = rows.assign(intensity=rng.normal(size=count), sentiment=rng.integers(-1, 2, count))
    sentiment = np.log(calibration.softmax(rng.normal(size=(2, count, 3))))
    outputs = {"intensity": rng.normal(size=(2, count)), "sentiment": sentiment}
    return Held(rows, outputs, {"gate_text": rng.random((2, count))})


@pytest.fixture(scope="module")
def frames():
    """Two data sets, one of them without intensities; two systems; points of GEXSent alone, as the stage keeps them."""
    rng, found = np.random.default_rng(0), {}
    for dataset in ("mosi", "memotion"):
        for system in ("gexsent", "text_only"):
            pair = side(rng, 60), side(rng, 90)
            if dataset == "memotion":
                for one in pair:
                    del one.outputs["intensity"], one.rows["intensity"]
            for name, frame in trust.measure([pair]).items():
                if system == "gexsent" or name not in ("bins", "curves"):
                    found.setdefault(name, []).append(frame.assign(dataset=dataset, system=system))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


@pytest.fixture(scope="module")
def figures(frames):
    with plt.rc_context({"axes.titlelocation": "center"}):  # whatever style an earlier test has set
        drawn = dict(reliability.draw(frames, "sample"))
    yield drawn
    plt.close("all")


def test_a_figure_each_and_what_kind_of_numbers_it_holds(figures):
    names = ["calibration", "risk_coverage", "signals", "coverage", "subgroups_mosi", "subgroups_memotion"]
    assert list(figures) == names
    assert all("Sample edition" in figure.get_supxlabel() for figure in figures.values())


def test_without_gexsent_there_is_nothing_to_draw(frames):
    others = {
        name: frame[frame["system"] != "gexsent"] for name, frame in frames.items() if name not in ("bins", "curves")
    }
    assert list(reliability.draw(others, "sample")) == []


def titled(figure):
    return {axis.get_title(): axis for axis in figure.axes if axis.get_title()}


def test_a_panel_where_there_is_something_and_none_elsewhere(figures):
    for name in ("risk_coverage", "signals", "coverage"):
        assert list(titled(figures[name])) == ["CMU-MOSI, intensity", "CMU-MOSI, sentiment", "Memotion, sentiment"]
    assert list(titled(figures["calibration"])) == ["CMU-MOSI", "Memotion"]


def test_diagrams_show_the_bins(figures, frames):
    drawn = figures["calibration"].axes[0].lines[1:]  # after the diagonal
    own = frames["bins"][frames["bins"]["dataset"] == "mosi"]
    for line, scaling in zip(drawn, reliability.SCALING_LOOKS, strict=True):
        part = own[own["scaling"] == scaling]
        assert line.get_xydata() == pytest.approx(part[["confidence", "accuracy"]].to_numpy())


def test_curves_are_means_over_seeds(figures, frames):
    axis = titled(figures["risk_coverage"])["Memotion, sentiment"]
    own = frames["curves"].query("dataset == 'memotion' and signal == 'confidence' and coverage >= 0.1")
    expected = own.groupby("coverage")["risk"].mean()
    colour = reliability.SIGNAL_LOOKS["confidence"][0]
    line = next(line for line in axis.lines if line.get_color() == colour)
    assert line.get_xydata() == pytest.approx(expected.reset_index().to_numpy())


def test_the_worst_subgroup_of_gexsent_is_ringed(figures, frames):
    own = frames["subgroups"].query("dataset == 'mosi' and system == 'gexsent'")
    rings = [line for axis in figures["subgroups_mosi"].axes for line in axis.lines if line.get_markersize() == 11]
    assert len(rings) == own["worst"].sum() > 0
    assert sorted(line.get_xdata()[0] for line in rings) == pytest.approx(sorted(own.loc[own["worst"], "value"]))


@pytest.mark.parametrize("name", reliability_tables.LAYOUTS)
def test_tables_have_a_text_for_every_row_in_every_format(name, frames):
    table = reliability_tables.build(name, frames[name], "sample")
    rows = table.rows()
    column, values, why = reliability_tables.PRINTED[name]
    kept = frames[name][column].isin(values)
    assert 0 < len(rows) == kept.sum()
    assert (why in render.markdown(table)) is (not kept.all())
    assert len(table.part().rows()) == len(frames[name])
    assert {len(row) for row in rows} == {len(table.heading)}
    assert not any(cell in ("nan", "None") or "nan" in cell for row in rows for cell in row)
    assert "Sample edition" in render.markdown(table)
    assert render.latex(table).count(r" \\") == len(rows) + 1
    pd.testing.assert_frame_equal(table.frame(), frames[name].round(6))


def test_a_part_of_a_table_keeps_its_marks(frames):
    table = reliability_tables.build("subgroups", frames["subgroups"], "sample")
    part = table.part(dataset="memotion", system="gexsent")
    assert {tuple(row[:2]) for row in part.rows()} == {("Memotion", "GEXSent")}
    worst = [row[5] for place, row in enumerate(part.rows()) if (place, 8) in part.bold]
    assert worst == part.numbers.loc[part.numbers["worst"], "subgroup"].tolist() != []
    assert part.heading[8] == "Value [95 %]"
