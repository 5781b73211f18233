"""Losses of each kind of task, worked out by hand."""

import math

import numpy as np
import pytest
import torch

from gexsent.datasets import INTENSITY, LEVEL, PRESENT, SENTIMENT
from gexsent.training.losses import Criterion, total

NAN = float("nan")
HUMOUR, MOTTO = LEVEL[0], LEVEL[3]


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def plain(task):
    """A criterion of one task without any correction."""
    return Criterion.fit((task,), column(0, 1), balance=0.0)


def softplus(x):
    return math.log1p(math.exp(x))


def test_regression_is_the_mean_absolute_error():
    loss = plain(INTENSITY)({"intensity": column(1, 0, -2)}, column(3, NAN, -2.5))
    assert float(loss["intensity"]) == pytest.approx((2 + 0.5) / 2)  # over the two that have a label


def test_classes_are_cross_entropy():
    logits = torch.tensor([[1.0, 2.0, 5.0], [4.0, 1.0, 1.0], [0.0, 0.0, 0.0]]).log().nan_to_num(neginf=0)
    loss = plain(SENTIMENT)({"sentiment": logits}, column(2, 0, NAN))
    assert float(loss["sentiment"]) == pytest.approx(-(math.log(5 / 8) + math.log(4 / 6)) / 2)


def test_binary_is_logistic_loss():
    loss = plain(PRESENT[0])({"humour_present": column(2, -1, 3)}, column(1, 1, 0))
    assert float(loss["humour_present"]) == pytest.approx((softplus(-2) + softplus(1) + softplus(3)) / 3)


def test_ordinal_asks_of_each_threshold_whether_it_is_passed():
    """Level 2 of 0..3: yes, yes, no."""
    logits = torch.tensor([[1.0, -0.5, 2.0]])
    loss = plain(HUMOUR)({"humour_level": logits}, column(2))
    assert float(loss["humour_level"]) == pytest.approx((softplus(-1) + softplus(0.5) + softplus(2)) / 3)
    zero = plain(HUMOUR)({"humour_level": logits}, column(0))
    assert float(zero["humour_level"]) == pytest.approx((softplus(1) + softplus(-0.5) + softplus(2)) / 3)


@pytest.mark.parametrize("task", [INTENSITY, SENTIMENT, PRESENT[0], HUMOUR])
def test_a_missing_label_neither_counts_nor_pulls(task):
    logits = torch.randn(3, task.outputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    criterion = plain(task)
    with_missing = criterion({task.name: logits}, column(1, NAN, 0))[task.name]
    without = criterion({task.name: logits[[0, 2]]}, column(1, 0))[task.name]
    assert float(with_missing.detach()) == pytest.approx(float(without.detach()))
    with_missing.backward()
    assert logits.grad.isfinite().all() and not logits.grad[1].any() and logits.grad[[0, 2]].any()


@pytest.mark.parametrize("task", [INTENSITY, SENTIMENT, PRESENT[0], HUMOUR])
def test_a_batch_without_a_label_costs_0_and_can_be_differentiated(task):
    logits = torch.ones(2, task.outputs, requires_grad=True)
    loss = plain(task)({task.name: logits}, column(NAN, NAN))[task.name]
    assert float(loss.detach()) == 0
    loss.backward()
    assert not logits.grad.any()


def test_the_total_is_the_plain_mean_over_tasks():
    assert float(total({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})) == 3


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_the_shift_of_classes_is_the_log_of_their_share(balance):
    """Counts 4, 1, 0 with one added each: 5, 2, 1 of 8. Missing labels are not counted."""
    criterion = Criterion.fit((SENTIMENT,), column(0, 0, 0, 0, 1, NAN, NAN), balance)
    assert criterion.shifts["sentiment"].tolist() == pytest.approx([balance * math.log(s / 8) for s in (5, 2, 1)])


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_the_shift_of_a_threshold_is_the_log_of_its_odds(balance):
    """Levels 0 0 1 2 with one added above and below: 3 to 3, 2 to 4, 1 to 5."""
    criterion = Criterion.fit((HUMOUR,), column(0, 0, 1, 2, NAN), balance)
    odds = [3 / 3, 2 / 4, 1 / 5]
    assert criterion.shifts["humour_level"].tolist() == pytest.approx([balance * math.log(o) for o in odds])
    binary = Criterion.fit((PRESENT[0],), column(1, 1, 1, 0, NAN), balance)
    assert binary.shifts["humour_present"].tolist() == pytest.approx([balance * math.log(4 / 2)])


def test_regression_has_no_shift():
    assert Criterion.fit((INTENSITY,), column(1, 2), 1.0).shifts == {}


def test_the_shift_is_added_to_the_logits_while_training():
    criterion = Criterion.fit((SENTIMENT, PRESENT[0]), torch.tensor([[0.0, 1], [0, 1], [0, 1], [1, 0]]), 1.0)
    heads = {"sentiment": torch.zeros(1, 3), "humour_present": torch.zeros(1, 1)}
    losses = criterion(heads, torch.tensor([[1.0, 0.0]]))
    assert float(losses["sentiment"]) == pytest.approx(-math.log(2 / 7))  # counts 4, 2, 1
    assert float(losses["humour_present"]) == pytest.approx(softplus(math.log(4 / 2)))


@pytest.mark.parametrize(("balance", "best"), [(1.0, 0.0), (0.0, -math.log(9))])
def test_the_correction_makes_frequency_cost_nothing(balance, best):
    """Nine absent to one present and nothing to tell them apart: with it even odds are best, without it one to nine."""
    labels = column(*[0] * 9_000, *[1] * 1_000)
    logit = torch.tensor([[best]], requires_grad=True)
    heads = {"humour_present": logit.expand(len(labels), 1)}
    Criterion.fit((PRESENT[0],), labels, balance)(heads, labels)["humour_present"].backward()
    assert float(logit.grad) == pytest.approx(0, abs=1e-4)  # a convex loss: where it is flat it is least


def test_targets_of_several_tasks_are_read_in_order():
    tasks = (INTENSITY, SENTIMENT, MOTTO)
    wanted = torch.tensor([[2.0, 0.0, 1.0], [NAN, 1.0, NAN]])
    heads = {
        "motivational_level": column(0, 0),
        "intensity": column(1, 1),
        "sentiment": torch.tensor([[0.0, -50, -50], [-50, 0, -50]]),
    }
    losses = Criterion.fit(tasks, wanted, 0.0)(heads, wanted)
    assert list(losses) == ["intensity", "sentiment", "motivational_level"]
    np.testing.assert_allclose([float(v) for v in losses.values()], [1, 0, math.log(2)], atol=1e-6)
