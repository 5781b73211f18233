"""The explain stage on models trained on real features of the generated sample: what it measures, shows, and keeps back."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from gexsent.model import load_model
from gexsent.stages import cases, explain, extract, fits, prepare, source, train
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[2]
DATASETS = ("mosi", "memotion")


@pytest.fixture(scope="module")
def project(tmp_path_factory, fit_here):
    """A quick edition whose MOSI and Memotion have a trained GEXSent of one seed; MOSEI was never prepared."""
    root = tmp_path_factory.mktemp("explained")
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    quick = params["editions"]["quick"]
    quick["data"] |= {"rows": 45, "verify_media": False}
    quick["model"] |= {"width": 8, "experts": 2, "expert_width": 4, "top_k": 1, "attention_heads": 2}
    quick["train"] |= {"systems": ["gexsent"]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "_on_cores", fit_here)
        for stage in (extract, fits):
            patch.setattr(stage, "pick_device", lambda: "cpu")
        for dataset in DATASETS:
            workspace = open_workspace("quick", dataset, root)
            for stage in (source, prepare, extract, train):
                stage.run(workspace)
    return root


@pytest.fixture(scope="module")
def findings(project):
    return explain.run(project, "quick")


def test_a_data_set_without_models_is_left_out_with_its_reason(project, findings):
    assert findings.datasets == list(DATASETS)
    models = open_workspace("quick", "mosei", project).models.relative_to(project)
    assert findings.left_out == {"mosei": f"no trained gexsent in {models}"}


def test_no_more_rows_are_asked_than_there_are_or_than_the_bound(project, monkeypatch):
    tests = {name: len(pd.read_parquet(open_workspace("quick", name, project).test_labels)) for name in DATASETS}
    monkeypatch.setattr(explain, "ROWS", min(tests.values()) - 2)
    tables = explain.run(project, "quick").tables
    assert set(tables["areas"]["rows"]) == {explain.ROWS}
    asked = tables["gates"].groupby("dataset")["rows"].sum()
    assert (asked <= pd.Series(tests)[asked.index]).all()


def test_the_means_of_the_gates_are_those_of_the_model(project, findings):
    workspace = open_workspace("quick", "mosi", project)
    model, _ = load_model(workspace.fit("gexsent", "official", 0))
    about = explain.meaning(workspace, pd.read_parquet(workspace.test_labels)).set_index("id")["sarcasm"].dropna()
    samples = train.load_samples(workspace)
    found = findings.tables["gates"].query("dataset == 'mosi'").set_index("sarcasm")
    assert set(about) == set(found.index) == {"plain", "sarcastic"}
    for kind, ids in about.groupby(about).groups.items():
        means = []
        for id_ in ids:
            batch = samples.batch(samples.rows([id_]))
            with torch.no_grad():
                gate = model.eval()(batch).gates["text"]
            means.append(float(gate[batch.text_mask].mean()))
        assert found.loc[kind, "gate_text"] == pytest.approx(np.mean(means), abs=1e-4)


def test_the_shares_of_the_experts_of_a_group_sum_to_one(findings):
    sums = findings.tables["experts"].groupby(["dataset", "seed", "group", "label"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1, abs=1e-4)


def test_every_table_has_its_file_and_its_figure_and_two_runs_give_the_same_bytes(project):
    findings, results = explain.run(project, "quick"), open_workspace("quick", root=project).results
    written = {path.name: path.read_bytes() for path in (results / "explanation").iterdir()}
    assert set(written) == {f"{name}.csv" for name in (*explain.KEYS, "verdicts")}
    pictures = {name: path.read_bytes() for name, path in findings.figures.items()}
    again = explain.run(project, "quick")
    assert {path.name: path.read_bytes() for path in (results / "explanation").iterdir()} == written
    assert {name: path.read_bytes() for name, path in again.figures.items()} == pictures


def test_what_a_data_set_had_that_is_gone_is_removed(project, findings):
    results = open_workspace("quick", root=project).results
    for old in (results / "explanation" / "old.csv", results / "figures" / "explain" / "gallery_old.png"):
        old.write_text("old")
    explain.run(project, "quick")
    assert not list(results.rglob("*old*"))


def test_no_id_of_a_row_is_in_what_is_committed(project, findings):
    results = open_workspace("quick", root=project).results
    text = "".join(path.read_text() for path in (results / "explanation").iterdir())
    for dataset in DATASETS:
        ids = pd.read_parquet(open_workspace("quick", dataset, project).test_labels)["id"]
        assert len(ids) and not any(id_ in text for id_ in ids)


def test_cases_are_the_surest_right_and_then_the_surest_wrong_predictions(project):
    workspace = open_workspace("quick", "memotion", project)
    shown = cases.cases(workspace, each=3)
    labels = explain.meaning(workspace, pd.read_parquet(workspace.test_labels)).set_index("id")["label"]
    model, _ = load_model(workspace.fit("gexsent", "official", 0))
    samples = train.load_samples(workspace)
    sure = {}
    for id_ in labels.index:
        with torch.no_grad():
            logits = model.eval()(samples.batch(samples.rows([id_]))).heads["sentiment"][0]
        says = ("negative", "neutral", "positive")[int(logits.argmax())]
        others = torch.cat([logits[: logits.argmax()], logits[logits.argmax() + 1 :]])
        sure[id_] = (float(logits.max() - others.max()), says == labels[id_])
    for right, part in ((True, shown[:3]), (False, shown[3:])):
        expected = sorted((id_ for id_ in sure if sure[id_][1] is right), key=lambda id_: -sure[id_][0])[:3]
        assert [case.id for case in part] == expected
        assert all(case.right is right and case.actual == labels[case.id] for case in part)
    assert all(f"says {case.explanation.says}, is {case.actual}" in case.title for case in shown)
    assert all(len(case.explanation.tokens) == len(case.explanation.text["gradients"]) for case in shown)


def test_figures_of_single_rows_lie_with_the_results_of_generated_data_alone(project):
    workspace = open_workspace("quick", "mosi", project)
    generated = cases.draw(workspace)
    assert set(generated) == {"gallery_mosi", "card_mosi", "attention_mosi"}
    assert {path.parent for path in generated.values()} == {workspace.results / "figures" / "explain"}
    # The same rows as if they were somebody's: read from where real data lie, and drawn where Git looks away.
    real = replace(workspace, params=replace(workspace.params, data=replace(workspace.params.data, rows=None)))
    shutil.copytree(workspace.raw, real.raw)
    assert not real.generated
    drawn = cases.draw(real)
    assert {path.parent for path in drawn.values()} == {project / ".scratch" / "explain" / "quick"}


def test_real_rows_have_no_truth_but_their_labels(project):
    workspace = open_workspace("quick", "memotion", project)
    real = replace(workspace, params=replace(workspace.params, data=replace(workspace.params.data, rows=None)))
    test = pd.read_parquet(workspace.test_labels)
    assert explain.polar_words(real, test) is None
    about = explain.meaning(real, test)
    assert "words" not in about and "face" not in about
    level = test.set_index("id")["sarcasm"].astype(float)
    known = about.set_index("id")["sarcasm"].dropna()
    assert known.to_dict() == {id_: "sarcastic" if level[id_] else "plain" for id_ in level.dropna().index}


def test_verdicts_follow_from_the_tables(findings):
    tables, verdicts = findings.tables, findings.verdicts.set_index(["dataset", "method"])
    row = verdicts.loc["mosi", "occlusion"]
    areas = tables["areas"].query("dataset == 'mosi' and method == 'occlusion'")
    assert row["deletion"] == pytest.approx(areas["deletion"].mean())
    random = tables["sanity"].query("dataset == 'mosi' and method == 'occlusion' and part == 'inputs'")
    truth = tables["truth"].query("dataset == 'mosi' and method == 'occlusion'")
    right = truth["mass"].mean() / truth["chance"].mean()
    assert row["right_tokens"] == pytest.approx(right)
    expected = (
        areas[["deletion", "insertion"]].min().min() > 0 and random["correlation"].mean() <= 0.3 and bool(right > 1)
    )
    assert row["passed"] == expected
