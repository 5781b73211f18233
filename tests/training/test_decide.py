"""Decision thresholds against plain loops and brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gexsent.datasets import LEVEL, PRESENT, SENTIMENT
from gexsent.decode import decode
from gexsent.training import loop
from gexsent.training.decide import best_shifts, decisions, expected_macro_f1, probabilities
from gexsent.training.loop import _Run, forward

HUMOUR = LEVEL[0]  # levels 0 to 3
TASKS = [SENTIMENT, PRESENT[0], HUMOUR]


def noise(*shape, seed=0, scale=2.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def class_count(task):
    return probabilities(task, torch.zeros(1, task.outputs)).shape[1]


def value(task, scores, frequency_logits):
    """Expected macro-F1 of these scores' decisions."""
    return float(expected_macro_f1(probabilities(task, frequency_logits), decisions(task, scores)))


@pytest.mark.parametrize("seed", range(5))
def test_expected_macro_f1_against_a_plain_loop(seed):
    probability = noise(7, 3, seed=seed).softmax(1)
    chosen = torch.randint(0, 3, (4, 7), generator=torch.Generator().manual_seed(seed))
    chosen[0] = 0  # two classes that nobody chose
    for row, found in zip(chosen.tolist(), expected_macro_f1(probability, chosen).tolist(), strict=True):
        total = 0.0
        for c in range(3):
            hits = sum(float(probability[i, c]) for i in range(7) if row[i] == c)
            total += 2 * hits / (row.count(c) + float(probability[:, c].sum()))
        assert found == pytest.approx(total / 3)


def test_of_certain_probabilities_it_is_macro_f1():
    truth, chosen = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0, 2])
    probability = torch.nn.functional.one_hot(truth).double()
    assert float(expected_macro_f1(probability, chosen)) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


def test_a_class_that_nobody_has_or_chooses_counts_0():
    assert float(expected_macro_f1(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))) == pytest.approx(0.5)


def test_probabilities_of_classes_and_levels_by_hand():
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log()
    torch.testing.assert_close(probabilities(SENTIMENT, logits), torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))
    above = torch.tensor([[0.9, 0.5, 0.2], [0.4, 0.7, 0.1]]).logit()
    # The second row passes level 1 no more often than level 0, whatever its head says.
    expected = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.6, 0.0, 0.3, 0.1]])
    torch.testing.assert_close(probabilities(HUMOUR, above), expected)
    torch.testing.assert_close(probabilities(PRESENT[0], above[:, :1]), torch.tensor([[0.1, 0.9], [0.6, 0.4]]))


@pytest.mark.parametrize("task", TASKS)
def test_decisions_are_those_that_are_decoded(task):
    scores = noise(200, task.outputs)
    columns = decode({task.name: scores.numpy()}, [task])
    lowest = -1 if task is SENTIMENT else 0
    np.testing.assert_array_equal(decisions(task, scores), columns[f"pred_{task.name}"] - lowest)
    stacked = decisions(task, torch.stack([scores, -scores]))
    assert torch.equal(stacked, torch.stack([decisions(task, scores), decisions(task, -scores)]))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rarity", [0.0, 2.0])
def test_two_classes_against_every_threshold(seed, rarity):
    scores = noise(9, 1, seed=seed)
    found = value(PRESENT[0], scores + best_shifts(PRESENT[0], scores, scores - rarity), scores - rarity)
    ordered = scores.flatten().sort().values
    cuts = [*((ordered[1:] + ordered[:-1]) / 2), ordered[0] - 1, ordered[-1] + 1]
    assert found == pytest.approx(max(value(PRESENT[0], scores - cut, scores - rarity) for cut in cuts))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rarity", [0.0, 2.0])
def test_three_classes_against_a_grid(seed, rarity):
    scores = noise(8, 3, seed=seed)
    frequency = scores - rarity * torch.tensor([0.1, 1.0, 1.0])
    found = value(SENTIMENT, scores + best_shifts(SENTIMENT, scores, frequency), frequency)
    steps = torch.linspace(-9, 9, 61, dtype=torch.float64)
    grid = torch.cartesian_prod(torch.zeros(1, dtype=torch.float64), steps, steps)
    tried = expected_macro_f1(probabilities(SENTIMENT, frequency), decisions(SENTIMENT, scores + grid[:, None]))
    assert found >= float(tried.max()) - 1e-3  # one shift at a time can stop just short of the best pair


@pytest.mark.parametrize("shares", [(0.23, 0.35, 0.32, 0.1), (0.39, 0.37, 0.21, 0.03)])
@pytest.mark.parametrize("signal", [0.1, 1.0, 3.0])
def test_levels_against_a_grid(shares, signal):
    """Shares of levels as in Memotion, and heads that agree more or less on how far up a sample stands."""
    above = 1 - torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1]
    scores = signal * (noise(200, 1, scale=1.0) + noise(200, 3, seed=1, scale=0.1))
    frequency = scores + above.logit()
    found = value(HUMOUR, scores + best_shifts(HUMOUR, scores, frequency), frequency)
    cuts = scores.quantile(torch.linspace(0, 1, 16, dtype=torch.float64), dim=0)
    grid = -torch.cartesian_prod(*cuts.T)
    tried = expected_macro_f1(probabilities(HUMOUR, frequency), decisions(HUMOUR, scores + grid[:, None]))
    assert found >= float(tried.max()) - 1e-3
    assert found > value(HUMOUR, scores, frequency) + 0.05


@pytest.mark.parametrize("task", TASKS)
def test_who_knows_nothing_chooses_each_class_as_often_as_it_occurs(task):
    shares = torch.tensor({2: [0.8, 0.2], 3: [0.2, 0.1, 0.7], 4: [0.4, 0.3, 0.2, 0.1]}[class_count(task)])
    scores = noise(1000, task.outputs, scale=1e-4)
    prior = shares.log() if task is SENTIMENT else (1 - shares.cumsum(0)[:-1]).logit()
    chosen = decisions(task, scores + best_shifts(task, scores, scores + prior).double())
    torch.testing.assert_close(torch.bincount(chosen, minlength=len(shares)) / 1000, shares, atol=0.03, rtol=0)


@pytest.mark.parametrize("task", TASKS)
def test_who_knows_all_keeps_its_decisions(task):
    """One sample in a hundred is of the rare class: it is not worth choosing more often than it occurs."""
    count = class_count(task)
    truth = torch.arange(count).repeat_interleave(torch.tensor([100] * (count - 1) + [1]))
    if task is SENTIMENT:
        scores = 40.0 * torch.nn.functional.one_hot(truth, count).double()
    else:
        scores = torch.where(truth[:, None] > torch.arange(task.outputs), 20.0, -20.0).double()
    assert not best_shifts(task, scores, scores).any()


def test_a_shift_is_no_greater_than_it_must_be():
    """Where a stretch of thresholds is as good as none, none is moved."""
    scores = torch.tensor([[3.0], [2.0], [-2.0], [-3.0]], dtype=torch.float64)
    assert not best_shifts(PRESENT[0], scores, 9 * scores).any()
    # Here the two upper ones are worth choosing: any shift between -3 and -2 does it.
    scores = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    assert -2.1 < float(best_shifts(PRESENT[0], scores, scores - 3)) < -2


@pytest.fixture
def finished(make_job, make_params):
    """A run at its best epoch, its heads on the validation rows before and after the thresholds were set."""

    def finish(system="gexsent", targets=None, **changes):
        job = make_job(system, dataset="memotion" if system != "text_only" else "mosi")
        run = _Run(job, make_params(epoch_steps=3, **changes), "cpu")
        for _ in range(2):
            run.one_epoch()
        run.model.load_state_dict(run.best_weights)
        before = forward(run.model, run.samples, job.valid_rows, batch=8)
        if targets is not None:
            run.job = replace(job, targets=targets(job))
            run.targets = run.job.targets
        run.finish()
        return run, before, forward(run.model, run.samples, job.valid_rows, batch=8)

    return finish


@pytest.mark.parametrize(
    ("system", "balance"), [("gexsent", 1.0), ("gexsent", 0.5), ("text_only", 1.0), ("released", 1.0)]
)
def test_a_finished_model_decides_better_by_its_own_account(finished, system, balance):
    run, before, after = finished(system, balance=balance)
    gains = []
    for task in run.job.tasks:
        if task.kind == "regression":
            assert torch.equal(before[task.name], after[task.name])
            continue
        frequency = before[task.name] + run.criterion.shifts[task.name]
        gains.append(value(task, after[task.name], frequency) - value(task, before[task.name], frequency))
        # One shift for all samples: what the model says of one sample against another stays as it was.
        shift = after[task.name] - before[task.name]
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)
    assert min(gains) > -1e-6
    assert max(gains) > 0.01


def test_only_heads_are_touched(finished):
    run, _, _ = finished()
    changed = {n for n, v in run.model.state_dict().items() if not torch.equal(v, run.best_weights[n])}
    assert changed and changed <= {f"heads.tasks.{task.name}.bias" for task in run.job.tasks}


def test_no_label_is_read(finished):
    """With the labels of all rows but those that training counted scrambled, or gone, the thresholds are the same."""

    def scrambled(job):
        targets = job.targets.clone()
        targets[job.valid_rows] = targets[job.valid_rows.flip(0)]
        return targets

    def gone(job):
        return torch.full_like(job.targets, float("nan"))

    states = [finished(targets=targets)[0].model.state_dict() for targets in (None, scrambled, gone)]
    for state in states[1:]:
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_what_is_saved_has_its_thresholds_set(tmp_path, make_job, make_params):
    job, params = make_job(dataset="memotion"), make_params(epochs=1)
    run = _Run(job, params, "cpu")
    run.one_epoch()
    run.finish()
    loop.fit(job, params, tmp_path)
    saved = loop.load_model(tmp_path)[0].state_dict()
    assert all(torch.equal(saved[name], weights) for name, weights in run.model.state_dict().items())
