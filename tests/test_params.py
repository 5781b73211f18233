import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from gexsent.errors import DataError
from gexsent.params import SECTIONS, load

PROJECT = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture
def changed(tmp_path):
    """params.yaml with a change made to it."""

    def write(change):
        raw = yaml.safe_load(PROJECT.read_text())
        change(raw)
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(raw))
        return path

    return write


@pytest.mark.parametrize("edition", ["sample", "lite", "full", "quick"])
def test_every_edition_of_the_project_loads(edition):
    params = load(PROJECT, edition)
    assert params.edition == edition
    assert params.datasets == ("mosi", "mosei", "memotion")
    assert (params.data.rows is None) == (edition in ("lite", "full"))


def test_without_an_edition_the_file_decides(changed):
    assert load(changed(lambda raw: raw.update(edition="lite"))).edition == "lite"
    assert load(changed(lambda raw: raw.update(edition="full"))).edition == "full"


def test_an_edition_overrides_what_it_names_and_nothing_else(changed):
    def change(raw):
        raw["train"].update(seeds=7, epochs=11)
        raw["editions"]["lite"]["train"] = {"seeds": 2}

    path = changed(change)
    assert (load(path, "lite").train.seeds, load(path, "lite").train.epochs) == (2, 11)
    assert (load(path, "full").train.seeds, load(path, "full").train.epochs) == (7, 11)


def test_a_data_set_overrides_its_edition_and_no_other_data_set(changed):
    def change(raw):
        raw["editions"]["lite"]["train"] = {"seeds": 2, "epochs": 9}
        raw["editions"]["lite"]["by_dataset"]["mosi"] = {"train": {"seeds": 4}, "model": {"width": 12}}
        raw["editions"]["lite"]["by_dataset"]["mosi"]["robustness"] = {"rows": 7}

    path = changed(change)
    assert (load(path, "lite", "mosi").train.seeds, load(path, "lite", "mosi").train.epochs) == (4, 9)
    assert load(path, "lite", "mosi").model.width == 12
    assert load(path, "lite", "mosi").robustness.rows == 7 != load(path, "lite").robustness.rows
    for params in (load(path, "lite", "mosei"), load(path, "lite")):
        assert (params.train.seeds, params.train.epochs) == (2, 9)
        assert params.model.width != 12


def test_a_changed_file_is_read_again(changed):
    assert load(changed(lambda raw: raw["train"].update(epochs=3)), "lite").train.epochs == 3
    assert load(changed(lambda raw: raw["train"].update(epochs=4)), "lite").train.epochs == 4


def test_values_are_frozen_and_typed():
    params = load(PROJECT, "lite")
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.train.lr = 1.0
    assert isinstance(params.train.systems, tuple)
    for section in (params.data, params.encode, params.model, params.search, params.train):
        for field in dataclasses.fields(section):
            if field.type is float:
                assert type(getattr(section, field.name)) is float


def test_a_whole_number_will_do_for_a_float(changed):
    clip = load(changed(lambda raw: raw["train"].update(clip=1)), "lite").train.clip
    assert (clip, type(clip)) == (1.0, float)


def test_two_is_a_batch(changed):
    assert load(changed(lambda raw: raw["train"].update(batch=2)), "lite").train.batch == 2


def put(section, key, value):
    return lambda raw: raw[section].update({key: value})


def own(values):
    return lambda raw: raw["editions"]["lite"]["by_dataset"].update({"mosei": values})


def override(section, value):
    return lambda raw: raw["editions"]["lite"].update({section: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("train", "learning_rate", 0.1), "train: unknown key 'learning_rate'; its keys are systems, seeds"),
        (override("train", {"learning_rate": 0.1}), "editions.lite.train: unknown key 'learning_rate'"),
        (lambda raw: raw["model"].pop("width"), "model: missing key 'width'"),
        (put("train", "lr", "1e-3"), "train.lr: expected float, found '1e-3' .in YAML write 0.001, not 1e-3."),
        (override("train", {"lr": "fast"}), "editions.lite.train.lr: expected float, found 'fast'"),
        (put("train", "lr", float("nan")), "train.lr: expected float, found nan"),
        (put("train", "lr", True), "train.lr: expected float, found True"),
        (put("train", "epochs", 2.5), "train.epochs: expected int, found 2.5"),
        (put("train", "epochs", False), "train.epochs: expected int, found False"),
        (put("train", "epochs", None), "train.epochs: expected int, found None"),
        (put("train", "batch", 1), "train.batch: expected 2 or more, found 1"),
        (override("train", {"batch": -8}), "train.batch: expected 2 or more, found -8"),
        (put("train", "systems", "gexsent"), "train.systems: expected tuple.*found 'gexsent'"),
        (put("train", "systems", ["gexsent", 1]), "train.systems: expected tuple"),
        (put("data", "rows", "many"), r"data.rows: expected int \| None, found 'many'"),
        (put("data", "verify_media", "yes"), "data.verify_media: expected bool, found 'yes'"),
        (put("data", "verify_media", 1), "data.verify_media: expected bool, found 1"),
        (put("encode", "text", None), "encode.text: expected str, found None"),
        (put("encode", "vision_weights", 3), r"encode.vision_weights: expected str \| None, found 3"),
        (own({"search": {"trials": 0}}), "search.trials: expected 1 or more, found 0"),
        (own({"search": {"folds": 1}}), "search.folds: expected 2 or more, found 1"),
        (put("search", "space", {"model.width": 64}), "search.space: expected dict"),
        (put("search", "space", {"model.width": []}), "search.space: model.width: expected a list of values"),
        (put("search", "space", {"encode.frames": [1]}), "search.space: encode.frames: expected a list of values for"),
        (put("search", "space", {"model.wdith": [64]}), "search.space: model: unknown key 'wdith'"),
        (put("search", "space", {"train.lr": [0.1, "high"]}), "search.space: train.lr: expected float, found 'high'"),
        (
            override("by_dataset", {"mosi": {}}),
            "editions.lite.by_dataset: expected the data sets mosi, mosei, memotion",
        ),
        (override("by_dataset", None), "editions.lite.by_dataset: expected the data sets"),
        (own({"data": {}}), "editions.lite.by_dataset.mosei: expected some of the sections model, search, train"),
        (own([]), "editions.lite.by_dataset.mosei: expected some of the sections"),
        (own({"train": {"learning": 1}}), "editions.lite.by_dataset.mosei.train: unknown key 'learning'"),
        (own({"train": {"batch": 1}}), "train.batch: expected 2 or more, found 1"),
        (lambda raw: raw.update(model=None), "model: expected a mapping, found None"),
        (override("model", [1]), r"editions.lite.model: expected a mapping, found \[1\]"),
        (lambda raw: raw.update(trian={}), "unknown key 'trian'; its keys are audit, data"),
        (lambda raw: raw.pop("encode"), "missing key 'encode'"),
        (lambda raw: raw["editions"].pop("lite"), "edition 'lite' is not under editions: full, quick, sample"),
        (lambda raw: raw["editions"]["lite"].pop("data"), "editions.lite: expected the sections data, encode"),
        (lambda raw: raw["editions"]["lite"].update(modle={}), "editions.lite: expected the sections"),
        (lambda raw: raw.update(editions="all"), "editions: expected a mapping, found 'all'"),
        (lambda raw: raw.update(datasets=["mosi", "iemocap"]), "datasets: expected some of mosi, mosei, memotion"),
        (lambda raw: raw.update(datasets=[["mosi"]]), "datasets: expected some of"),
        (lambda raw: raw.update(datasets=[]), "datasets: expected some of"),
        (lambda raw: raw.update(datasets="mosi"), "datasets: expected some of"),
    ],
)
def test_faults_name_the_file_and_the_key(changed, change, message):
    with pytest.raises(DataError, match=rf"params\.yaml: {message}"):
        load(changed(change), "lite", "mosei")


@pytest.mark.parametrize("edition", [["lite"], 1, None])
def test_an_edition_that_is_no_name_is_refused(changed, edition):
    with pytest.raises(DataError, match=r"params\.yaml: edition .* is not under editions"):
        load(changed(lambda raw: raw.update(edition=edition)))


def test_what_yaml_reads_as_text_is_refused_as_a_number(tmp_path):
    text, count = re.subn(r"^  lr: .*$", "  lr: 5e-4", PROJECT.read_text(), flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(DataError, match=r"params\.yaml: train\.lr: expected float, found '5e-4'"):
        load(tmp_path / "params.yaml", "full")


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"a: b: c"])
def test_files_that_are_no_yaml_are_named(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(DataError, match=r"params\.yaml: cannot be read as YAML"):
        load(tmp_path / "params.yaml")
    with pytest.raises(DataError, match=r"none\.yaml: cannot be read as YAML"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("content", ["", "- a\n", "text\n"])
def test_the_top_must_be_a_mapping(tmp_path, content):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(DataError, match=r"params\.yaml: expected a mapping at the top"):
        load(tmp_path / "params.yaml")


def test_every_field_stands_in_the_file_once():
    raw = yaml.safe_load(PROJECT.read_text())
    for name, cls in SECTIONS.items():
        assert list(raw[name]) == [field.name for field in dataclasses.fields(cls)]
