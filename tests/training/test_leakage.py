"""Nothing is learnt from rows that are not there to train on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gexsent.model import SYSTEMS as EVERY_SYSTEM
from gexsent.model.parts import TokenInput
from gexsent.training import loop
from gexsent.training.data import Tokens
from gexsent.training.loop import _Run

TEST_ROWS = torch.arange(54, 64)
SYSTEMS = ("gexsent", "text_only", "vision_only", "late_fusion", "tfn", "mult", "misa", "released", "gexsent_finetuned")


def scaled(samples, rows, factor):
    """The same samples, the features of `rows` multiplied."""
    owner = [torch.repeat_interleave(torch.arange(64), t.lengths) for t in (samples.text, samples.vision)]
    text, vision = (
        Tokens(torch.where(torch.isin(who, rows)[:, None], factor * t.values, t.values), t.offsets)
        for who, t in zip(owner, (samples.text, samples.vision), strict=True)
    )
    return replace(samples, text=text, vision=vision)


@pytest.mark.parametrize("system", SYSTEMS)
def test_test_rows_change_nothing(tmp_path, make_job, make_params, bytes_of, system):
    """Their features a hundred times as large and their targets scrambled: the same weights and the same history."""
    job = make_job(system)
    targets = job.targets.clone()
    targets[TEST_ROWS] = targets[TEST_ROWS.flip(0)].nan_to_num(0) * 0 + 2
    changed = replace(job, samples=scaled(job.samples, TEST_ROWS, 100), targets=targets)
    assert not torch.equal(changed.samples.text.values, job.samples.text.values)
    for name, one in (("a", job), ("b", changed)):
        loop.fit(one, make_params(epochs=2, epoch_steps=2), tmp_path / name)
    first, second = bytes_of(tmp_path / "a"), bytes_of(tmp_path / "b")
    for name in ("model.safetensors", "history.jsonl", "config.json"):
        assert first[name] == second[name]


def test_the_same_change_of_a_training_row_does_change_the_fit(tmp_path, make_job, make_params, bytes_of):
    """Without this the test above could pass because nothing is read at all."""
    job = make_job()
    changed = replace(job, samples=scaled(job.samples, job.train_rows[:3], 100))
    for name, one in (("a", job), ("b", changed)):
        loop.fit(one, make_params(), tmp_path / name)
    assert bytes_of(tmp_path / "a")["model.safetensors"] != bytes_of(tmp_path / "b")["model.safetensors"]


def test_validation_rows_choose_the_epoch_and_teach_nothing(make_job, make_params):
    """Other labels and features there: the model takes the same steps."""
    job = make_job()
    targets = job.targets.clone()
    targets[job.valid_rows] = 0
    changed = replace(job, samples=scaled(job.samples, job.valid_rows, 100), targets=targets)
    ends = []
    for one in (job, changed):
        run = _Run(one, make_params(), "cpu")
        for _ in range(3):
            run.one_epoch()
        ends.append((run.model.state_dict(), run.history))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    assert [r["train_loss"] for r in ends[0][1]] == [r["train_loss"] for r in ends[1][1]]
    assert [r["valid_loss"] for r in ends[0][1]] != [r["valid_loss"] for r in ends[1][1]]


def test_the_criterion_counts_classes_among_training_rows(make_job, make_params):
    job = make_job(dataset="memotion")
    targets = job.targets.clone()
    targets[job.valid_rows] = 1
    targets[TEST_ROWS] = 1
    shifts, others = (_Run(one, make_params(), "cpu").criterion.shifts for one in (job, replace(job, targets=targets)))
    assert all(torch.equal(shifts[name], others[name]) for name in shifts)


@pytest.mark.parametrize("system", [s for s in EVERY_SYSTEM if not s.startswith("released")])
def test_features_are_standardised_by_training_tokens(make_job, make_params, system):
    """The buffers against numpy over the tokens of the training rows, each modality by its own."""
    job = make_job(system)
    found = {n: m for n, m in _Run(job, make_params(), "cpu").model.named_modules() if isinstance(m, TokenInput)}
    for name, module in found.items():
        sees_vision = "vision" in name or system == "vision_only"
        tokens = job.samples.vision if sees_vision else job.samples.frozen_text or job.samples.text
        offsets, values = tokens.offsets.numpy(), tokens.values.double().numpy()
        kept = np.concatenate([values[offsets[r] : offsets[r + 1]] for r in job.train_rows.tolist()])
        np.testing.assert_allclose(module.mean, kept.mean(0), rtol=1e-5)
        np.testing.assert_allclose(module.deviation, kept.std(0), rtol=1e-5)
    assert len(found) == (1 if "only" in system else 2)


def test_the_statistics_are_saved_with_the_model(tmp_path, make_job, make_params):
    job = make_job()
    loop.fit(job, make_params(epochs=1), tmp_path)
    model, _ = loop.load_model(tmp_path)
    torch.testing.assert_close(model.text_in.mean, job.samples.text.statistics(job.train_rows)[0])
