from collections import Counter

import pandas as pd
import pytest

from gexsent.data.splits import blocks, duplicate_groups, partitions
from gexsent.data.table import BLOCKS


def test_duplicates_join_by_picture_or_by_levelled_text_and_through_others():
    groups = duplicate_groups(
        ["a", "b", "c", "d", "e"],
        ["One  TEXT", "one text", "other", "alone", "more"],
        ["p", "q", "q", "r", "s"],
    )
    assert groups == ["a", "a", "a", "d", "e"]  # a-b by text, b-c by picture, so a-c


def test_nothing_joins_through_emptiness():
    assert duplicate_groups(["a", "b", "c"], ["", " ", ""], ["", "", ""]) == ["a", "b", "c"]


def test_late_links_join_whole_groups():
    groups = duplicate_groups(["a", "b", "c"], ["x", "y", "x"], ["", "p", "p"])
    assert groups == ["a", "a", "a"]


@pytest.fixture
def sized():
    """120 samples in 60 groups of uneven size, one class four times as common as the other."""
    groups = [f"g{number % 60 if number < 100 else number % 20}" for number in range(120)]
    return groups, [int(int(group[1:]) % 5 == 0) for group in groups]


def test_blocks_keep_groups_whole_and_classes_even(sized):
    groups, classes = sized
    names = blocks(groups, classes, seed=3)
    assert set(names) == set(BLOCKS)
    homes = {}
    for group, name in zip(groups, names, strict=True):
        assert homes.setdefault(group, name) == name
    sizes = Counter(names)
    assert max(sizes.values()) - min(sizes.values()) <= 6
    rare = Counter(name for name, label in zip(names, classes, strict=True) if label)
    assert set(rare) == set(BLOCKS)


def test_blocks_follow_the_seed(sized):
    assert blocks(*sized, seed=3) == blocks(*sized, seed=3)
    assert blocks(*sized, seed=3) != blocks(*sized, seed=4)


@pytest.mark.parametrize(
    ("groups", "classes"),
    [(["g"] * 30, [0] * 30), ([f"g{n}" for n in range(12)], [n % 3 for n in range(12)])],
    ids=["one group", "no class of ten"],
)
def test_too_few_rows_are_not_split(groups, classes):
    assert set(blocks(groups, classes, seed=1)) == {"block0"}


@pytest.mark.parametrize("size", range(4, 12))
def test_few_rows_make_fewer_blocks_where_fewer_will_do(size):
    names = blocks([f"g{n}" for n in range(size)], [n % 2 for n in range(size)], seed=1, least=2)
    assert set(names) == set(BLOCKS[: -(-size // 2)])  # as many as the commonest class has rows
    assert set(blocks(["a", "b", "b"], [0, 1, 2], seed=1, least=2)) == {"block0"}  # no class of two


def test_a_class_rarer_than_the_blocks_is_no_obstacle():
    names = blocks([f"g{n}" for n in range(60)], [int(n == 0) for n in range(60)], seed=1)
    assert set(names) == set(BLOCKS)


def test_an_official_split_is_one_partition():
    samples = pd.DataFrame({"id": ["a", "b"], "split": ["train", "test"]})
    assert {k: v.to_dict() for k, v in partitions(samples).items()} == {"official": {"a": "train", "b": "test"}}


def test_five_folds_test_each_sample_once_and_never_train_on_it(sized):
    groups, classes = sized
    ids = [f"i{number}" for number in range(len(groups))]
    samples = pd.DataFrame({"id": ids, "group": groups, "split": blocks(groups, classes, seed=3)})
    folds = partitions(samples)
    assert list(folds) == ["fold0", "fold1", "fold2", "fold3", "fold4"]
    tested = Counter(id_ for roles in folds.values() for id_ in roles.index[roles == "test"])
    assert tested == Counter(ids)
    home = samples.set_index("id")["group"]
    for roles in folds.values():
        assert set(roles) == {"train", "valid", "test"}
        assert (home.groupby(home).agg(lambda rows, roles=roles: roles[rows.index].nunique()) == 1).all()
        assert 0.15 < (roles == "test").mean() < 0.25
        assert 0.05 < (roles == "valid").mean() < 0.15
