"""Who is learned from and who is tested on."""

import numpy as np
import pytest

from gexsent.errors import DataError
from gexsent.posts import learn
from gexsent.tasks import Task

MOOD = Task("label0", "classes", 2, "mood", ("a", "b"))
STARS = Task("label0", "regression", 1, "stars")


@pytest.mark.parametrize(("task", "values"), [(MOOD, np.arange(200.0) % 2), (STARS, np.arange(200.0))])
def test_groups_stay_whole_and_each_part_has_its_share(task, values):
    groups = [f"g{number // 4}" for number in range(200)]
    roles = learn.deal(task, values, groups, 3)
    homes = {group: {role for g, role in zip(groups, roles, strict=True) if g == group} for group in groups}
    assert all(len(found) == 1 for found in homes.values())
    assert [(roles == role).sum() for role in learn.ROLES] == pytest.approx([140, 20, 40], abs=8)
    assert values[roles == "test"].mean() == pytest.approx(values.mean(), rel=0.2)
    assert learn.deal(task, values, groups, 3).tolist() == roles.tolist()
    assert learn.deal(task, values, groups, 4).tolist() != roles.tolist()


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_a_handful_of_groups_is_enough_for_three_parts(count):
    values, groups = np.arange(60.0) % 2, [f"g{number % count}" for number in range(60)]
    assert set(learn.deal(MOOD, values, groups, 0)) == set(learn.ROLES)


@pytest.mark.parametrize(("rows", "groups", "said"), [(9, 1, "9 posts in 1 group:"), (2, 2, "2 posts in 2 groups:")])
def test_too_few_groups_are_refused(rows, groups, said):
    with pytest.raises(DataError, match=f"{said} at least three groups of posts are needed"):
        learn.deal(MOOD, np.arange(float(rows)) % 2, [f"g{number % groups}" for number in range(rows)], 0)


def test_roles_are_taken_from_a_column_by_their_usual_names():
    roles = learn.given_roles(["Train", "dev", "TEST", "training"], "part", ["a", "b", "c", "d"])
    assert roles.tolist() == ["train", "valid", "test", "train"]


@pytest.mark.parametrize(
    ("cells", "groups", "message"),
    [
        (["train", "valid", "exam"], "abc", "column 'part': 'exam' is none of train, valid and test"),
        (["train", "valid", "valid"], "abc", "column 'part': no post has 'test'"),
        (["train", "valid", "test"], "aba", "lie in 'train' and in 'test'"),
    ],
)
def test_a_split_that_cannot_be_used_is_refused(cells, groups, message):
    with pytest.raises(DataError) as caught:
        learn.given_roles(cells, "part", list(groups))
    assert message in str(caught.value)


def test_few_posts_are_met_in_small_batches():
    assert [learn.training_for(count).batch for count in (1, 100, 400, 10_000)] == [8, 8, 32, 64]
