"""Faults of protocol made on purpose: what is trained on, what chooses the epoch, and what the differences are."""

import numpy as np
import pandas as pd
import pytest
import yaml

from gexsent.errors import DataError
from gexsent.evaluation import compare
from gexsent.params import load
from gexsent.stages import audit, evaluate, train
from gexsent.training import loop

pytestmark = [
    pytest.mark.usefixtures("one_process", "here_and_now"),
    pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning"),
]


@pytest.fixture
def here_and_now(monkeypatch):
    """Predict on the CPU, and count the fits of the audit."""
    done, fit_one = [], train.fit_one

    def counted(fit, device):
        fit_one(fit, device)
        if isinstance(fit, audit.Fit):
            done.append((fit.protocol, fit.seed))

    monkeypatch.setattr(audit, "pick_device", lambda: "cpu")
    monkeypatch.setattr(evaluate, "pick_device", lambda: "cpu")
    monkeypatch.setattr(train, "fit_one", counted)
    return done


@pytest.fixture
def open_audited(open_project):
    """Open the project with `text_only` audited for so many seeds; fitted and evaluated unless told."""

    def open_(ready=True, system="text_only", seeds=2):
        workspace = open_project(systems=["text_only"])
        path = workspace.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params["editions"]["sample"]["audit"] = {"system": system, "seeds": seeds}
        path.write_text(yaml.safe_dump(params))
        workspace = audit.replace(workspace, params=load(path, "sample"))
        if ready:
            train.run(workspace)
            evaluate.run(workspace)
        return workspace

    return open_


def roles(workspace):
    fit, test = (pd.read_parquet(path) for path in (workspace.fit_labels, workspace.test_labels))
    return pd.concat([fit, test.assign(role="test")]).set_index("id")["role"]


def ids(job, rows):
    return [job.samples.ids[row] for row in rows.tolist()]


def test_what_each_protocol_trains_on_chooses_by_and_is_tested_on(open_audited):
    workspace = open_audited(ready=False)
    fits, official = audit.plan(workspace), roles(workspace)
    groups = pd.read_parquet(workspace.table).set_index("id")["group"]
    assert [(fit.protocol, fit.seed) for fit in fits] == [
        (name, seed) for seed in (0, 1) for name in ("random_clips", "random_videos", "test_selected")
    ]
    for fit in fits:
        trained, chosen = ids(fit.job, fit.job.train_rows), ids(fit.job, fit.job.valid_rows)
        assert not set(trained) & set(fit.test_ids)
        assert fit.shared == np.mean([groups[i] in set(groups[trained]) for i in fit.test_ids])
        if fit.protocol == "test_selected":
            assert set(trained) == set(official.index[official == "train"])
            assert set(chosen) == set(fit.test_ids) == set(official.index[official == "test"])
            continue
        assert {*trained, *chosen, *fit.test_ids} == set(official.index)
        assert not set(chosen) & {*trained, *fit.test_ids}
        if fit.protocol == "random_clips":
            sizes = [len(trained), len(chosen), len(fit.test_ids)]
            assert sizes == [(official == role).sum() for role in ("train", "valid", "test")]
        else:
            assert fit.shared == 0
    assert any(fit.shared > 0 for fit in fits if fit.protocol == "random_clips")
    assert fits[0].test_ids != fits[3].test_ids  # another split for another seed


def test_labels_of_every_row_are_in_sight_here_and_are_the_right_ones(open_audited):
    workspace = open_audited(ready=False)
    labels = pd.concat([pd.read_parquet(path) for path in (workspace.fit_labels, workspace.test_labels)])
    labels = labels.set_index("id")["intensity"]
    job = audit.plan(workspace)[0].job
    column = [task.name for task in job.tasks].index("intensity")
    np.testing.assert_allclose(job.targets[:, column].numpy(), labels[job.samples.ids].to_numpy(float), rtol=1e-6)


def test_as_many_seeds_as_asked_for_and_none_that_was_not_trained(open_audited):
    assert {fit.seed for fit in audit.plan(open_audited(ready=False, seeds=1))} == {0}
    assert {fit.seed for fit in audit.plan(open_audited(ready=False, seeds=9))} == {0, 1}  # train.seeds is 2


def test_scores_and_effects_agree_with_the_fits_and_with_04_evaluate(open_audited):
    workspace = open_audited()
    effects = audit.run(workspace)
    seeds = pd.read_csv(workspace.audit.with_name("mosi_seeds.csv"))
    assert seeds.groupby("protocol")["seed"].apply(list).to_dict() == {
        name: [0, 1] for name in ("official", "random_clips", "random_videos", "test_selected")
    }
    official = seeds[seeds["protocol"] == "official"]
    assert official["mae"].tolist() == pytest.approx(pd.read_csv(workspace.seeds)["mae"].tolist())
    labels = pd.concat([pd.read_parquet(p) for p in (workspace.fit_labels, workspace.test_labels)]).set_index("id")
    for fit in audit.plan(workspace):
        rows = fit.job.samples.rows(fit.test_ids)
        outputs = loop.predict(fit.folder, fit.job.samples, rows, batch=8)
        mae = np.abs(outputs["intensity"][:, 0].numpy() - labels.loc[fit.test_ids, "intensity"].to_numpy()).mean()
        row = seeds[(seeds["protocol"] == fit.protocol) & (seeds["seed"] == fit.seed)].iloc[0]
        assert (row["mae"], row["rows"]) == (pytest.approx(mae, rel=1e-4), len(fit.test_ids))
    means = seeds.groupby("protocol")["mae"].mean()
    mae = effects[effects["metric"] == "mae"].set_index(["change", "against"])["difference"]
    assert len(mae) == 4
    for (change, against), difference in mae.items():
        assert difference == pytest.approx(means[change] - means[against], abs=1e-5)


def test_what_is_tested_and_what_is_not(open_audited):
    effects = audit.run(open_audited()).set_index(["change", "against", "metric"])
    paired = effects.loc["test_selected", "official", "mae"]
    assert paired["low"] <= paired["difference"] <= paired["high"] and 0 < paired["p"] <= 1
    assert effects.loc[[("random_clips", "official", "mae")], ["low", "high", "p"]].isna().all(axis=None)
    unknown = effects.loc["unknown_as_neutral", "text_only", "macro_f1_3"]
    assert (unknown["rows"], unknown["difference"]) == (0, 0)
    np.testing.assert_allclose(effects["p_holm"], compare.holm(effects["p"].to_numpy(float)))


def test_unknown_labels_are_counted_over_all_splits(open_audited):
    workspace = open_audited()
    for path, count in ((workspace.fit_labels, 3), (workspace.test_labels, 2)):
        labels = pd.read_parquet(path)
        labels.loc[labels.index[:count], "sentiment"] = pd.NA
        labels.to_parquet(path)
    effects = audit.run(workspace).set_index("change")
    assert effects.loc["unknown_as_neutral", "rows"] == 5


def test_a_finished_audit_is_not_fitted_again_and_gives_the_same_bytes(open_audited, monkeypatch, files_under):
    workspace = open_audited()
    audit.run(workspace)
    first = files_under(workspace.results / "audit")
    assert set(first) == {"mosi.csv", "mosi_seeds.csv"}
    monkeypatch.setattr(loop._Run, "one_epoch", lambda self: pytest.fail("fitted again"))
    audit.run(workspace)
    assert files_under(workspace.results / "audit") == first


def test_nothing_of_it_lies_where_other_stages_read(open_audited, files_under):
    workspace = open_audited()
    before = {name: files_under(getattr(workspace, name)) for name in ("models", "features")}
    scores = files_under(workspace.results)
    audit.run(workspace)
    assert {name: files_under(getattr(workspace, name)) for name in before} == before
    after = files_under(workspace.results)
    assert {name: content for name, content in after.items() if not name.startswith("audit/")} == scores


def test_folds_are_asked_about_their_labels_alone(open_audited, in_folds, here_and_now):
    workspace = open_audited(ready=False)
    in_folds(workspace)
    train.run(workspace)
    evaluate.run(workspace)
    assert audit.run(workspace)["change"].tolist() == ["unknown_as_neutral"]
    assert here_and_now == []
    assert pd.read_csv(workspace.audit.with_name("mosi_seeds.csv")).empty


def test_a_data_set_left_out_leaves_headings(open_audited):
    workspace = open_audited(ready=False)
    workspace.source.write_text('{"layout": null}')
    assert audit.run(workspace).empty
    assert list(pd.read_csv(workspace.audit)) == audit.COLUMNS
    assert (workspace.derived / "audit").is_dir()


def test_a_system_without_scores_is_named(open_audited):
    workspace = open_audited()
    narrowed = audit.replace(workspace.params.audit, system="late_fusion")
    other = audit.replace(workspace, params=audit.replace(workspace.params, audit=narrowed))
    with pytest.raises(DataError, match=r"audit\.system: 'late_fusion'"):
        audit.run(other)
