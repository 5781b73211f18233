"""The robustness stage on tiny fits: what it puts to the test, what it leaves out, and what it leaves behind."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from gexsent.errors import DataError
from gexsent.evaluation import robustness as protocol
from gexsent.evaluation.robustness import LEVELS, WHOLE, Condition
from gexsent.model import load_model
from gexsent.stages import evaluate, robustness, train
from gexsent.workspace import open_workspace

pytestmark = [
    pytest.mark.usefixtures("one_process"),
    pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning"),
    pytest.mark.filterwarnings("ignore:All-NaN slice"),  # on nine test rows a correlation may have no draw
]
UNDAMAGED = Condition(WHOLE, 0.0)
SYSTEMS = ["gexsent", "text_only", "vision_only"]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    for module in (evaluate, robustness):
        monkeypatch.setattr(module, "pick_device", lambda: "cpu")


def set_robustness(workspace, **changes):
    path = workspace.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["robustness"] = {"seeds": 2, "draws": 1, "rows": None} | changes
    params["editions"]["sample"]["robustness"] = {}
    # Random features have no encoder that could read the texts anew.
    params["editions"]["sample"]["encode"]["text"] = "features"
    path.write_text(yaml.safe_dump(params))
    return open_workspace("sample", "mosi", workspace.root)


@pytest.fixture
def trained(open_project):
    def open_(before=lambda workspace: None, robustness=None, **changes):
        workspace = open_project(**{"systems": SYSTEMS, "seeds": 1} | changes)
        before(workspace)
        train.run(workspace)
        return set_robustness(workspace, **robustness or {})

    return open_


def test_without_damage_predictions_are_those_of_the_evaluate_stage(trained):
    workspace = trained(seeds=2)
    labels = pd.read_parquet(workspace.test_labels)
    expected = evaluate.predict(workspace, labels).set_index(["system", "seed"])
    outcomes, _ = robustness.predict(workspace, labels, partitions=1)
    assert set(outcomes) == {(system, seed) for system in SYSTEMS for seed in (0, 1)}
    for fit, found in outcomes.items():
        own = expected.loc[fit]
        assert own["id"].tolist() == labels["id"].tolist()
        for name in [name for name in own if name.startswith(("pred_", "p_"))]:
            assert found[UNDAMAGED][name] == pytest.approx(own[name].to_numpy(), abs=1e-5)


def test_each_fold_is_put_to_its_own_model(trained, in_folds):
    """And so are the levels of damage: the fill of a blank token is the mean of the fold's own training rows."""
    workspace = trained(in_folds, seeds=2, fold_seeds=1)
    assert set(robustness.examine(workspace).curves["seed"]) == {0}
    labels = pd.read_parquet(workspace.test_labels).sample(frac=1, random_state=0, ignore_index=True)
    outcomes, _ = robustness.predict(workspace, labels, partitions=2)
    assert {seed for _, seed in outcomes} == {0}
    samples = train.load_samples(workspace)
    roles = pd.read_parquet(workspace.fit_labels)
    for partition in ("fold0", "fold1"):
        places = np.flatnonzero(labels["partition"] == partition)
        seen = roles.loc[(roles["partition"] == partition) & (roles["role"] == "train"), "id"].tolist()
        fill, deviation = samples.vision.statistics(samples.rows(seen))
        own = robustness.select(samples, labels["id"].tolist())
        views = dict(protocol.conditions(own, fill=fill, deviation=deviation, draws=1))
        model, _ = load_model(workspace.fit("vision_only", partition, 0))
        for condition in (UNDAMAGED, Condition("tokens", 0.9), Condition("noise", 2.0)):
            seen = protocol.inputs(views[condition], torch.from_numpy(places), batch=3)
            expected = protocol.forward(model, seen, workspace.spec.tasks)["pred_intensity"]
            found = outcomes["vision_only", 0][condition]["pred_intensity"]
            assert found[places] == pytest.approx(expected, abs=1e-5)


def test_selected_samples_are_those_of_the_store(trained):
    samples = train.load_samples(trained())
    ids = [samples.ids[place] for place in (7, 2, 31)]
    chosen = robustness.select(samples, ids)
    batch, expected = chosen.batch(torch.arange(3)), samples.batch(samples.rows(ids))
    assert chosen.ids == ids and all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))


def test_at_most_so_many_rows_are_damaged_and_groups_stay_whole(trained):
    workspace = trained(robustness={"rows": 8})
    test = pd.read_parquet(workspace.test_labels)
    groups = test["id"].map(pd.read_parquet(workspace.table).set_index("id")["group"])
    test = test.assign(group=groups)
    assert groups.value_counts().max() < 8 < len(test)
    part = robustness.drawn(test, 8)
    assert 0 < len(part) <= 8
    for group in part["group"].unique():
        assert set(part.loc[part["group"] == group, "id"]) == set(test.loc[test["group"] == group, "id"])
    assert robustness.drawn(test, len(test)) is test and robustness.drawn(test, None) is test
    pd.testing.assert_frame_equal(part, robustness.drawn(test.iloc[::-1], 8).iloc[::-1].reset_index(drop=True))
    with pytest.raises(DataError, match=r"robustness\.rows: 1 is less than the \d+ rows of one group"):
        robustness.drawn(test, 1)
    found = robustness.examine(workspace)
    assert found.rows == (len(part), len(test))
    expected = (part["intensity"] - evaluate_mean(workspace, part["id"])).abs().mean()
    clean = found.curves[(found.curves["system"] == "gexsent") & (found.curves["protocol"] == WHOLE)]
    assert clean["mae"].tolist() == pytest.approx([expected], abs=1e-5)


def evaluate_mean(workspace, ids):
    """Predicted intensities of GEXSent's only seed, in the order of `ids`."""
    predicted = evaluate.predict(workspace, pd.read_parquet(workspace.test_labels))
    own = predicted[predicted["system"] == "gexsent"].set_index("id")["pred_intensity"]
    return own.loc[ids].to_numpy()


def test_seeds_and_draws_say_how_many_runs_there_are(trained):
    workspace = trained(seeds=3, robustness={"seeds": 2, "draws": 3})
    curves = robustness.examine(workspace).curves
    runs = curves[(curves["system"] == "gexsent") & (curves["protocol"] == "tokens") & (curves["level"] == 0.5)]
    assert runs[["seed", "draw"]].to_numpy().tolist() == [[0, 0], [0, 2], [1, 1]]
    assert {p: sorted(part["level"].unique()) for p, part in curves.groupby("protocol")} == {
        WHOLE: [0.0],
        **{name: list(LEVELS[name][1:]) for name in ("tokens", "noise", "no_text", "no_vision")},
    }


def test_fine_tuned_and_mended_systems_are_left_out_and_variants_are_not(trained):
    workspace = trained()
    settings = workspace.params.train
    samples = train.load_samples(workspace)
    changed = {
        "systems": ("gexsent", "gexsent_finetuned", "no_gam", "released", "released_masked"),
        "dropout_systems": ("gexsent",),
    }
    names, why = robustness.systems(type(settings)(**vars(settings) | changed), samples)
    assert names == ["gexsent", "no_gam", "released", "gexsent+dropout"]
    assert [text.split(":")[0] for text in why] == ["GEXSent, fine-tuned", "Released, padding masked"]
    assert robustness.systems(settings, samples) == (SYSTEMS, [])


def test_texts_are_read_anew_by_the_encoder(open_project):
    """With nothing dropped the words that an encoder reads are the features that it wrote."""
    workspace = open_project()
    samples = train.load_samples(workspace)
    ids = pd.read_parquet(workspace.test_labels)["id"].tolist()
    anew = dict(robustness.read_anew(workspace, robustness.select(samples, ids), draws=2))
    assert set(anew) == {Condition(p, x, draw) for p in ("words", "typos") for x in LEVELS[p][1:] for draw in (0, 1)}
    lengths = [tokens.lengths.tolist() for condition, tokens in anew.items() if condition.protocol == "words"]
    assert all(one == lengths[0] for one in lengths)  # masked words leave their places
    first, second = (anew[Condition("words", 0.6, draw)].values for draw in (0, 1))
    assert not torch.equal(first, second)


def test_what_the_stage_leaves_twice_the_same(trained, files_under):
    workspace = trained(dropout_systems=["gexsent"], seeds=2)
    report = robustness.run(workspace.root, "sample")
    assert list(report.found) == ["mosi"] and set(report.left_out) == {"mosei", "memotion"}
    folder, figures = workspace.results / "robustness", workspace.results / "figures" / "robustness"
    tables = ("mosi_areas", "mosi_conflict", "verdicts")
    names = {f"{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")}
    assert {path.name for path in folder.iterdir()} == names | {"mosi_curves.csv", "mosi_routing.csv"}
    drawn = ("mosi_mae", "mosi_mae_dropout", "mosi_gates")
    assert list(report.figures) == list(drawn)
    assert {path.name for path in figures.iterdir()} == {
        f"{name}.{suffix}" for name in drawn for suffix in ("png", "pdf")
    }
    first = files_under(folder) | files_under(figures)
    (folder / "left_by_another_run.csv").touch()
    robustness.run(workspace.root, "sample")
    assert files_under(folder) | files_under(figures) == first
    assert set(pd.read_csv(folder / "mosi_areas.csv")["system"]) == {*SYSTEMS, "gexsent+dropout"}
    assert set(pd.read_csv(folder / "mosi_routing.csv")["system"]) == {"gexsent", "gexsent+dropout"}
    assert report.found["mosi"].left_out == (
        "words and typos: text features were brought along, so that no text can be read anew",
    )


def test_without_both_systems_of_one_modality_there_is_no_conflict(trained):
    found = robustness.examine(trained(systems=["gexsent", "text_only"]))
    assert found.conflict is None
    assert found.left_out[-1] == "conflict: it needs samples with vision, and both systems of a single modality"


def test_a_data_set_whose_models_or_raw_data_are_gone_is_left_out_with_a_word_of_it(trained):
    workspace = trained()
    fingerprint = json.loads(workspace.source.read_text())
    workspace.source.write_text(json.dumps(fingerprint | {"layout": None}))
    report = robustness.run(workspace.root, "sample")
    assert (report.found, report.figures, report.verdicts) == ({}, {}, None)
    assert "01_prepare to 03_train" in report.left_out["mosi"]
    workspace.source.write_text(json.dumps(fingerprint))
    shutil.rmtree(workspace.models)
    assert set(robustness.run(workspace.root, "sample").left_out) == {"mosi", "mosei", "memotion"}


def test_a_fit_that_is_lacking_stops_the_stage_with_its_name(trained):
    workspace = trained()
    shutil.rmtree(workspace.fit("text_only", "official", 0))
    with pytest.raises(DataError, match=r"text_only/official/seed0"):
        robustness.run(workspace.root, "sample")
