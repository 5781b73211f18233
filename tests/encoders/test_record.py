"""encoders.json: which encoders made a model's features."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gexsent import params
from gexsent.encoders.record import EncoderRecord
from gexsent.errors import DataError

ENCODE = params.load(Path(__file__).parents[2] / "params.yaml", "full").encode


def test_it_holds_what_is_needed_to_load_the_encoders_again(tmp_path):
    settings = replace(ENCODE, text="a/b", vision="ViT-B-32", vision_weights="w.pt", max_tokens=9, frames=4)
    EncoderRecord.of(settings, "t", "v").write(tmp_path)
    assert json.loads((tmp_path / "encoders.json").read_text()) == {
        "text": "a/b",
        "text_fingerprint": "t",
        "vision": "ViT-B-32",
        "vision_weights": "w.pt",
        "vision_fingerprint": "v",
        "max_tokens": 9,
        "frames": 4,
    }
    assert EncoderRecord.read(tmp_path) == EncoderRecord.of(settings, "t", "v")


def test_without_a_vision_encoder_none_is_named():
    record = EncoderRecord.of(ENCODE, "t", None)
    assert (record.vision, record.vision_weights, record.vision_fingerprint) == (None, None, None)


@pytest.mark.parametrize("content", ["", "{", "\x00"])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "encoders.json").write_text(content)
    with pytest.raises(DataError, match=r"encoders\.json: cannot be read: .*expected the folder of a trained model"):
        EncoderRecord.read(tmp_path)


def test_a_lacking_record_is_named(tmp_path):
    with pytest.raises(DataError, match=r"encoders\.json: cannot be read"):
        EncoderRecord.read(tmp_path)


@pytest.mark.parametrize(("change", "key"), [({"extra": 1}, "extra"), ({"frames": None}, "frames")])
def test_unknown_and_missing_keys_are_named(tmp_path, change, key):
    EncoderRecord.of(ENCODE, "t", None).write(tmp_path)
    path = tmp_path / "encoders.json"
    values = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in values.items() if name != key or key == "extra"}))
    with pytest.raises(DataError, match=f"unknown or missing key '{key}'"):
        EncoderRecord.read(tmp_path)


@pytest.mark.parametrize("content", ["[]", '"text"', "null", "3"])
def test_a_record_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "encoders.json").write_text(content)
    with pytest.raises(DataError, match="unknown or missing key"):
        EncoderRecord.read(tmp_path)
