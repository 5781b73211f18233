import json
import math

import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.report import scores
from gexsent.report.columns import MAE, Column

SUMMARY = {"gexsent": {"mae": {"mean": 0.5, "sd": 0.1, "n": 2}}, "text_only": {"mae": {"mean": 0.7, "sd": 0.2, "n": 2}}}


PAIR = ["mae", "text_only", "gexsent", 0.2, 0.1, 0.3, 0.01, 0.02, 31, 2]
OWN = [["mae", "gexsent", 0.5, 0.4, 0.6, 31, 2, 0], ["mae", "text_only", 0.7, 0.6, 0.8, 31, 2, 0]]
COST = ["gexsent", 1000, 123456, 13, 0]


def leave(results, summary=SUMMARY, rows=(1200, 1200), pair=PAIR):
    folder, comparisons = results / "metrics", results / "comparisons"
    for made in (folder, comparisons):
        made.mkdir(exist_ok=True)
    pd.DataFrame([pair], columns=PAIR_COLUMNS).to_csv(comparisons / "mosi.csv", index=False)
    pd.DataFrame(OWN, columns=OWN_COLUMNS).to_csv(comparisons / "mosi_intervals.csv", index=False)
    pd.DataFrame([[*COST]], columns=scores.COST_COLUMNS).to_csv(folder / "mosi_cost.csv", index=False)
    (folder / "mosi.json").write_text(json.dumps(summary))
    records = [
        {"system": system, "seed": seed, "partitions": 1, "rows": count, "mae": 0.5}
        for system, count in zip(("gexsent", "text_only"), rows, strict=True)
        for seed in (0, 1)
    ]
    pd.DataFrame(records).to_csv(folder / "mosi_seeds.csv", index=False)


def test_reads_means_and_seeds(tmp_path):
    leave(tmp_path)
    found = scores.read(tmp_path, "mosi")
    assert found.dataset == "mosi"
    assert found.cell("text_only", "mae") == {"mean": 0.7, "sd": 0.2, "n": 2}
    assert found.cell("text_only", "corr") == found.cell("nobody", "mae") == {"mean": None, "sd": None, "n": 0}
    assert found.seeds["seed"].tolist() == [0, 1, 0, 1]
    assert [found.count(name) for name in ("seeds", "partitions", "rows")] == ["2", "1", "1,200"]
    assert found.pairs.to_numpy().tolist() == [PAIR]
    assert found.intervals.to_numpy().tolist() == OWN
    assert found.costs.to_numpy().tolist() == [COST]


def test_only_some_systems_and_the_comparisons_between_them(tmp_path):
    leave(tmp_path)
    whole = scores.read(tmp_path, "mosi")
    part = whole.only(["text_only"])
    assert list(part.summary) == ["text_only"]
    assert set(part.seeds["system"]) == set(part.intervals["system"]) == {"text_only"}
    assert part.pairs.empty  # its reference is gone
    assert part.costs.empty
    assert part.count("rows") == "1,200"
    both = whole.only(["text_only", "gexsent"])
    pd.testing.assert_frame_equal(both.pairs, whole.pairs)


def test_counts_that_differ_between_systems_are_a_range(tmp_path):
    leave(tmp_path, rows=(1190, 1200))
    assert scores.read(tmp_path, "mosi").count("rows") == "1,190–1,200"


def test_a_data_set_that_is_left_out_has_no_scores(tmp_path):
    assert scores.read(tmp_path, "mosi") is None
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "mosi.json").write_text("{}\n")
    (tmp_path / "metrics" / "mosi_seeds.csv").write_bytes(b"")
    assert scores.read(tmp_path, "mosi") is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "metrics/mosi.json").write_text('{"gexsent": '), r"mosi\.json: cannot be read as JSON"),
        (lambda r: (r / "metrics/mosi_seeds.csv").write_bytes(b""), r"mosi_seeds\.csv: cannot be read"),
        (lambda r: (r / "metrics/mosi_seeds.csv").unlink(), r"mosi_seeds\.csv: cannot be read"),
        (lambda r: leave(r, {"gexsent": SUMMARY["gexsent"]}), "name different systems"),
        (lambda r: (r / "comparisons/mosi.csv").unlink(), r"comparisons/mosi\.csv: cannot be read"),
        (lambda r: (r / "comparisons/mosi_intervals.csv").write_bytes(b""), r"mosi_intervals\.csv: cannot be read"),
        (
            lambda r: (r / "comparisons/mosi.csv").write_text("metric,system\n"),
            r"mosi\.csv: its columns are not metric",
        ),
        (lambda r: (r / "metrics/mosi_cost.csv").unlink(), r"mosi_cost\.csv: cannot be read"),
        (lambda r: leave(r, pair=["mae", "late_fusion", *PAIR[2:]]), r"comparisons/mosi\.csv name different systems"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, spoil, message):
    leave(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        scores.read(tmp_path, "mosi")


def measured(means, p_holm, metric="mae"):
    """Scores with these means, and the p of each other system against GEXSent."""
    summary = {system: {metric: {"mean": mean, "sd": 0.1, "n": 2}} for system, mean in means.items()}
    pairs = [[metric, system, "gexsent", 0, 0, 0, p, p, 31, 2] for system, p in p_holm.items()]
    return scores.Scores("mosi", summary, pd.DataFrame(), pd.DataFrame(pairs, columns=PAIR_COLUMNS))


@pytest.mark.parametrize(
    ("means", "p_holm", "winner"),
    [
        ((0.5, 0.6, 0.7), (0.01, 0.04), "gexsent"),
        ((0.5, 0.6, 0.7), (0.05, 0.01), None),  # not told apart from one of them
        ((0.5, 0.6, 0.7), (0.01, math.nan), None),  # no test is no evidence
        ((0.6, 0.5, 0.7), (0.01, 0.9), "text_only"),  # better than GEXSent; the third is not asked
        ((0.6, 0.5, 0.7), (0.06, 0.01), None),
        ((0.6, None, 0.5), (math.nan, 0.01), "released"),
        ((None, None, None), (math.nan, math.nan), None),
    ],
)
def test_a_winner_has_the_best_mean_and_a_test_that_bears_it_out(means, p_holm, winner):
    names = ("gexsent", "text_only", "released")
    found = measured(dict(zip(names, means, strict=True)), dict(zip(names[1:], p_holm, strict=True)))
    assert found.winner(MAE) == winner
    assert found.winner(Column("corr", "Corr", "own units")) is None  # not tested


def test_a_winner_is_the_highest_where_higher_is_better():
    found = measured({"gexsent": 0.5, "text_only": 0.6}, {"text_only": 0.01}, metric="corr")
    assert found.winner(Column("corr", "Corr", "own units")) == "text_only"
    assert measured({"gexsent": 0.5}, {}).winner(MAE) is None  # alone is not best
