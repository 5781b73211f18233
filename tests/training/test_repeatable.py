"""The same seed gives the same bytes, whether or not the fit was stopped on the way."""

import copy
import json
import shutil
from dataclasses import replace

import pytest
import torch

from gexsent import digest
from gexsent.errors import DataError
from gexsent.training import loop

SYSTEMS = ("gexsent", "flat_moe", "text_only", "late_fusion", "mult", "misa", "released", "gexsent_finetuned")
EVERY = {"gexsent", "no_gam", "gexsent_finetuned", "text_only", "mult", "misa", "released", "released_masked"}


class Killed(Exception):
    """Stands for the process being killed between two epochs."""


@pytest.fixture
def kill_after(monkeypatch):
    """Make every fit die when it would begin the epoch after `count`; None lets it live. Counts the epochs run."""
    original, counter = loop._Run.one_epoch, {"epochs": 0, "limit": None}

    def one_epoch(run):
        if counter["limit"] is not None and counter["epochs"] == counter["limit"]:
            raise Killed
        counter["epochs"] += 1
        original(run)

    def set_limit(limit):
        counter.update(epochs=0, limit=limit)
        return counter

    monkeypatch.setattr(loop._Run, "one_epoch", one_epoch)
    return set_limit


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_same_seed_gives_the_same_bytes(tmp_path, make_job, make_params, bytes_of, system):
    for name in "ab":
        loop.fit(make_job(system), make_params(epochs=2, epoch_steps=2), tmp_path / name)
        torch.rand(17)  # what else draws random numbers in the process does not matter
    first, second = bytes_of(tmp_path / "a"), bytes_of(tmp_path / "b")
    layers = {"text_layers.json"} if system == "gexsent_finetuned" else set()
    assert set(first) == {"model.safetensors", "config.json", "tasks.json", "history.jsonl", "fit.json"} | layers
    assert first == second


def test_another_seed_differs_in_weights_and_in_course(tmp_path, make_job, make_params, bytes_of):
    for seed in (0, 1):
        loop.fit(make_job(seed=seed), make_params(), tmp_path / str(seed))
    first, second = bytes_of(tmp_path / "0"), bytes_of(tmp_path / "1")
    for name in ("model.safetensors", "history.jsonl", "fit.json"):
        assert first[name] != second[name]
    assert first["config.json"] == second["config.json"]


@pytest.mark.parametrize(
    ("system", "limit"), [("gexsent", 1), ("gexsent", 3), ("late_fusion", 2), ("released", 2), ("gexsent_finetuned", 2)]
)
def test_a_killed_fit_goes_on_to_the_same_bytes(tmp_path, make_job, make_params, bytes_of, kill_after, system, limit):
    job, params = make_job(system), make_params(epochs=4, epoch_steps=2, average=0.9)
    loop.fit(job, params, tmp_path / "whole")
    kill_after(limit)
    with pytest.raises(Killed):
        loop.fit(job, params, tmp_path / "killed", save_every=0)
    assert not (tmp_path / "killed" / "fit.json").exists()
    torch.manual_seed(99)
    counter = kill_after(None)
    loop.fit(job, params, tmp_path / "killed", save_every=0)
    assert counter["epochs"] == 4 - limit  # it went on; it did not start again
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")  # and no resume.pt stays


def test_killed_twice(tmp_path, make_job, make_params, bytes_of, kill_after):
    job, params = make_job(), make_params(epochs=4)
    loop.fit(job, params, tmp_path / "whole")
    for _ in range(2):
        kill_after(1)
        with pytest.raises(Killed):
            loop.fit(job, params, tmp_path / "killed", save_every=0)
    kill_after(None)
    loop.fit(job, params, tmp_path / "killed", save_every=0)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_save_every_is_what_a_kill_can_cost(tmp_path, make_job, make_params, bytes_of, kill_after):
    """Saving every hour, a fit killed after three epochs starts again, and ends the same."""
    job, params = make_job(), make_params(epochs=4)
    loop.fit(job, params, tmp_path / "whole")
    kill_after(3)
    with pytest.raises(Killed):
        loop.fit(job, params, tmp_path / "killed", save_every=3600)
    assert not (tmp_path / "killed" / "resume.pt").exists()
    counter = kill_after(None)
    loop.fit(job, params, tmp_path / "killed", save_every=3600)
    assert counter["epochs"] == 4
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_the_state_of_other_settings_is_not_taken_up(tmp_path, make_job, make_params, bytes_of, kill_after):
    job = make_job()
    kill_after(2)
    with pytest.raises(Killed):
        loop.fit(job, make_params(lr=0.5), tmp_path / "fit", save_every=0)
    kill_after(None)
    loop.fit(job, make_params(), tmp_path / "fit")
    loop.fit(job, make_params(), tmp_path / "fresh")
    assert bytes_of(tmp_path / "fit") == bytes_of(tmp_path / "fresh")


def test_a_finished_fit_is_not_run_again(tmp_path, make_job, make_params, bytes_of, kill_after):
    counter = kill_after(None)
    record = loop.fit(make_job(), make_params(), tmp_path)
    before = bytes_of(tmp_path)
    assert counter["epochs"] == 3
    assert loop.fit(make_job(), make_params(), tmp_path) == record
    assert counter["epochs"] == 3
    assert bytes_of(tmp_path) == before


def test_a_finished_fit_is_replaced_when_its_settings_change(tmp_path, make_job, make_params, bytes_of):
    loop.fit(make_job(), make_params(), tmp_path / "fit")
    loop.fit(make_job(), make_params(epochs=2), tmp_path / "fit")
    loop.fit(make_job(), make_params(epochs=2), tmp_path / "fresh")
    assert bytes_of(tmp_path / "fit") == bytes_of(tmp_path / "fresh")


def test_a_fit_without_its_weights_is_run_again(tmp_path, make_job, make_params, bytes_of):
    loop.fit(make_job(), make_params(), tmp_path)
    before = bytes_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    loop.fit(make_job(), make_params(), tmp_path)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("where", ["training", "validation"])
def test_a_loss_that_is_not_finite_is_an_error_and_leaves_no_fit(tmp_path, make_job, make_params, where):
    """Before an epoch with such a loss nothing is lost: its state is not saved."""
    job = make_job("late_fusion", seed=3)
    targets = job.targets.clone()
    targets[job.train_rows if where == "training" else job.valid_rows, 0] = float("inf")
    with pytest.raises(DataError, match=f"late_fusion, seed 3, epoch 1: the loss is .*inf in {where}.*lower train.lr"):
        loop.fit(replace(job, targets=targets), make_params(), tmp_path, save_every=0)
    assert list(tmp_path.iterdir()) == []


def test_what_decides_the_result_is_in_the_key(make_job, make_params):
    job, params = make_job(), make_params()
    key = job.key(params)
    targets = job.targets.clone()
    targets[0, 0] = 1.25
    others = [
        replace(job, seed=1),
        replace(job, config=replace(job.config, dropout=0.3)),
        replace(job, targets=targets),
        replace(job, train_rows=job.train_rows.flip(0)),
        replace(job, valid_rows=job.valid_rows[1:]),
        replace(job, samples=replace(job.samples, digest="others")),
    ]
    changes = {"epochs": 4, "epoch_steps": 5, "patience": 1, "batch": 4, "lr": 0.1, "weight_decay": 0.1, "warmup": 0.2}
    changes |= {"clip": 0.5, "token_dropout": 0.0, "balance": 0.5, "average": 0.5}
    keys = [key, *(o.key(params) for o in others), *(job.key(make_params(**{k: v})) for k, v in changes.items())]
    assert len(set(keys)) == len(keys)


def test_the_encoder_layers_are_in_the_key_of_a_fine_tuned_system_alone(make_job, make_params, text_layers):
    job, plain = make_job("gexsent_finetuned"), make_job()
    other = copy.deepcopy(text_layers)
    with torch.no_grad():
        next(other.parameters())[0] += 1
    keys = [one.key(make_params()) for one in (job, replace(job, text_layers=other))]
    keys.append(job.key(make_params(encoder_lr=0.5)))
    assert len(set(keys)) == 3
    assert plain.key(make_params(encoder_lr=0.5)) == plain.key(make_params())


def test_which_other_fits_are_asked_for_is_not_in_the_key(make_job, make_params):
    """More seeds or systems leave those that are there as they are."""
    key = make_job().key(make_params())
    assert make_job().key(make_params(seeds=9, fold_seeds=4, systems=("gexsent", "released"))) == key
    assert make_job().key(make_params(dropout_systems=("gexsent",))) == key


def test_the_share_of_modality_dropout_is_in_the_key_of_the_fits_that_use_it(make_job, make_params):
    shares = [make_params(modality_dropout=share) for share in (0.1, 0.2)]
    plain, dropped = ({make_job(name).key(params) for params in shares} for name in ("gexsent", "gexsent+dropout"))
    assert len(plain) == 1 and len(dropped) == 2 and not plain & dropped


@pytest.fixture
def copied_code(tmp_path, monkeypatch):
    """A copy of the package that digests are taken of."""

    def forget():
        digest.source_digest.cache_clear()
        digest.import_closure.cache_clear()

    copy = tmp_path / digest.PACKAGE.name
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    forget()
    yield copy, forget
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("file", "followers"),
    [
        ("model/finetuned.py", {"gexsent_finetuned"}),
        ("encoders/layers.py", {"gexsent_finetuned"}),
        ("model/gexsent.py", {"gexsent", "no_gam", "gexsent_finetuned"}),
        ("model/experts.py", {"gexsent", "no_gam", "gexsent_finetuned"}),
        ("model/parts.py", {"gexsent", "no_gam", "gexsent_finetuned", "text_only", "mult", "misa"}),
        ("model/mult.py", {"mult", "misa"}),  # MISA borrows a block
        ("model/released.py", {"released", "released_masked"}),
        ("model/batch.py", EVERY),
        ("model/rows.py", EVERY),
        ("training/decide.py", EVERY),
        ("tasks.py", EVERY),
        ("report/tables.py", set()),
    ],
)
def test_the_key_follows_the_code_of_the_system_and_of_the_training(
    make_job, make_params, copied_code, file, followers
):
    folder, forget = copied_code
    before = {name: make_job(name).key(make_params()) for name in EVERY}
    with (folder / file).open("a") as source:
        source.write("# changed\n")
    forget()
    assert {name for name in EVERY if make_job(name).key(make_params()) != before[name]} == followers


def test_the_key_follows_what_makes_the_system_of_its_class(make_job, make_params, monkeypatch):
    """The changes to the constructor's arguments, though the name and the code stay the same."""
    key = make_job("no_gam").key(make_params())
    own = loop.system("no_gam")
    monkeypatch.setattr(loop, "system", lambda name: own._replace(changes={**own.changes, "sample_level": False}))
    assert make_job("no_gam").key(make_params()) != key
    monkeypatch.setattr(loop, "system", lambda name: own._replace(settings_of=None))
    assert make_job("no_gam").key(make_params()) == key


def test_the_record_and_the_history_agree(tmp_path, make_job, make_params):
    record = loop.fit(make_job(), make_params(), tmp_path)
    assert json.loads((tmp_path / "fit.json").read_text()) == record
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert record["epochs"] == 3
    assert record["valid_loss"] == min(row["valid_loss"] for row in history)
    assert history[record["best_epoch"] - 1]["valid_loss"] == record["valid_loss"]
