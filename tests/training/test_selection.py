"""Which epoch is kept, when training stops, and that validation says what the saved model does."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gexsent.training import loop


@pytest.fixture
def scripted(monkeypatch):
    """Validation losses from a list instead of from the model; what the model was at each of them is kept.

    Thresholds stay where they are, so that the weights that are saved are some of those.
    """

    def install(*losses):
        snapshots = []

        def validate(run):
            snapshots.append({name: value.clone() for name, value in run.averaged.state_dict().items()})
            return {"valid_loss": float(losses[len(snapshots) - 1])}

        monkeypatch.setattr(loop._Run, "validate", validate)
        monkeypatch.setattr(loop, "best_shifts", lambda task, *_: torch.zeros(task.outputs))
        return snapshots

    return install


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize(
    ("losses", "best"), [((3, 1, 2, 4), 1), ((1, 2, 3, 4), 0), ((4, 3, 2, 1), 3), ((2, 1, 1, 2), 1)]
)
def test_the_epoch_with_the_lowest_validation_loss_is_kept(tmp_path, make_job, make_params, scripted, losses, best):
    """The first of them where two are equal; of the running mean, which is not where the weights themselves are."""
    snapshots = scripted(*losses)
    record = loop.fit(make_job(), make_params(epochs=4, average=0.9), tmp_path)
    assert record["best_epoch"] == best + 1 and record["valid_loss"] == losses[best] and record["epochs"] == 4
    saved = load_file(tmp_path / "model.safetensors")
    assert [same(saved, snapshot) for snapshot in snapshots] == [index == best for index in range(4)]


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [
        ((1, 2, 3, 4, 5, 6), 1, 2),
        ((1, 2, 3, 4, 5, 6), 2, 3),
        ((3, 4, 2, 4, 5, 6), 2, 5),  # a better epoch starts the count again
        ((1, 1, 1, 1, 1, 1), 2, 3),  # as good is not better
        ((6, 5, 4, 3, 2, 1), 1, 6),
        ((1, 2, 3, 4, 5, 6), 10, 6),
    ],
)
def test_training_stops_after_so_many_epochs_without_a_better_one(
    tmp_path, make_job, make_params, scripted, losses, patience, epochs
):
    scripted(*losses)
    assert loop.fit(make_job(), make_params(epochs=6, patience=patience), tmp_path)["epochs"] == epochs


def test_a_resumed_fit_still_knows_its_best_epoch_and_its_patience(
    tmp_path, make_job, make_params, scripted, monkeypatch
):
    snapshots = scripted(3, 1, 2, 4, 5)
    original = loop._Run.one_epoch

    def dies_in_third(run):
        if len(snapshots) == 2:
            raise KeyboardInterrupt
        original(run)

    monkeypatch.setattr(loop._Run, "one_epoch", dies_in_third)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(make_job(), make_params(epochs=9, patience=2), tmp_path, save_every=0)
    monkeypatch.setattr(loop._Run, "one_epoch", original)
    record = loop.fit(make_job(), make_params(epochs=9, patience=2), tmp_path, save_every=0)
    assert (record["best_epoch"], record["epochs"]) == (2, 4)
    assert same(load_file(tmp_path / "model.safetensors"), snapshots[1])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_validation_loss_is_that_of_the_saved_model(tmp_path, make_job, make_params, monkeypatch, average):
    """Worked out again from the saved weights, with numpy, without the correction for uneven classes.

    The loss is of the model before its thresholds were set: what was added to the logits is taken away again.
    """
    job, shifts = make_job(), []
    original = loop.best_shifts
    monkeypatch.setattr(loop, "best_shifts", lambda *args: shifts.append(original(*args)) or shifts[-1])
    record = loop.fit(job, make_params(balance=0.0, average=average), tmp_path)
    heads = loop.predict(tmp_path, job.samples, job.valid_rows, batch=3)
    (shift,) = shifts
    assert shift.any()
    intensity, sentiment = heads["intensity"].double().numpy()[:, 0], (heads["sentiment"] - shift).double().numpy()
    wanted = job.targets[job.valid_rows].double().numpy()
    known = ~np.isnan(wanted)
    error = np.abs(intensity - wanted[:, 0])[known[:, 0]].mean()
    logs = sentiment - np.log(np.exp(sentiment).sum(1, keepdims=True))
    rows = np.flatnonzero(known[:, 1])
    entropy = -logs[rows, wanted[rows, 1].astype(int)].mean()
    assert record["valid_loss"] == pytest.approx((error + entropy) / 2, rel=1e-5)
    best = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[record["best_epoch"] - 1])
    assert best["valid_intensity"] == pytest.approx(error, rel=1e-5)
    assert best["valid_sentiment"] == pytest.approx(entropy, rel=1e-5)


def test_training_learns(tmp_path, make_job, make_params):
    """Validated on what it is trained on: how much of it a model of this size can be told is not the question here."""
    job = make_job()
    job = replace(job, valid_rows=job.train_rows)
    record = loop.fit(job, make_params(epochs=15, lr=0.03, token_dropout=0.0), tmp_path)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert record["valid_loss"] < 0.6 * history[0]["valid_loss"]
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_predictions_come_in_the_order_asked_for(tmp_path, make_job, make_params, batch):
    """Alone or in a batch, in any order, a sample gets the same prediction."""
    job = make_job()
    loop.fit(job, make_params(epochs=1), tmp_path)
    rows = torch.tensor([60, 3, 41, 10, 7])
    together = loop.predict(tmp_path, job.samples, rows, batch=batch)
    for place, row in enumerate(rows):
        alone = loop.predict(tmp_path, job.samples, row[None], batch=1)
        for name, values in together.items():
            torch.testing.assert_close(values[place], alone[name][0], rtol=1e-4, atol=1e-5)


def test_predicting_is_without_dropout(tmp_path, make_job, make_params):
    job = make_job()
    loop.fit(job, make_params(epochs=1), tmp_path)
    first, second = (loop.predict(tmp_path, job.samples, job.valid_rows, batch=8) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
