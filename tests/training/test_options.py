"""Every training setting changes what it says it changes."""

import json
import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from gexsent.training import loop
from gexsent.training.loop import _groups, _Run, _warmup_cosine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 2),
        ("epoch_steps", 2),
        ("batch", 5),
        ("lr", 0.02),
        ("weight_decay", 0.5),
        ("warmup", 0.5),
        ("clip", 0.01),
        ("token_dropout", 0.0),
        ("balance", 0.0),
        ("average", 0.9),
        ("encoder_lr", 0.02),
    ],
)
def test_each_setting_changes_the_weights(tmp_path, make_job, make_params, bytes_of, name, value):
    params, changed = make_params(), make_params(**{name: value})
    assert getattr(params, name) != value
    system = "gexsent_finetuned" if name == "encoder_lr" else "late_fusion"
    for folder, settings in (("a", params), ("b", changed)):
        loop.fit(make_job(system), settings, tmp_path / folder)
    assert bytes_of(tmp_path / "a")["model.safetensors"] != bytes_of(tmp_path / "b")["model.safetensors"]


def test_the_number_of_steps(tmp_path, make_job, make_params, steps):
    """38 rows in batches of 8 are five; an epoch ends after epoch_steps of them where that is fewer."""
    loop.fit(make_job("late_fusion"), make_params(epochs=2), tmp_path / "a")
    assert len(steps) == 2 * 5
    loop.fit(make_job("late_fusion"), make_params(epochs=2, epoch_steps=3), tmp_path / "b")
    assert len(steps) == 2 * 5 + 2 * 3


def test_a_bounded_epoch_still_visits_every_row_in_time(make_job, make_params, monkeypatch):
    """Each epoch shuffles anew: the rows that one leaves out come in another."""
    job, seen = make_job("text_only"), set()
    run = _Run(job, make_params(epoch_steps=2), "cpu")
    original = run.samples.batch
    monkeypatch.setattr(type(run.samples), "batch", lambda _, rows: seen.update(rows.tolist()) or original(rows))
    run.validate = lambda: {"valid_loss": 0.0}
    run.one_epoch()
    assert len(seen) in (14, 16)  # two of the batches of 8, or one of them and the last, of 6
    for _ in range(30):
        run.one_epoch()
    assert seen == set(job.train_rows.tolist())


def test_the_learning_rate_rises_then_falls_as_a_cosine(tmp_path, make_job, make_params, steps):
    """Ten steps, four of warm-up: 1/5, 2/5, 3/5, 4/5, then from 1 along half a cosine over the six that are left."""
    loop.fit(make_job("late_fusion"), make_params(epochs=2, warmup=0.4, lr=0.1), tmp_path)
    expected = [0.2, 0.4, 0.6, 0.8] + [0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert [step["lr"] for step in steps] == pytest.approx([0.1 * share for share in expected])


def test_the_schedule_counts_the_steps_of_bounded_epochs(tmp_path, make_job, make_params, steps):
    loop.fit(make_job("late_fusion"), make_params(epochs=2, epoch_steps=2, warmup=0.0, lr=1.0), tmp_path)
    assert [s["lr"] for s in steps] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


@pytest.mark.parametrize(("step", "warmup", "expected"), [(0, 0, 1), (0, 1, 0.5), (1, 1, 1), (10, 2, 0), (99, 2, 0)])
def test_the_ends_of_the_schedule(step, warmup, expected):
    assert _warmup_cosine(step, warmup, 10) == pytest.approx(expected)


def test_a_schedule_of_warm_up_alone():
    assert [_warmup_cosine(step, 4, 4) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_gradients_are_clipped(tmp_path, make_job, make_params, steps):
    loop.fit(make_job("late_fusion"), make_params(epochs=1, clip=1e6), tmp_path / "free")
    free = [step["norm"] for step in steps]
    steps.clear()
    limit = 0.5 * min(free)
    loop.fit(make_job("late_fusion"), make_params(epochs=1, clip=limit), tmp_path / "clipped")
    assert max(step["norm"] for step in steps) <= limit * 1.001


def test_weight_decay_pulls_matrices_and_nothing_else(make_job, make_params):
    """Without a gradient a step of AdamW is the decay alone: matrices shrink by 1 - lr * decay."""
    run = _Run(make_job(), make_params(lr=0.1, weight_decay=0.5, warmup=0.0), "cpu")
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    for name, parameter in run.model.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name], msg=name)


@pytest.mark.parametrize("system", ["gexsent", "gexsent_finetuned"])
def test_every_parameter_is_trained_once(make_job, make_params, system):
    model = _Run(make_job(system), make_params(), "cpu").model
    grouped = [id(p) for group in _groups(model, make_params()) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_encoder_layers_have_a_rate_of_their_own_and_the_same_schedule(make_job, make_params):
    run = _Run(make_job("gexsent_finetuned"), make_params(lr=0.1, encoder_lr=0.002, weight_decay=0.5, warmup=0), "cpu")
    layers = {id(p) for p in run.model.text_layers.parameters()}
    for group in run.optimizer.param_groups:
        assert {id(p) in layers for p in group["params"]} == {group["lr"] == 0.002}
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.5}
    run.one_epoch()  # 5 of 15 steps
    share = 0.5 * (1 + math.cos(math.pi * 5 / 15))
    assert sorted({group["lr"] for group in run.optimizer.param_groups}) == pytest.approx([0.002 * share, 0.1 * share])


def test_at_a_rate_of_nothing_the_encoder_layers_stay_as_they_come(tmp_path, make_job, make_params):
    job = make_job("gexsent_finetuned")
    before = {name: value.clone() for name, value in job.text_layers.state_dict().items()}
    for rate in (0.0, 0.01):
        loop.fit(job, make_params(encoder_lr=rate), tmp_path / str(rate))
        model, _ = loop.load_model(tmp_path / str(rate))
        found = model.text_layers.state_dict()
        assert all(torch.equal(value, before[name]) for name, value in found.items()) is (rate == 0)
    assert all(torch.equal(value, before[name]) for name, value in job.text_layers.state_dict().items())


@pytest.mark.parametrize("average", [0.0, 0.5, 0.98])
def test_a_running_mean_of_the_weights_is_what_is_validated(make_job, make_params, average):
    """Against a plain loop over the steps; the t-th decays by `average`, and by t / (t + 9) while that is less."""
    run = _Run(make_job("late_fusion"), make_params(average=average), "cpu")
    mean = {name: value.detach().double() for name, value in run.model.named_parameters()}
    count = 0

    def follow(*_):
        nonlocal count
        count += 1
        decay = min(average, count / (count + 9))
        for name, value in run.model.named_parameters():
            mean[name] = decay * mean[name] + (1 - decay) * value.detach().double()

    handle = register_optimizer_step_post_hook(follow)
    run.one_epoch()
    run.one_epoch()
    handle.remove()
    assert count == 10
    for name, value in run.averaged.named_parameters():
        torch.testing.assert_close(value.detach().double(), mean[name], atol=1e-6, rtol=1e-5, msg=name)
    same = all(torch.equal(value, run.model.state_dict()[name]) for name, value in run.averaged.state_dict().items())
    assert same is (average == 0)
    loss = run.history[-1]["valid_loss"]
    assert run.validate()["valid_loss"] == loss
    with torch.no_grad():
        next(run.averaged.heads.tasks["intensity"].parameters()).add_(1.0)
    assert run.validate()["valid_loss"] != loss


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_tokens_are_hidden_in_training_alone(make_job, make_params, share):
    """What the model is shown: fewer tokens while training, all of them in validation."""
    run = _Run(make_job("text_only"), make_params(token_dropout=share), "cpu")
    shown = {True: 0, False: 0}

    def count(model, inputs):
        shown[model.training] += int(inputs[0].text_mask.sum())

    for model in (run.model, run.averaged):
        model.register_forward_pre_hook(count)
    run.one_epoch()
    lengths = run.samples.text.lengths
    whole = int(lengths[run.job.train_rows].sum())
    assert (shown[True] == whole) if share == 0 else (shown[True] < 0.8 * whole)
    assert shown[False] == int(lengths[run.job.valid_rows].sum())


@pytest.mark.parametrize(("system", "share"), [("late_fusion", 0.5), ("late_fusion+dropout", 0.5)])
def test_modalities_are_hidden_in_the_training_of_the_variant_alone(make_job, make_params, system, share):
    run = _Run(make_job(system), make_params(token_dropout=0.0, modality_dropout=share), "cpu")
    with_both = {True: 0, False: 0}

    def count(model, inputs):
        with_both[model.training] += int((inputs[0].text_mask.any(1) & inputs[0].vision_mask.any(1)).sum())

    for model in (run.model, run.averaged):
        model.register_forward_pre_hook(count)
    run.one_epoch()
    lengths = [tokens.lengths > 0 for tokens in (run.samples.text, run.samples.vision)]
    there = lengths[0] & lengths[1]
    whole = int(there[run.job.train_rows].sum())
    assert with_both[False] == int(there[run.job.valid_rows].sum())
    assert with_both[True] < 0.8 * whole if "+" in system else with_both[True] == whole


def test_without_its_share_the_variant_is_the_system_itself_to_the_last_bit(tmp_path, make_job, make_params, bytes_of):
    params = make_params(modality_dropout=0.0)
    for name in ("gexsent", "gexsent+dropout"):
        loop.fit(make_job(name), params, tmp_path / name)
    weights = [bytes_of(tmp_path / name)["model.safetensors"] for name in ("gexsent", "gexsent+dropout")]
    assert weights[0] == weights[1]


def test_balance_reaches_the_criterion(make_job, make_params):
    """Counted among the training rows: the log of each class's share, with one added to each count."""
    job = make_job()
    labels = job.targets[job.train_rows, 1]
    counts = [int((labels == c).sum()) + 1 for c in range(3)]
    expected = [math.log(c / sum(counts)) for c in counts]
    for balance in (0.0, 0.25, 1.0):
        shifts = _Run(job, make_params(balance=balance), "cpu").criterion.shifts
        assert shifts["sentiment"].tolist() == pytest.approx([balance * e for e in expected])


def test_the_history_of_gexsent_tells_of_its_experts(tmp_path, make_job, make_params):
    loop.fit(make_job(dataset="memotion"), make_params(epochs=1), tmp_path)
    row = json.loads((tmp_path / "history.jsonl").read_text())
    tasks = [task.name for task in make_job(dataset="memotion").tasks]
    for group in ("text", "vision", "shared"):
        assert 0 <= row[f"entropy_{group}"] <= 1 and row[f"dead_{group}"] in (0, 1)
    assert {f"aux_{name}" for name in ("balance", "z", "group")} <= set(row)
    assert row["valid_loss"] == pytest.approx(sum(row[f"valid_{task}"] for task in tasks) / len(tasks), rel=1e-5)


@pytest.mark.parametrize(("system", "groups"), [("flat_moe", ["all"]), ("dense_ffn", []), ("late_fusion", [])])
def test_the_history_of_a_control_tells_of_the_groups_that_it_has(make_job, make_params, system, groups):
    run = _Run(make_job(system), make_params(epoch_steps=2), "cpu")
    run.one_epoch()
    assert [name for name in run.history[0] if name.startswith("entropy")] == [f"entropy_{group}" for group in groups]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ([0.5, 0.5], {"entropy_text": 1.0, "dead_text": 0}),
        ([1.0, 0.0], {"entropy_text": 0.0, "dead_text": 1}),
        ([0.5, 0.25, 0.25, 0.0], {"entropy_text": 1.5 * math.log(2) / math.log(4), "dead_text": 1}),
        ([0.995, 0.005], {"entropy_text": -(0.995 * math.log2(0.995) + 0.005 * math.log2(0.005)), "dead_text": 1}),
        ([0.0, 0.0], {}),
        ([1.0], {}),
    ],
)
def test_usage_of_experts(usage, expected):
    assert loop._usage("text", torch.tensor(usage)) == pytest.approx(expected, abs=1e-6)
