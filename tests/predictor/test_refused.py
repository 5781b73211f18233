"""What a predictor refuses, naming file, key or argument."""

import json

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gexsent import tasks
from gexsent.datasets import SPOKEN
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.errors import DataError
from gexsent.predictor import Predictor


def test_a_clip_is_refused_by_a_model_of_images(scores_memes):
    with pytest.raises(DataError, match="trained on images: give one frame of the clip as `image`"):
        scores_memes("so", clip="clip.mp4")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"image": "a.png", "clip": "b.mp4"}, "image and clip"),
        ({"image": "a.png", "vision": np.zeros((1, 64))}, "image and vision"),
        ({"clip": "b.mp4", "vision": np.zeros((1, 64))}, "clip and vision"),
    ],
)
def test_two_visual_inputs_are_refused(scores_clips, given, names):
    with pytest.raises(DataError, match=f"{names} were both given: choose one visual input"):
        scores_clips("so", **given)


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing_to_score_is_refused(scores_clips, text):
    with pytest.raises(DataError, match="nothing to score: give a text, an image or a clip"):
        scores_clips(text)


def test_a_picture_that_is_not_there_or_not_a_picture_is_named(scores_memes, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        scores_memes(image=tmp_path / "gone.png")
    (tmp_path / "words.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"words\.png: not a picture"):
        scores_memes(image=tmp_path / "words.png")


@pytest.mark.parametrize("wrong", [np.zeros((2, 7)), np.zeros(64), np.full((2, 64), np.nan), np.full((2, 64), np.inf)])
def test_visual_features_of_another_shape_or_not_finite_are_refused(scores_clips, wrong):
    with pytest.raises(DataError, match=r"vision: expected finite values of shape \(T, 64\)"):
        scores_clips("so", vision=wrong)


def test_a_model_without_encoders_says_what_to_pass(without_encoders):
    model = Predictor.from_pretrained(without_encoders[1])
    with pytest.raises(DataError, match="no text encoder: pass its features as `text`"):
        model("so")
    with pytest.raises(DataError, match="no vision encoder: pass its features as `vision`, or text alone"):
        model(np.zeros((2, 5)), image="a.png")
    with pytest.raises(DataError, match=r"text: expected finite values of shape \(T, 5\)"):
        model(np.zeros((2, 4)))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "encoders.json", "tasks.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        Predictor.from_pretrained(copy)


@pytest.mark.parametrize("name", ["config.json", "encoders.json"])
def test_an_unknown_key_is_named(copy, name):
    values = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(values | {"surprise": 1}))
    with pytest.raises(DataError, match=r"json: unknown or missing key 'surprise'"):
        Predictor.from_pretrained(copy)


def test_tasks_of_another_model_are_refused(copy):
    tasks.save(SPOKEN, copy)
    with pytest.raises(
        DataError, match=r"tasks\.json: not the tasks of config\.json, which are sentiment, humour_present"
    ):
        Predictor.from_pretrained(copy)


def test_weights_that_do_not_fit_are_named(copy):
    path = copy / "model.safetensors"
    weights = load_file(path)
    extra = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != extra}, path)
    with pytest.raises(DataError, match=f"(?s)model.safetensors.*{extra}"):
        Predictor.from_pretrained(copy)


@pytest.mark.parametrize("modality", ["text", "vision"])
def test_another_encoder_than_in_training_is_refused(copy, modality):
    values = json.loads((copy / "encoders.json").read_text())
    (copy / "encoders.json").write_text(json.dumps(values | {f"{modality}_fingerprint": "0" * 64}))
    with pytest.raises(DataError, match=f"the encoder {values[modality]} at hand is not the one that this model was"):
        Predictor.from_pretrained(copy)


def test_an_encoder_used_in_bf16_is_rounded_the_same_way(copy):
    half = {
        "text_fingerprint": load_text_encoder("tiny-modernbert", max_tokens=128, dtype=torch.bfloat16).fingerprint,
        "vision_fingerprint": load_vision_encoder("tiny-clip", dtype=torch.bfloat16).fingerprint,
    }
    values = json.loads((copy / "encoders.json").read_text())
    (copy / "encoders.json").write_text(json.dumps(values | half))
    model = Predictor.from_pretrained(copy)
    assert next(model.text.model.parameters()).dtype == model.vision.dtype == torch.bfloat16


def test_a_name_that_is_no_folder_comes_from_the_hub(memes, scores_memes, monkeypatch):
    asked = []

    def snapshot(name, **options):
        asked.append((name, options["allow_patterns"]))
        return str(memes[1])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert Predictor.from_pretrained("someone/gexsent")("so") == scores_memes("so")
    assert asked == [("someone/gexsent", ["*.json", "*.safetensors"])]


def test_a_name_that_nobody_has_is_named_in_one_line(monkeypatch):
    def offline(name, **options):
        raise ConnectionError("404 Client Error.\n\nRepository Not Found")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(DataError, match="nobody/nothing: neither a folder nor a model that the Hub gives us") as caught:
        Predictor.from_pretrained("nobody/nothing")
    assert "\n" not in str(caught.value)
