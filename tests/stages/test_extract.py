"""The extract stage: features of what each row has, absent where it has nothing."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from gexsent.data import media
from gexsent.data.arrays import Ragged
from gexsent.encoders.layers import TopLayers
from gexsent.encoders.record import EncoderRecord
from gexsent.encoders.text import TextEncoder, load_text_encoder
from gexsent.encoders.vision import VisionEncoder, load_vision_encoder
from gexsent.errors import DataError
from gexsent.features import FeatureStore
from gexsent.sample import generate
from gexsent.stages import extract, prepare, source
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared_data(tmp_path_factory):
    """A project with the samples of MOSI and Memotion lying where a user would put them, prepared."""
    root = tmp_path_factory.mktemp("extract")
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["editions"]["lite"]["encode"] = {
        "text": "tiny-modernbert",
        "vision": "tiny-clip",
        "vision_weights": None,
        "max_tokens": 24,
        "frames": 3,
        "batch_images": 4,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for dataset, rows in (("mosi", 15), ("memotion", 30)):
        generate.generate(root / "data" / "raw" / dataset, dataset, rows=rows, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GEXSENT_DATA", raising=False)
        for dataset in ("mosi", "memotion"):
            workspace = open_workspace("lite", dataset, root)
            source.run(workspace)
            prepare.run(workspace)
    return root


@pytest.fixture
def open_data(prepared_data, tmp_path, monkeypatch):
    """Open a copy of it; keyword arguments change the encode section."""
    monkeypatch.delenv("GEXSENT_DATA", raising=False)
    monkeypatch.setattr(extract, "pick_device", lambda: "cpu")
    root = tmp_path / "project"
    shutil.copytree(prepared_data, root)

    def open_(dataset, **changes):
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["editions"]["lite"]["encode"] |= changes
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        return open_workspace("lite", dataset, root)

    return open_


def change_table(workspace, **columns):
    """Set columns of the first row."""
    table = pd.read_parquet(workspace.table)
    for name, value in columns.items():
        table.loc[0, name] = value
    table.to_parquet(workspace.table, index=False)
    return table


@pytest.mark.parametrize("dataset", ["mosi", "memotion"])
def test_each_row_gets_the_features_of_its_own_text_and_media(open_data, dataset):
    workspace = open_data(dataset)
    text, vision = extract.run(workspace)
    table = pd.read_parquet(workspace.table)
    words, eyes = load_text_encoder("tiny-modernbert", max_tokens=24), load_vision_encoder("tiny-clip")
    assert text.ids == vision.ids == table["id"].tolist()
    for number, row in enumerate(table.itertuples()):
        np.testing.assert_allclose(text.row(number), words.encode([row.text])[0], atol=4e-3)
        path = workspace.raw / row.media
        if dataset == "mosi":
            wanted = eyes.encode_frames(media.read_frames(path, 3)[0])
        else:
            wanted = eyes.encode_images([media.open_image(path)])[0]
        np.testing.assert_allclose(vision.row(number), wanted, atol=4e-3)
    assert FeatureStore.open(workspace.features / "text", verify=True).digest == text.digest


def test_the_record_names_encoders_and_their_fingerprints(open_data):
    workspace = open_data("mosi")
    extract.run(workspace)
    record = EncoderRecord.read(workspace.features)
    assert (record.text, record.vision, record.max_tokens, record.frames) == ("tiny-modernbert", "tiny-clip", 24, 3)
    assert record.text_fingerprint == load_text_encoder("tiny-modernbert", max_tokens=24).fingerprint
    assert record.vision_fingerprint == load_vision_encoder("tiny-clip").fingerprint


@pytest.mark.parametrize("dataset", ["mosi", "memotion"])
def test_a_row_without_text_or_media_lacks_that_modality_alone(open_data, dataset):
    workspace = open_data(dataset)
    change_table(workspace, text="  ", media="", kind="none")
    text, vision = extract.run(workspace)
    assert text.lengths[0] == vision.lengths[0] == 0
    assert (text.lengths[1:] > 0).all()
    assert (vision.lengths[1:] > 0).all()


@pytest.mark.parametrize(
    ("change", "text_differs", "vision_differs"),
    [({"max_tokens": 4}, True, False), ({"frames": 2}, False, True)],
)
def test_max_tokens_and_frames_decide_the_number_of_tokens(open_data, change, text_differs, vision_differs):
    before = extract.run(open_data("mosi"))
    after = extract.run(open_data("mosi", **change))
    assert (before[0].lengths.tolist() != after[0].lengths.tolist()) == text_differs
    assert (before[1].lengths.tolist() != after[1].lengths.tolist()) == vision_differs
    most = after[0].lengths.max() if text_differs else after[1].lengths.max()
    assert most == next(iter(change.values()))


def test_batch_sizes_are_passed_on(open_data, monkeypatch):
    texts, pictures = [], []
    states, encode_images = TextEncoder.states, VisionEncoder.encode_images
    monkeypatch.setattr(
        TextEncoder, "states", lambda self, part, counts: texts.append(len(part)) or states(self, part, counts)
    )
    monkeypatch.setattr(
        VisionEncoder, "encode_images", lambda self, part: pictures.append(len(part)) or encode_images(self, part)
    )
    extract.run(open_data("memotion", batch_tokens=1, batch_images=8))
    assert texts == [1] * 30
    assert pictures == [8, 8, 8, 6]


def test_a_second_run_encodes_nothing_and_a_changed_text_is_encoded_again(open_data, monkeypatch):
    workspace = open_data("memotion")
    before = extract.run(workspace)
    calls = []
    states = TextEncoder.states
    monkeypatch.setattr(
        TextEncoder, "states", lambda self, part, counts: calls.append(len(part)) or states(self, part, counts)
    )
    again = extract.run(workspace)
    assert calls == []
    assert [store.digest for store in again] == [store.digest for store in before]
    change_table(workspace, text="what a ghastly hotel")
    changed = extract.run(workspace)
    assert sum(calls) == 30
    assert changed[0].digest != before[0].digest
    assert changed[1].digest == before[1].digest


def test_features_brought_along_are_taken_in_the_order_of_the_table(open_data):
    workspace = open_data("mosi", text="features", vision="features")
    ids = pd.read_parquet(workspace.table)["id"].tolist()
    values = np.arange(4 * 2, dtype=np.float32).reshape(4, 2)
    brought = Ragged([ids[5], ids[2]], values, np.array([1, 3]))
    for modality in ("text", "vision"):
        brought.save_npz(workspace.found / f"{modality}.npz")
    text, vision = extract.run(workspace)
    for store in (text, vision):
        assert store.lengths.tolist() == [3 if n == 2 else 1 if n == 5 else 0 for n in range(len(ids))]
        np.testing.assert_array_equal(store.row(5), values[:1])
        np.testing.assert_array_equal(store.row(2), values[1:])
    record = EncoderRecord.read(workspace.features)
    assert (record.text, record.vision, record.vision_fingerprint) == ("features", None, None)


def test_vision_asked_of_features_that_are_not_there_is_absent(open_data):
    workspace = open_data("mosi", vision="features")
    text, vision = extract.run(workspace)
    assert (text.lengths > 0).all()
    assert vision.lengths.tolist() == [0] * len(text.ids)
    assert EncoderRecord.read(workspace.features).vision is None


def test_text_asked_of_features_that_are_not_there_is_refused(open_data):
    workspace = open_data("mosi", text="features")
    with pytest.raises(
        DataError, match=r"raw/mosi: encode\.text is `features`, and no text features were found"
    ) as caught:
        extract.run(workspace)
    assert "put text.npz" in str(caught.value) and "encode.text in params.yaml" in str(caught.value)


def test_rows_without_any_media_need_no_vision_encoder(open_data, monkeypatch):
    workspace = open_data("mosi", vision="ViT-B-32", vision_weights="no/such/file.pt")
    table = pd.read_parquet(workspace.table)
    table.assign(media="", kind="none").to_parquet(workspace.table, index=False)
    assert extract.run(workspace)[1].lengths.sum() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_tuned_layers_are_stored_with_the_states_that_enter_them(open_data, count):
    """Through these layers, the states become those that are stored of the whole encoder."""
    workspace = open_data("mosi", tuned_layers=count)
    change_table(workspace, text=" ")
    text, _ = extract.run(workspace)
    lower = FeatureStore.open(workspace.features / "text_lower", verify=True)
    layers = TopLayers.load(workspace.features / "text_lower").eval()
    assert layers.description["count"] == count
    assert lower.ids == text.ids and lower.lengths.tolist() == text.lengths.tolist() and lower.lengths[0] == 0
    for number in range(1, len(text.ids)):
        states = torch.from_numpy(np.array(lower.row(number), np.float32))[None]
        with torch.no_grad():
            again = layers(states, torch.ones(states.shape[:2], dtype=torch.bool))[0]
        np.testing.assert_allclose(again, text.row(number), atol=2e-2)


def test_another_number_of_tuned_layers_leaves_the_text_alone_and_none_leaves_a_word(open_data):
    text = {}
    for count in (1, 2, 0):
        workspace = open_data("mosi", tuned_layers=count)
        text[count] = extract.run(workspace)[0].digest
        found = sorted(path.name for path in (workspace.features / "text_lower").iterdir())
        assert ("none.txt" in found) is (count == 0)
        assert count or found == ["none.txt"]
        assert not count or TopLayers.load(workspace.features / "text_lower").description["count"] == count
    assert len(set(text.values())) == 1


def test_layers_of_other_states_do_not_stay_when_the_stage_is_stopped(open_data, monkeypatch):
    extract.run(open_data("mosi", tuned_layers=1))
    workspace = open_data("mosi", tuned_layers=2)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(TextEncoder, "encode_below", stop)
    with pytest.raises(KeyboardInterrupt):
        extract.run(workspace)
    assert not (workspace.features / "text_lower" / "text_layers.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuned_layers": 3}, "expected 1 to 2, the text encoder's depth, found 3"),
        ({"tuned_layers": -1}, "expected 1 to 2, the text encoder's depth, found -1"),
        ({"tuned_layers": 1, "text": "features"}, "features brought along have no encoder to tune"),
    ],
)
def test_layers_that_there_are_not_are_refused(open_data, changes, message):
    with pytest.raises(DataError, match=rf"encode\.tuned_layers: {message}"):
        extract.run(open_data("mosi", **changes))


def test_two_runs_from_scratch_give_the_same_bytes(open_data):
    workspace = open_data("memotion", tuned_layers=1)
    digests = []
    for _ in range(2):
        extract.run(workspace)
        files = sorted(path for path in workspace.features.rglob("*") if path.is_file())
        digests.append(
            {path.relative_to(workspace.features): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        )
        shutil.rmtree(workspace.features)
    assert digests[0] == digests[1]


def test_it_says_what_to_run_first(open_data):
    workspace = open_data("mosi")
    workspace.table.unlink()
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        extract.run(workspace)
