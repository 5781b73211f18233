import numpy as np
import pytest

from gexsent.evaluation import subgroups
from gexsent.evaluation.compare import count_groups


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    families = {"kind": rng.choice(["a", "b"], 90), "size": np.repeat(["x", "y", "z"], [50, 35, 5])}
    return rng.random(90), families, rng.integers(0, 12, 90)


def test_values_are_those_computed_directly(rows):
    values, families, groups = rows
    table = subgroups.by_subgroup(values, families, groups, higher_is_worse=True, draws=50)
    assert table["family"].tolist() == ["all rows", "kind", "kind", "size", "size", "size"]
    assert table["value"].iloc[0] == pytest.approx(values.mean())
    for row in table.iloc[1:].itertuples():
        mine = families[row.family] == row.subgroup
        assert row.rows == mine.sum()
        assert row.groups == len(set(groups[mine]))
        assert row.value == pytest.approx(values[mine].mean())
        assert row.difference == pytest.approx(values[mine].mean() - values.mean())
        assert row.low <= row.value <= row.high


def test_intervals_are_those_of_rows_written_out(rows):
    values, families, groups = rows
    table = subgroups.by_subgroup(values, families, groups, higher_is_worse=True, draws=60, seed=3)
    drawn, apart = [], []
    for counts in np.concatenate(list(count_groups(12, 60, 3))):
        picked = np.concatenate([np.tile(np.flatnonzero(groups == g), k) for g, k in enumerate(counts)])
        mine = picked[families["kind"][picked] == "a"]
        drawn.append(values[mine].mean())
        apart.append(values[mine].mean() - values[picked].mean())
    row = table[table["subgroup"] == "a"].iloc[0]
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(drawn, (2.5, 97.5)))
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(np.percentile(apart, (2.5, 97.5)))


@pytest.mark.parametrize(("higher_is_worse", "worst"), [(True, "y"), (False, "x")])
def test_the_worst_subgroup_has_enough_rows(rows, higher_is_worse, worst):
    """z is at both ends, and too small to be named."""
    _, families, groups = rows
    values = np.repeat([0.2, 0.6, 9.0 if higher_is_worse else 0.0], [50, 35, 5])
    table = subgroups.by_subgroup(values, {"size": families["size"]}, groups, higher_is_worse=higher_is_worse, draws=20)
    assert table.loc[table["worst"], "subgroup"].tolist() == [worst]


def test_a_family_of_one_is_all_rows_once_more(rows):
    values, _, groups = rows
    table = subgroups.by_subgroup(values, {"only": ["a"] * 90}, groups, higher_is_worse=True, draws=20)
    assert table["subgroup"].tolist() == ["all rows"]
    assert not table["worst"].any()


def test_a_subgroup_that_a_draw_lacks_is_left_out_of_it():
    values, groups = np.array([1.0, 1.0, 5.0]), np.array([0, 1, 2])
    table = subgroups.by_subgroup(values, {"f": ["a", "a", "b"]}, groups, higher_is_worse=True, draws=50)
    assert table[table["subgroup"] == "b"][["low", "high"]].to_numpy().tolist() == [[5.0, 5.0]]


def test_thirds():
    parts = subgroups.thirds(np.array([13, 1, 2, 29, 28, 27, 15, 14, 3]), "words")
    assert parts.categories.tolist() == ["1 to 3 words", "13 to 15 words", "27 to 29 words"]  # rising, not by letters
    assert parts.codes.tolist() == [1, 0, 0, 2, 2, 2, 1, 1, 0]
    assert subgroups.thirds(np.array([1] * 8 + [2, 5]), "rows").tolist() == ["1 rows"] * 8 + ["2 to 5 rows"] * 2
    assert set(subgroups.thirds(np.full(5, 4), "rows")) == {"4 rows"}


def test_subgroups_stand_in_the_order_of_thirds():
    sizes = subgroups.thirds(np.arange(8, 14), "words")
    table = subgroups.by_subgroup(np.ones(6), {"length": sizes}, np.arange(6), higher_is_worse=True, draws=20)
    assert table["subgroup"].tolist() == ["all rows", "8 to 9 words", "10 to 11 words", "12 to 13 words"]
