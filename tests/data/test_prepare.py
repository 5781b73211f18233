"""The stages that write what the readers read: source and prepare."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gexsent import params
from gexsent.data.arrays import Ragged
from gexsent.errors import DataError
from gexsent.stages import prepare, source
from gexsent.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace of real data under tmp_path/raw, with the project's own parameters."""
    monkeypatch.setenv("GEXSENT_DATA", str(tmp_path / "raw"))
    settings = params.load(Path(__file__).parents[2] / "params.yaml", "lite")

    def make(dataset, **data):
        return Workspace(tmp_path, "lite", dataset, replace(settings, data=replace(settings.data, **data)))

    return make


def test_labels_of_an_official_split_lie_in_two_files(tmp_path, workspace, label_csv):
    label_csv(root=tmp_path / "raw/mosi")
    space = workspace("mosi")
    prepare.run(space)
    table = prepare.read_table(space.table)
    assert table["id"].tolist()[:3] == ["-3g5yACwYnA$_$0", "-3g5yACwYnA$_$1", "8404$_$0"]
    assert not {"intensity", "sentiment"} & set(table.columns)
    fit, test = prepare.read_table(space.fit_labels), prepare.read_table(space.test_labels)
    assert fit["role"].tolist() == ["train", "train", "valid", "valid"]
    assert fit["id"].tolist() == table["id"].tolist()[:4]
    np.testing.assert_allclose(fit["intensity"], [-2.4, 0, 1, 3], rtol=1e-6)
    assert test.columns.tolist() == ["partition", "id", "intensity", "sentiment"]
    assert test["id"].tolist() == ["zz$_$0", "zz$_$1"]
    assert set(fit["partition"]) | set(test["partition"]) == {"official"}


def test_no_fold_keeps_a_test_row_among_what_it_is_fitted_on(tmp_path, workspace, memes, many_memes):
    (tmp_path / "raw/memotion").mkdir(parents=True)
    memes(tmp_path / "raw/memotion", many_memes)
    space = workspace("memotion")
    prepare.run(space)
    fit, test = prepare.read_table(space.fit_labels), prepare.read_table(space.test_labels)
    assert set(fit["role"]) == {"train", "valid"}
    assert sorted(test["id"]) == sorted(row[1] for row in many_memes)  # each sample is tested once
    for fold in range(5):
        fitted = set(fit.loc[fit["partition"] == f"fold{fold}", "id"])
        tested = set(test.loc[test["partition"] == f"fold{fold}", "id"])
        assert fitted and tested
        assert not fitted & tested
        assert len(fitted) + len(tested) == 60


def test_labels_keep_to_their_ids_when_rows_are_in_another_order():
    samples = pd.DataFrame({"id": ["b", "a", "c"], "split": ["train", "test", "valid"]})
    labels = pd.DataFrame({"id": ["a", "b", "c"], "intensity": [1.0, 2.0, 3.0]})
    parted = prepare.partition_labels(samples, labels)
    assert dict(zip(parted["id"], parted["intensity"], strict=True)) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert dict(zip(parted["id"], parted["role"], strict=True)) == {"b": "train", "a": "test", "c": "valid"}


def test_features_found_are_written_and_stale_ones_removed(tmp_path, workspace, label_csv):
    raw = tmp_path / "raw/mosi"
    label_csv(root=raw)
    space = workspace("mosi")
    ids = prepare.run(space).samples["id"].tolist()
    assert all(Ragged.load_npz(space.found / f"{modality}.npz").ids == [] for modality in ("text", "vision"))
    Ragged(ids[::-1], np.arange(6, dtype=np.float32)[:, None], np.ones(6, np.int64)).save_npz(raw / "vision_mine.npz")
    prepare.run(space)
    found = Ragged.load_npz(space.found / "vision.npz")
    assert (found.ids, found.values[:, 0].tolist()) == (ids, [5, 4, 3, 2, 1, 0])
    assert Ragged.load_npz(space.found / "text.npz").ids == []
    (raw / "vision_mine.npz").unlink()
    prepare.run(space)
    assert Ragged.load_npz(space.found / "vision.npz").ids == []


def test_the_quarantine_is_a_report_and_the_summary_counts_it(tmp_path, workspace, label_csv, mmsa_rows):
    mmsa_rows[1][3] = "word"
    label_csv(mmsa_rows, root=tmp_path / "raw/mosi")
    space = workspace("mosi", max_bad_rows=0.2)
    prepare.run(space)
    assert (space.derived / "quarantine.csv").read_text().splitlines() == [
        "file,row,id,problem,action",
        "label.csv,3,-3g5yACwYnA$_$1,label is not a number,left out",
    ]
    summary = json.loads((space.derived / "data.json").read_text())
    assert (summary["rows"], summary["quarantine"]) == (5, "1 x label is not a number (left out)")
    with pytest.raises(DataError, match=r"label\.csv: 1 of 6 rows cannot be used, more than 5%"):
        prepare.run(workspace("mosi"))


def test_verify_media_and_seed_reach_the_reader(tmp_path, workspace, memes, many_memes):
    raw = tmp_path / "raw/memotion"
    raw.mkdir(parents=True)
    memes(raw, many_memes)
    (raw / "images/image_0.png").write_text("no picture")
    kinds = [
        prepare.run(workspace("memotion", verify_media=verify)).samples["kind"].value_counts().to_dict()
        for verify in (False, True)
    ]
    assert kinds == [{"image": 60}, {"image": 59, "none": 1}]
    splits = [prepare.run(workspace("memotion", seed=seed)).samples["split"].tolist() for seed in (1, 2)]
    assert splits[0] != splits[1]


def test_two_runs_write_the_same_bytes(tmp_path, workspace, memes, many_memes):
    (tmp_path / "raw/memotion").mkdir(parents=True)
    memes(tmp_path / "raw/memotion", many_memes)
    space = workspace("memotion")
    prepare.run(space)
    first = {path.name: path.read_bytes() for path in space.derived.rglob("*") if path.is_file()}
    prepare.run(space)
    assert {path.name: path.read_bytes() for path in space.derived.rglob("*") if path.is_file()} == first
    tables = {"table.parquet", "fit.parquet", "test.parquet", "quarantine.csv", "data.json"}
    assert set(first) == tables | {"text.npz", "vision.npz"}


def test_a_full_disk_is_explained_and_leaves_the_old_table(tmp_path, workspace, label_csv, mmsa_rows):
    label_csv(root=tmp_path / "raw/mosi")
    space = workspace("mosi")
    prepare.run(space)
    before = space.table.read_bytes()
    label_csv(mmsa_rows[::-1], root=tmp_path / "raw/mosi")
    space.table.with_name("table.parquet.partial").symlink_to("/dev/full")  # every write fails for lack of room
    with pytest.raises(DataError, match="mosi: the disk is full; make room there and run again"):
        prepare.run(space)
    assert space.table.read_bytes() == before


def test_a_table_that_is_not_there_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.parquet is not there yet; run `dvc repro`"):
        prepare.read_table(tmp_path / "table.parquet")


def test_source_tells_what_is_there_and_what_is_not(tmp_path, workspace, label_csv):
    label_csv(root=tmp_path / "raw/mosi")
    assert source.run(workspace("mosi"))["layout"] == "label.csv"
    assert source.run(workspace("memotion"))["layout"] is None  # left out later, and no error now
    assert source.is_there(workspace("mosi"))
    assert not source.is_there(workspace("memotion"))


def test_source_writes_only_when_something_changed(tmp_path, workspace, label_csv, mmsa_rows):
    label_csv(root=tmp_path / "raw/mosi")
    space = workspace("mosi")
    source.run(space)
    number = space.source.stat().st_ino  # a new file would have another one
    source.run(space)
    assert space.source.stat().st_ino == number
    before = space.source.read_bytes()
    label_csv(mmsa_rows[:5], root=tmp_path / "raw/mosi")
    source.run(space)
    assert space.source.read_bytes() != before


@pytest.mark.parametrize("rows", [5, 10, 15, 20])
def test_a_small_sample_of_memes_has_every_split(workspace, rows):
    space = workspace("memotion", rows=rows)
    source.run(space)
    counts = prepare.run(space).samples["split"].value_counts()
    assert counts.sum() == rows
    assert counts["train"] >= 2 and counts["valid"] >= 1 and counts["test"] >= 1


@pytest.mark.parametrize("rows", [11, 16])
def test_a_small_sample_of_clips_has_every_split(workspace, rows):
    space = workspace("mosi", rows=rows, verify_media=False)
    source.run(space)
    assert set(prepare.run(space).samples["split"]) == {"train", "valid", "test"}


@pytest.mark.parametrize(("dataset", "least"), [("memotion", 5), ("mosi", 11), ("mosei", 11)])
def test_a_sample_too_small_to_be_split_is_refused_with_the_least_number(workspace, dataset, least):
    space = workspace(dataset, rows=least - 1)
    with pytest.raises(DataError, match=rf"{dataset} cannot be generated with {least - 1} rows; {least} are the least"):
        source.run(space)
    assert not space.raw.exists()


def test_source_generates_data_once_where_the_edition_asks_for_them(tmp_path, workspace):
    space = workspace("memotion", rows=12)
    assert space.generated
    assert source.run(space)["media"]["count"] == 12
    made = space.raw / "labels.csv"
    number = made.stat().st_ino
    source.run(space)
    assert made.stat().st_ino == number
    assert source.run(workspace("memotion", rows=13))["media"]["count"] == 13
