"""The search: as many trials for each system, on rows that no test row is among, and the best of them used."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from gexsent.errors import DataError
from gexsent.stages import search, train
from gexsent.training import loop

pytestmark = pytest.mark.usefixtures("one_process")
SPACE = {"model.width": [8, 16], "train.lr": [0.003, 0.01]}


@pytest.fixture
def open_search(open_project):
    """Open the project with three trials on two folds of a space of four points; keyword arguments change training."""

    def open_(trials=3, space=SPACE, **changes):
        workspace = open_project(**changes)
        path = workspace.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params["editions"]["sample"]["by_dataset"]["mosi"] = {"search": {"trials": trials, "folds": 2, "space": space}}
        path.write_text(yaml.safe_dump(params))
        return open_project(**changes)

    return open_


def test_the_first_trial_is_params_yaml_and_no_two_are_the_same(open_search):
    params = open_search(trials=4).params
    points = search.trials(params)
    assert points[0] == {"model.width": 8, "train.lr": 0.003}
    assert sorted(map(str, points)) == sorted(
        str({"model.width": width, "train.lr": lr}) for width in (8, 16) for lr in (0.003, 0.01)
    )
    assert search.trials(params) == points
    fewer = search.trials(open_search(trials=2).params)
    assert len(fewer) == 2 and fewer[0] == points[0]


def test_more_trials_than_points_are_refused(open_search):
    with pytest.raises(DataError, match=r"search\.trials: 5 are more than the 4 points of search\.space"):
        search.trials(open_search(trials=5).params)


def test_values_go_into_their_sections(open_search):
    params = open_search().params
    settings = search.apply(params, {"model.width": 24, "train.lr": 0.5})
    assert (settings.model.width, settings.train.lr) == (24, 0.5)
    assert (settings.model.dropout, settings.train.epochs) == (params.model.dropout, params.train.epochs)


def test_every_system_has_as_many_trials_and_the_best_is_chosen(open_search):
    workspace = open_search()
    table = search.run(workspace)
    assert table.groupby("system").size().to_dict() == {"gexsent": 3, "text_only": 3}
    for _, part in table.groupby("system"):
        assert part["fits"].tolist() == [2, 2, 2]
        assert part.loc[part["chosen"], "valid_loss"].tolist() == [part["valid_loss"].min()]
    saved = pd.read_csv(workspace.search)
    pd.testing.assert_frame_equal(saved, table, rtol=1e-5, check_dtype=False)


def test_a_row_is_the_mean_of_its_folds(open_search):
    workspace = open_search(systems=["text_only"])
    table = search.run(workspace)
    records = [
        json.loads((workspace.derived / f"trials/text_only/official/trial1/fold{k}/fit.json").read_text())
        for k in (0, 1)
    ]
    losses = [record["valid_loss"] for record in records]
    assert table.loc[1, "valid_loss"] == pytest.approx(np.mean(losses))
    assert table.loc[1, "sd"] == pytest.approx(np.std(losses, ddof=1))
    sizes = [len(fit.job.train_rows) for fit in search.plan(workspace) if "trial1" in fit.folder.parts]
    expected = sum(-(-size // 8) * record["epochs"] for size, record in zip(sizes, records, strict=True))
    assert table.loc[1, "steps"] == expected


def test_folds_share_out_the_fit_rows_with_groups_whole_and_no_test_row(open_search):
    workspace = open_search(systems=["text_only"])
    labels, table = pd.read_parquet(workspace.fit_labels), pd.read_parquet(workspace.table).set_index("id")
    held_out = []
    for fit in search.plan(workspace):
        if "trial0" in fit.folder.parts:
            ids = np.array(fit.job.samples.ids)
            train_ids, valid_ids = ids[fit.job.train_rows], ids[fit.job.valid_rows]
            assert set(train_ids) | set(valid_ids) == set(labels["id"])
            assert not set(table.loc[train_ids, "group"]) & set(table.loc[valid_ids, "group"])
            held_out += valid_ids.tolist()
    assert sorted(held_out) == sorted(labels["id"])


def test_training_uses_what_was_chosen(open_search):
    workspace = open_search(systems=["gexsent", "no_gam", "text_only"], seeds=1)
    table = search.run(workspace).set_index(["system", "trial"])
    assert set(table.index.get_level_values("system")) == {"gexsent", "text_only"}  # an ablation is not tuned apart
    for fit in train.jobs(workspace):
        own = table.loc["text_only" if fit.job.config.system == "text_only" else "gexsent"]
        best = own[own["chosen"]].iloc[0]
        assert (fit.job.config.width, fit.params.lr) == (best["model.width"], best["train.lr"])


def test_the_choice_decides_and_not_the_first(open_search):
    workspace = open_search(systems=["text_only"], seeds=1)
    search.run(workspace)
    table = pd.read_csv(workspace.search)
    for trial in range(3):
        table.assign(chosen=table["trial"] == trial).to_csv(workspace.search, index=False)
        (fit,) = train.jobs(workspace)
        assert (fit.job.config.width, fit.params.lr) == tuple(search.trials(workspace.params)[trial].values())


def test_finished_trials_are_not_run_again(open_search, monkeypatch):
    workspace = open_search(systems=["text_only"])
    first = search.run(workspace)
    monkeypatch.setattr(loop, "fit", lambda *args, **kwargs: pytest.fail("fitted again"))
    pd.testing.assert_frame_equal(search.run(workspace), first)
    assert not list((workspace.derived / "trials").rglob("model.safetensors"))


def test_without_a_search_everything_is_as_params_yaml_says(open_search):
    workspace = open_search(trials=1, systems=["text_only"], seeds=1)
    assert search.run(workspace).empty
    assert workspace.search.read_text().startswith("system,partition,trial,model.width,train.lr,fits")
    assert search.chosen(workspace) == {}
    (fit,) = train.jobs(workspace)
    assert (fit.job.config.width, fit.params.lr) == (8, workspace.params.train.lr)


def test_a_choice_of_another_space_is_not_used(open_search):
    workspace = open_search(systems=["text_only"])
    with pytest.raises(DataError, match=r"mosi\.csv: cannot be read.*run the train stage"):
        search.chosen(workspace)
    search.run(workspace)
    other = open_search(systems=["text_only"], space={"model.width": [8, 16], "train.lr": [0.003, 0.02]})
    table = pd.read_csv(other.search)
    table.assign(chosen=table["train.lr"] == 0.01).to_csv(other.search, index=False)
    with pytest.raises(DataError, match=r"mosi\.csv: trial \d is not that of params\.yaml"):
        search.chosen(other)


def test_more_folds_than_groups_are_refused(open_search):
    workspace = open_search()
    table = pd.read_parquet(workspace.table)
    table.assign(group="one").to_parquet(workspace.table)
    with pytest.raises(DataError, match=r"search\.folds: 2 are more than the 1 groups"):
        search.plan(workspace)
