"""The training stage on a small generated project: what it leaves, what it keeps, and what it cannot see."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertModel

from gexsent.encoders.layers import TopLayers
from gexsent.errors import DataError
from gexsent.features import FeatureStore, Output, extract
from gexsent.model import load_model
from gexsent.stages import fits, prepare, train
from gexsent.training import loop

FITS = [f"{system}/official/seed{seed}" for system in ("gexsent", "text_only") for seed in (0, 1)]


@pytest.fixture
def epochs_run(monkeypatch):
    """How many epochs were run; set "limit" to have the process die before the next one."""
    original, counter = loop._Run.one_epoch, {"run": 0, "limit": None}

    def one_epoch(run):
        if counter["run"] == counter["limit"]:
            raise KeyboardInterrupt
        counter["run"] += 1
        original(run)

    monkeypatch.setattr(loop._Run, "one_epoch", one_epoch)
    return counter


@pytest.mark.usefixtures("one_process")
def test_leaves_a_loadable_fit_for_each_system_and_seed(open_project, files_under):
    workspace = open_project()
    train.run(workspace)
    names = ("config.json", "encoders.json", "fit.json", "history.jsonl", "model.safetensors", "tasks.json")
    assert set(files_under(workspace.models)) == {f"{fit}/{name}" for fit in FITS for name in names}
    for fit in FITS:
        _, config = load_model(workspace.models / fit)
        assert config.system == fit.split("/")[0]
        assert config.temporal  # these are clips
        record = (workspace.models / fit / "encoders.json").read_bytes()
        assert record == (workspace.features / "encoders.json").read_bytes()


def test_variants_with_modality_dropout_are_planned_last_and_where_samples_have_both(open_project):
    workspace = open_project(dropout_systems=["gexsent"], seeds=1)
    assert [job.config.system for job, *_ in train.jobs(workspace)] == ["gexsent", "text_only", "gexsent+dropout"]
    ids = pd.read_parquet(workspace.table)["id"].tolist()
    extract([Output(workspace.features / "vision", 5, "none")], ids, lambda part: [[np.zeros((0, 5))] * len(part)])
    assert [job.config.system for job, *_ in train.jobs(workspace)] == ["gexsent", "text_only"]


@pytest.mark.usefixtures("one_process")
def test_the_history_has_one_row_a_fit_and_epoch(open_project):
    workspace = open_project()
    history = train.run(workspace)
    expected = [[s, "official", seed, e] for s in ("gexsent", "text_only") for seed in (0, 1) for e in (1, 2)]
    assert history[["system", "partition", "seed", "epoch"]].to_numpy().tolist() == expected
    always = ["train_loss", "valid_loss", "valid_intensity", "valid_sentiment"]
    assert history[always].notna().all().all()
    experts = [f"{kind}_{group}" for kind in ("entropy", "dead") for group in ("text", "vision", "shared")]
    experts += ["aux_balance", "aux_z", "aux_group"]
    assert history.loc[history["system"] == "gexsent", experts].notna().all().all()
    assert history.loc[history["system"] == "text_only", experts].isna().all().all()
    saved = pd.read_csv(workspace.results / "history" / "mosi.csv")
    pd.testing.assert_frame_equal(saved, history, rtol=1e-5, check_dtype=False)


def test_in_processes_it_ends_with_the_same_bytes(open_project, files_under, monkeypatch):
    """A process a core, as real data are fitted, against the same fits one after the other, as generated data are."""
    workspace, on_cores, used = open_project(seeds=1), fits._on_cores, []
    monkeypatch.setattr(fits, "pick_device", lambda: "cpu")
    monkeypatch.setattr(fits, "_on_cores", lambda *given: (used.append(2), on_cores(*given)))
    monkeypatch.setattr(fits.machine, "cores", lambda: 2)
    train.run(workspace)
    assert used == []
    one_by_one = files_under(workspace.models)
    shutil.rmtree(workspace.models)
    monkeypatch.setattr(type(workspace), "generated", False)
    train.run(workspace)
    assert used == [2]
    assert files_under(workspace.models) == one_by_one


@pytest.mark.usefixtures("one_process")
def test_goes_on_after_a_kill_without_fitting_again_what_is_finished(open_project, files_under, epochs_run):
    workspace = open_project()
    epochs_run["limit"] = 5  # two fits of two epochs, and one epoch of the third
    with pytest.raises(KeyboardInterrupt):
        train.run(workspace)
    finished = {name: content for name, content in files_under(workspace.models).items() if "gexsent" in name}
    assert len([name for name in finished if name.endswith("fit.json")]) == 2
    epochs_run.update(run=0, limit=None)
    train.run(workspace)
    assert epochs_run["run"] == 4
    after = files_under(workspace.models)
    assert {name: after[name] for name in finished} == finished
    epochs_run.update(run=0)
    train.run(workspace)
    assert epochs_run["run"] == 0
    assert files_under(workspace.models) == after


@pytest.mark.usefixtures("one_process")
def test_fits_no_longer_asked_for_go(open_project, files_under, epochs_run):
    train.run(open_project())
    epochs_run.update(run=0)
    workspace = open_project(seeds=1, systems=["text_only", "late_fusion"])
    history = train.run(workspace)
    assert {path.rsplit("/", 1)[0] for path in files_under(workspace.models)} == {
        "text_only/official/seed0",
        "late_fusion/official/seed0",
    }
    assert set(history["system"]) == {"text_only", "late_fusion"}
    assert epochs_run["run"] == 2  # those of late_fusion


@pytest.mark.usefixtures("one_process")
def test_another_setting_fits_everything_again(open_project, epochs_run):
    train.run(open_project())
    epochs_run.update(run=0)
    train.run(open_project(lr=0.02))
    assert epochs_run["run"] == 8


@pytest.mark.usefixtures("one_process")
def test_test_labels_are_not_opened(open_project, files_under):
    """Rubbish in their place, then nothing at all, and no raw files either: the same bytes of every fit."""
    workspace = open_project(seeds=1)
    train.run(workspace)
    expected = files_under(workspace.models)
    shutil.rmtree(workspace.models)
    workspace.test_labels.write_bytes(b"rubbish")
    train.run(workspace)
    assert files_under(workspace.models) == expected
    shutil.rmtree(workspace.models)
    workspace.test_labels.unlink()
    shutil.rmtree(workspace.raw)
    train.run(workspace)
    assert files_under(workspace.models) == expected


def _relabel(workspace, mode):
    """Turn the sign of every label of one split in the raw file, and prepare again."""
    table = pd.read_csv(workspace.raw / "label.csv", dtype=str)
    chosen = table["mode"] == mode
    table.loc[chosen, "label"] = (-table.loc[chosen, "label"].astype(float)).astype(str)
    table.to_csv(workspace.raw / "label.csv", index=False)
    before = workspace.test_labels.read_bytes()
    prepare.run(workspace)
    return workspace.test_labels.read_bytes() != before


@pytest.mark.usefixtures("one_process")
def test_other_test_labels_in_the_raw_data_change_nothing(open_project, files_under):
    workspace = open_project(seeds=1)
    train.run(workspace)
    expected, fit_labels = files_under(workspace.models), workspace.fit_labels.read_bytes()
    shutil.rmtree(workspace.models)
    assert _relabel(workspace, "test")
    assert workspace.fit_labels.read_bytes() == fit_labels
    train.run(workspace)
    assert files_under(workspace.models) == expected
    shutil.rmtree(workspace.models)
    assert not _relabel(workspace, "train")
    train.run(workspace)
    assert files_under(workspace.models) != expected


def test_a_job_sees_the_rows_of_its_roles_and_no_test_label(open_project):
    workspace = open_project()
    labels = pd.read_parquet(workspace.fit_labels).set_index("id")
    test = set(pd.read_parquet(workspace.test_labels)["id"])
    plan = train.jobs(workspace)
    assert [(folder.parent.name, job.config.system, job.seed) for job, _, folder in plan] == [
        ("official", s, seed) for s in ("gexsent", "text_only") for seed in (0, 1)
    ]
    for job, *_ in plan:
        ids = np.array(job.samples.ids)
        assert set(labels.index) | test == set(ids) and not set(labels.index) & test
        for role, rows in (("train", job.train_rows), ("valid", job.valid_rows)):
            assert set(ids[rows]) == set(labels.index[labels["role"] == role])
        targets = dict(zip(ids, job.targets.tolist(), strict=True))
        assert all(np.isnan(targets[id_]).all() for id_ in test)
        for id_ in labels.index:
            assert targets[id_] == pytest.approx([labels.at[id_, "intensity"], labels.at[id_, "sentiment"] + 1])


def test_folds_have_their_own_fits_and_number_of_seeds(open_project, in_folds):
    workspace = open_project(seeds=2, fold_seeds=1, systems=["text_only"])
    in_folds(workspace)
    assert [(folder.parent.name, job.seed) for job, _, folder in train.jobs(workspace)] == [("fold0", 0), ("fold1", 0)]


def test_the_longest_clip_is_that_of_the_training_rows(open_project):
    """The released model is built for that length: a longer test clip must not change its shape."""
    workspace = open_project()
    job = train.jobs(workspace)[0].job
    lengths = job.samples.vision.lengths
    assert job.config.frames == int(lengths[job.train_rows].max())
    shortest = {id_: int(n) for id_, n in zip(job.samples.ids, lengths, strict=True)}
    fit = pd.read_parquet(workspace.fit_labels)
    kept = [role != "train" or shortest[id_] <= 3 for id_, role in zip(fit["id"], fit["role"], strict=True)]
    fit[kept].to_parquet(workspace.fit_labels)
    assert {job.config.frames for job, *_ in train.jobs(workspace)} == {3}


def test_without_the_earlier_stages_it_says_what_to_do(open_project):
    workspace = open_project()
    workspace.fit_labels.unlink()
    with pytest.raises(FileNotFoundError, match=r"fit\.parquet is not there yet; run"):
        train.run(workspace)


@pytest.mark.usefixtures("one_process")
def test_the_record_of_a_fit(open_project):
    workspace = open_project(seeds=1)
    history = train.run(workspace)
    for system, part in history.groupby("system"):
        record = json.loads((workspace.fit(system, "official", 0) / "fit.json").read_text())
        assert record["valid_loss"] == part["valid_loss"].min()
        assert record["epochs"] == len(part)


def test_a_layout_without_intensities_gets_the_heads_that_there_are_labels_for(open_project):
    """The released GEXSent files hold sentiment alone."""
    workspace = open_project()
    labels = pd.read_parquet(workspace.fit_labels)
    labels.drop(columns="intensity").to_parquet(workspace.fit_labels, index=False)
    plan = train.jobs(workspace)
    assert {tuple(task.name for task in job.tasks) for job, *_ in plan} == {("sentiment",)}
    assert {tuple(job.config.outputs) for job, *_ in plan} == {("sentiment",)}


@pytest.mark.usefixtures("one_process")
def test_a_fine_tuned_system_needs_its_layers(open_project):
    """Without them an error that says how to get them; with them a fit beside the others, which learn as before."""
    workspace = open_project(systems=["gexsent", "gexsent_finetuned"], seeds=1)
    with pytest.raises(DataError, match=r"text_lower: no layers to tune; set encode\.tuned_layers to 1 or more"):
        train.run(workspace)
    folder, text = workspace.features / "text_lower", FeatureStore.open(workspace.features / "text")
    config = BertConfig(
        vocab_size=9, hidden_size=text.width, num_hidden_layers=2, num_attention_heads=1, intermediate_size=8
    )
    TopLayers.of(BertModel(config), 1).save(folder)
    rows = dict(zip(text.ids, map(text.row, range(len(text.ids))), strict=True))
    extract([Output(folder, text.width, "short")], text.ids[:-1], lambda ids: [[rows[id_] for id_ in ids]])
    with pytest.raises(DataError, match="text_lower: other ids or lengths than those of the text; run the extract"):
        train.run(workspace)
    extract([Output(folder, text.width, "lower")], text.ids, lambda ids: [[rows[id_][::-1] for id_ in ids]])
    frozen, tuned = [fit.job for fit in train.jobs(workspace)]
    assert torch.equal(tuned.samples.frozen_text.values, frozen.samples.text.values)
    assert not torch.equal(tuned.samples.text.values, frozen.samples.text.values)
    assert (frozen.text_layers, frozen.samples.frozen_text) == (None, None)
    train.run(workspace)
    model, config = load_model(workspace.fit("gexsent_finetuned", "official", 0))
    assert config.system == "gexsent_finetuned"
    mean, _ = frozen.samples.text.statistics(frozen.train_rows)
    torch.testing.assert_close(model.text_in.mean, mean)


def test_stores_with_different_ids_are_not_paired(open_project):
    workspace = open_project()
    index = workspace.features / "vision" / "index.json"
    index.write_text(index.read_text().replace("v001$_$0", "v001$_$x"))
    with pytest.raises(DataError, match="different ids"):
        train.load_samples(workspace)


def test_a_fine_tuned_system_may_have_fewer_seeds(open_project):
    params = open_project(seeds=3, tuned_seeds=2).params.train
    assert len(train.seed_range(params, 1, "gexsent_finetuned")) == 2
    assert len(train.seed_range(params, 1, "gexsent")) == 3
