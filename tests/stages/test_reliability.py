"""The reliability stage: validation rows and signals of the fits that were evaluated."""

import numpy as np
import pandas as pd
import pytest
import torch

from gexsent.errors import DataError
from gexsent.evaluation.compare import REFERENCE
from gexsent.model import load_model
from gexsent.stages import evaluate, heldout, reliability, train
from gexsent.training import loop

pytestmark = [
    pytest.mark.usefixtures("one_process"),
    pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning"),
    pytest.mark.filterwarnings("ignore:All-NaN slice"),  # on nine test rows a model may make no error at all
]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    for module in (evaluate, heldout):
        monkeypatch.setattr(module, "pick_device", lambda: "cpu")


@pytest.fixture
def evaluated(open_project):
    def open_(before=lambda workspace: None, **changes):
        workspace = open_project(**changes)
        before(workspace)
        train.run(workspace)
        evaluate.run(workspace)
        return workspace

    return open_


def test_outputs_and_signals_are_those_of_the_model(evaluated):
    """Each sample alone through the saved model."""
    workspace = evaluated(seeds=2)
    found = heldout.collect(workspace, workspace.params.train)
    (valid, test) = found[REFERENCE][0]
    fit, labels = pd.read_parquet(workspace.fit_labels), pd.read_parquet(workspace.test_labels)
    assert valid.rows["id"].tolist() == fit.loc[fit["role"] == "valid", "id"].tolist()
    assert test.rows["id"].tolist() == labels["id"].tolist()
    samples = train.load_samples(workspace)
    for seed in range(2):
        model, _ = load_model(workspace.fit(REFERENCE, "official", seed))
        for side in (valid, test):
            for place, id_ in enumerate(side.rows["id"]):
                batch = samples.batch(samples.rows([id_]))
                with torch.no_grad():
                    output = model(batch)
                assert side.outputs["intensity"][seed, place] == pytest.approx(
                    float(output.heads["intensity"]), abs=1e-4
                )
                expected = output.heads["sentiment"].log_softmax(1)[0].numpy()
                assert side.outputs["sentiment"][seed, place] == pytest.approx(expected, abs=1e-4)
                share = output.shares[0].numpy()
                entropy = -sum(s * np.log(s) for s in share if s > 0)
                assert side.signals["share_entropy"][seed, place] == pytest.approx(entropy, abs=1e-4)
                for name, mask in (("text", batch.text_mask), ("vision", batch.vision_mask)):
                    gates = output.gates[name][mask].numpy()
                    mean = gates.mean() if len(gates) else 0.0
                    assert side.signals[f"gate_{name}"][seed, place] == pytest.approx(mean, abs=1e-4)
    assert found["text_only"][0][1].signals == {}


def test_the_forward_pass_is_that_of_training(evaluated):
    workspace = evaluated(seeds=1)
    samples, ids = train.load_samples(workspace), pd.read_parquet(workspace.test_labels)["id"].tolist()
    folder = workspace.fit("text_only", "official", 0)
    outputs, signals = heldout.forward(load_model(folder)[0], samples, ids, batch=4)
    expected = loop.predict(folder, samples, samples.rows(ids), batch=4)
    assert outputs["intensity"] == pytest.approx(expected["intensity"][:, 0].numpy(), abs=1e-6)
    assert np.exp(outputs["sentiment"]) == pytest.approx(expected["sentiment"].softmax(1).numpy(), abs=1e-6)
    assert signals == {}


def test_rows_say_what_subgroups_need(evaluated):
    workspace = evaluated(seeds=1)
    table = pd.read_parquet(workspace.table).set_index("id")
    samples = train.load_samples(workspace)
    for side in heldout.collect(workspace, workspace.params.train)["text_only"][0]:
        for row in side.rows.itertuples():
            assert row.words == len(table.loc[row.id, "text"].split())
            assert row.group_rows == (table["group"] == table.loc[row.id, "group"]).sum()
            assert row.vision == (samples.vision.lengths[samples.rows([row.id])].item() > 0)


def test_predictions_of_other_models_are_refused(evaluated):
    workspace = evaluated(seeds=1)
    predictions = pd.read_parquet(workspace.predictions)
    predictions.assign(pred_intensity=predictions["pred_intensity"] + 0.1).to_parquet(workspace.predictions)
    with pytest.raises(DataError, match=r"mosi\.parquet: not what gexsent, seed 0.*evaluate"):
        heldout.collect(workspace, workspace.params.train)
    predictions.iloc[:-1].to_parquet(workspace.predictions)
    with pytest.raises(DataError, match=r"text_only, seed 0: not its test rows"):
        heldout.collect(workspace, workspace.params.train)


def test_each_fold_has_its_own_validation_rows_and_models(evaluated, in_folds):
    workspace = evaluated(in_folds, seeds=2, fold_seeds=1)
    parts = heldout.collect(workspace, workspace.params.train)[REFERENCE]
    labels = pd.read_parquet(workspace.test_labels)
    assert [test.rows["id"].tolist() for _, test in parts] == [
        part["id"].tolist() for _, part in labels.groupby("partition")
    ]
    assert all(side.outputs["intensity"].shape == (1, len(side.rows)) for pair in parts for side in pair)


def test_what_the_stage_leaves_twice_the_same(evaluated, files_under):
    workspace = evaluated()
    report = reliability.run(workspace.root, "sample")
    assert report.left_out == ["mosei", "memotion"]
    folder, figures = workspace.results / "reliability", workspace.results / "figures" / "reliability"
    tables = ("calibration", "selective", "conformal", "subgroups")
    names = {f"{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")} | {"bins.csv", "curves.csv"}
    assert {path.name for path in folder.iterdir()} == names
    drawn = ("calibration", "risk_coverage", "signals", "coverage", "subgroups_mosi")
    assert {path.name for path in figures.iterdir()} == {
        f"{name}.{suffix}" for name in drawn for suffix in ("png", "pdf")
    }
    assert list(report.tables) == list(tables) and list(report.figures) == list(drawn)
    first = files_under(folder) | files_under(figures)
    (folder / "left_by_another_run.csv").touch()
    reliability.run(workspace.root, "sample")
    assert files_under(folder) | files_under(figures) == first
    table = pd.read_csv(folder / "selective.csv")
    assert set(table["system"]) == {"gexsent", "text_only"}
    assert set(pd.read_csv(folder / "curves.csv")["system"]) == {"gexsent"}


def test_labels_of_test_rows_move_no_scaling_and_no_bound(evaluated):
    """What is fitted is fitted on validation rows: with other test labels temperatures and sizes stay."""
    workspace = evaluated(seeds=1)
    before = reliability.measure(workspace)
    labels = pd.read_parquet(workspace.test_labels)
    labels.assign(intensity=-labels["intensity"], sentiment=-labels["sentiment"]).to_parquet(workspace.test_labels)
    after = reliability.measure(workspace)
    assert before["calibration"]["temperature_mean"].tolist() == after["calibration"]["temperature_mean"].tolist()
    assert before["conformal"]["size"].tolist() == after["conformal"]["size"].tolist()
    assert before["calibration"]["nll_mean"].tolist() != after["calibration"]["nll_mean"].tolist()


def test_without_evaluated_data_sets_there_is_nothing_and_a_word_of_it(open_project):
    workspace = open_project()
    workspace.predictions.parent.mkdir(parents=True)
    workspace.predictions.touch()  # as for a data set that is left out
    report = reliability.run(workspace.root, "sample")
    assert (report.frames, report.tables, report.figures) == ({}, {}, {})
    assert report.left_out == ["mosi", "mosei", "memotion"]
