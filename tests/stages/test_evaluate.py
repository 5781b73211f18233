"""The evaluation stage: predictions of every fit for every test row, and their scores."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from gexsent.datasets import SENTIMENTS
from gexsent.errors import DataError
from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.report.scores import COST_COLUMNS
from gexsent.stages import evaluate, train
from gexsent.training import loop

METRICS = ["mae", "corr", "acc7", "acc5", "acc2_has0", "f1_has0", "acc2_non0", "f1_non0", "macro_f1_3", "acc_3"]
COLUMNS = ["system", "seed", "partition", "id", "pred_intensity", "pred_sentiment"]
COLUMNS += [f"p_sentiment_{name}" for name in SENTIMENTS]

# Models trained for two epochs on random features may well never predict one of the classes.
pytestmark = [
    pytest.mark.usefixtures("one_process"),
    pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning"),
]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(evaluate, "pick_device", lambda: "cpu")


def test_one_row_a_system_seed_and_sample(open_project):
    workspace = open_project()
    train.run(workspace)
    predictions, _ = evaluate.run(workspace)
    test = pd.read_parquet(workspace.test_labels)
    assert list(predictions) == COLUMNS
    assert len(predictions) == 2 * 2 * len(test)
    assert not predictions.duplicated(["system", "seed", "partition", "id"]).any()
    for _, part in predictions.groupby(["system", "seed"]):
        assert part["id"].tolist() == test["id"].tolist()
    pd.testing.assert_frame_equal(pd.read_parquet(workspace.predictions), predictions)


def test_predictions_are_those_of_the_saved_fit(open_project):
    """Each sample alone through the model that was saved for its system and seed."""
    workspace = open_project(seeds=1)
    train.run(workspace)
    predictions, _ = evaluate.run(workspace)
    samples = train.load_samples(workspace)
    for system, part in predictions.groupby("system"):
        model, _ = loop.load_model(workspace.fit(system, "official", 0))
        for row in part.itertuples():
            with torch.no_grad():
                heads = model(samples.batch(samples.rows([row.id]))).heads
            assert row.pred_intensity == pytest.approx(float(heads["intensity"]), abs=1e-4)
            assert row.p_sentiment_positive == pytest.approx(float(heads["sentiment"].softmax(1)[0, 2]), abs=1e-4)
            assert row.pred_sentiment == int(heads["sentiment"].argmax()) - 1


def test_what_stands_in_the_files_of_metrics(open_project):
    """{system: {metric: {mean, sd, n}}}, and a row a system and seed that they are made of."""
    workspace = open_project()
    train.run(workspace)
    predictions, scores = evaluate.run(workspace)
    summary = json.loads(workspace.metrics.read_text())
    assert list(summary) == ["gexsent", "text_only"]
    seeds = pd.read_csv(workspace.seeds)
    assert list(seeds) == ["system", "seed", "partitions", "rows", *METRICS]
    pd.testing.assert_frame_equal(seeds, scores, check_dtype=False)
    test = pd.read_parquet(workspace.test_labels).set_index("id")
    for system, cells in summary.items():
        assert list(cells) == METRICS
        part = seeds[seeds["system"] == system]
        for name, cell in cells.items():
            assert list(cell) == ["mean", "sd", "n"] and cell["n"] == 2
            if part[name].notna().all():
                assert cell["mean"] == pytest.approx(part[name].mean(), abs=1e-6)
                assert cell["sd"] == pytest.approx(abs(part[name].diff().iloc[1]) / 2**0.5, abs=1e-6)
    for (system, seed), part in predictions.groupby(["system", "seed"]):
        error = np.abs(part["pred_intensity"].to_numpy() - test.loc[part["id"], "intensity"].to_numpy()).mean()
        row = seeds[(seeds["system"] == system) & (seeds["seed"] == seed)]
        assert float(row["mae"].iloc[0]) == pytest.approx(error, rel=1e-5)


def test_the_same_files_on_two_runs(open_project, files_under):
    workspace = open_project(seeds=1)
    train.run(workspace)
    evaluate.run(workspace)
    first = files_under(workspace.results)
    evaluate.run(workspace)
    assert files_under(workspace.results) == first


def test_comparisons_are_over_videos_and_agree_with_the_metrics(open_project):
    """The score inside every interval is the mean that metrics/mosi.json gives."""
    workspace = open_project()
    train.run(workspace)
    evaluate.run(workspace)
    folder = workspace.results / "comparisons"
    pairs, own = pd.read_csv(folder / "mosi.csv"), pd.read_csv(folder / "mosi_intervals.csv")
    assert list(pairs) == PAIR_COLUMNS and list(own) == OWN_COLUMNS
    assert pairs[["metric", "system", "reference"]].to_numpy().tolist() == [
        [metric, "text_only", "gexsent"] for metric in ("mae", "corr", "macro_f1_3")
    ]
    table, test = pd.read_parquet(workspace.table), pd.read_parquet(workspace.test_labels)
    videos = table.loc[table["id"].isin(test["id"]), "group"].nunique()
    assert 1 < videos < len(test)
    assert set(pairs["n_groups"]) == set(own["n_groups"]) == {videos}
    assert set(pairs["seeds"]) == set(own["seeds"]) == {2}
    summary = json.loads(workspace.metrics.read_text())
    for row in own.itertuples():
        mean = summary[row.system][row.metric]["mean"]
        assert row.value == pytest.approx(np.nan if mean is None else mean, abs=1e-5, nan_ok=True)
    assert (own["low"] < own["value"])[own["metric"] == "mae"].all()


def test_labels_move_scores_and_not_predictions(open_project):
    workspace = open_project(seeds=1)
    train.run(workspace)
    before, scores = evaluate.run(workspace)
    labels = pd.read_parquet(workspace.test_labels)
    labels.assign(intensity=-labels["intensity"]).to_parquet(workspace.test_labels)
    after, others = evaluate.run(workspace)
    pd.testing.assert_frame_equal(after, before)
    assert not np.allclose(others["mae"], scores["mae"])


def test_each_fold_is_predicted_by_its_own_fit(open_project, in_folds):
    workspace = open_project(seeds=2, fold_seeds=1, systems=["text_only"])
    in_folds(workspace)
    train.run(workspace)
    predictions, scores = evaluate.run(workspace)
    test = pd.read_parquet(workspace.test_labels)
    assert predictions[["partition", "id"]].to_numpy().tolist() == test[["partition", "id"]].to_numpy().tolist()
    assert scores[["seed", "partitions", "rows"]].to_numpy().tolist() == [[0, 2, len(test)]]
    (workspace.fit("text_only", "fold1", 0) / "config.json").unlink()
    with pytest.raises(DataError, match="fold1"):
        evaluate.run(workspace)


def test_a_fit_that_is_lacking_is_named(open_project):
    workspace = open_project(seeds=1)
    train.run(workspace)
    with pytest.raises(DataError, match=r"gexsent.*seed1"):
        evaluate.run(open_project(seeds=2))


def test_costs_are_those_of_a_sample_of_median_length(open_project):
    workspace = open_project(seeds=1)
    train.run(workspace)
    evaluate.run(workspace)
    found = pd.read_csv(workspace.costs)
    assert list(found) == COST_COLUMNS
    assert found["system"].tolist() == ["gexsent", "text_only"]
    samples = train.load_samples(workspace)
    for modality in ("text", "vision"):
        lengths = getattr(samples, modality).lengths.numpy()
        assert set(found[f"{modality}_tokens"]) == {np.sort(lengths[lengths > 0])[(np.sum(lengths > 0) - 1) // 2]}
    for row in found.itertuples():
        model, _ = loop.load_model(workspace.fit(row.system, "official", 0))
        assert row.parameters == sum(weight.numel() for weight in model.parameters())
    # Text only by hand: projection, pooling query, pooled sum for each token; a hidden layer and four outputs.
    tokens, width, features = found["text_tokens"][0], 8, samples.text.values.shape[1]
    assert found["multiply_adds"][1] == tokens * (features * width + 2 * width) + width * width + width * 4
