"""From a folder to a prediction, and what is refused on the way."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from gexsent import tasks
from gexsent.data import media
from gexsent.data.arrays import Ragged
from gexsent.datasets import LEVEL_NAMES, SENTIMENTS, SPOKEN
from gexsent.encoders.layers import TopLayers
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.errors import DataError
from gexsent.features import FeatureStore
from gexsent.model import build, load_model, save_model
from gexsent.predictor import Predictor
from gexsent.stages import evaluate, extract, fits, prepare, source, train
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[1]
EDITION = {
    "data": {"rows": 40, "verify_media": False},
    "encode": {"frames": 3},
    "model": {"width": 8, "experts": 2, "expert_width": 4, "top_k": 1, "attention_heads": 2},
    "train": {"systems": ["gexsent"], "seeds": 1, "fold_seeds": 1, "epochs": 1},
}


@pytest.fixture(scope="module")
def train_on(tmp_path_factory, fit_here):
    """Run the pipeline to its stored predictions; give the workspace and the fit's folder. Brought: no encoders."""

    def run(dataset, *, brought=False, system="gexsent"):
        root = tmp_path_factory.mktemp(dataset)
        shutil.copy(PROJECT / "dvc.yaml", root)
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        for section, values in EDITION.items():
            params["editions"]["sample"][section] |= values
        params["editions"]["sample"]["encode"] |= {"tuned_layers": int(system == "gexsent_finetuned")}
        params["editions"]["sample"]["train"] |= {"systems": [system]}
        if brought:
            params["editions"]["sample"]["encode"] |= {"text": "features", "vision": "features"}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        workspace = open_workspace("sample", dataset, root)
        source.run(workspace)
        prepare.run(workspace)
        if brought:
            ids = pd.read_parquet(workspace.table)["id"].tolist()
            for modality, width in (("text", 5), ("vision", 3)):
                values = np.random.default_rng(width).normal(size=(2 * len(ids), width)).astype(np.float32)
                Ragged(ids, values, np.full(len(ids), 2)).save_npz(workspace.found / f"{modality}.npz")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fits, "_on_cores", fit_here)
            for stage in (extract, fits, evaluate):
                patch.setattr(stage, "pick_device", lambda: "cpu")
            extract.run(workspace)
            train.run(workspace)
            evaluate.predict(workspace, pd.read_parquet(workspace.test_labels)).to_parquet(
                workspace.root / "stored.parquet"
            )
        (partition,) = pd.read_parquet(workspace.test_labels)["partition"].unique()
        return workspace, workspace.fit(system, partition, 0)

    return run


@pytest.fixture(scope="module")
def clips(train_on):
    return train_on("mosi")


@pytest.fixture(scope="module")
def tuned(train_on):
    return train_on("mosi", system="gexsent_finetuned")


@pytest.fixture(scope="module")
def memes(train_on):
    return train_on("memotion")


@pytest.fixture(scope="module")
def alone(memes, tmp_path_factory):
    """Load an untrained model of images that uses one modality alone."""

    def load(system):
        _, config = load_model(memes[1])
        folder = tmp_path_factory.mktemp(system)
        for name in ("encoders.json", "tasks.json"):
            shutil.copy(memes[1] / name, folder)
        config = replace(config, system=system)
        save_model(build(config), config, folder)
        return Predictor.from_pretrained(folder)

    return load


@pytest.fixture(scope="module")
def without_encoders(train_on):
    return train_on("mosi", brought=True)


@pytest.fixture(scope="module")
def scores_clips(clips):
    return Predictor.from_pretrained(clips[1])


@pytest.fixture(scope="module")
def scores_memes(memes):
    return Predictor.from_pretrained(memes[1])


def stored(workspace, number=0):
    """A test row of the table beside what the evaluate stage stored for it."""
    prediction = pd.read_parquet(workspace.root / "stored.parquet").iloc[number]
    return pd.read_parquet(workspace.table).set_index("id").loc[prediction["id"]], prediction


@pytest.fixture
def copy(memes, tmp_path):
    """A copy of a fit's folder, to be damaged."""
    return Path(shutil.copytree(memes[1], tmp_path / "fit"))


@pytest.mark.parametrize("number", [0, 3])
def test_a_clip_is_scored_as_the_evaluate_stage_scored_it(clips, scores_clips, number):
    row, wanted = stored(clips[0], number)
    found = scores_clips(row["text"], clip=clips[0].raw / row["media"])
    assert found["intensity"] == pytest.approx(wanted["pred_intensity"], abs=2e-3)
    assert found["sentiment"] == SENTIMENTS[wanted["pred_sentiment"] + 1]
    for name in SENTIMENTS:
        assert found["probabilities"]["sentiment"][name] == pytest.approx(wanted[f"p_sentiment_{name}"], abs=2e-3)
    assert found.keys() == {"intensity", "sentiment", "probabilities"}


def test_a_fine_tuned_model_scores_as_the_evaluate_stage_did(tuned):
    """Its folder has the layers as they were tuned; those below come from the encoder."""
    workspace, folder = tuned
    score = Predictor.from_pretrained(folder)
    row, wanted = stored(workspace, 3)
    found = score(row["text"], clip=workspace.raw / row["media"])
    assert found["intensity"] == pytest.approx(wanted["pred_intensity"], abs=2e-3)
    assert found["probabilities"]["sentiment"]["positive"] == pytest.approx(wanted["p_sentiment_positive"], abs=2e-3)
    start = TopLayers.load(workspace.features / "text_lower").state_dict()
    assert not any(torch.equal(value, start[name]) for name, value in score.model.text_layers.state_dict().items())
    batch = score.batch(row["text"], clip=workspace.raw / row["media"])
    tuned_head = score.model(batch).heads["intensity"].item()
    score.model.text_layers.load_state_dict(start)
    # Few steps move it little: four digits, as a call gives, may be the same.
    assert score.model(batch).heads["intensity"].item() != pytest.approx(tuned_head, abs=1e-6)


def test_a_fine_tuned_model_without_a_text_or_without_a_clip(tuned):
    score = Predictor.from_pretrained(tuned[1])
    row, _ = stored(tuned[0])
    assert np.isfinite(score("", clip=tuned[0].raw / row["media"])["intensity"])
    assert np.isfinite(score("what a lovely day")["intensity"])


def test_a_table_is_scored_as_post_by_post(tuned):
    workspace, folder = tuned
    score = Predictor.from_pretrained(folder)
    table = pd.read_parquet(workspace.table)[["id", "text", "media"]].head(9)
    table.loc[[2, 3], "text"] = ""
    table.loc[[4, 5], "media"] = ""
    found = score.predict(table, text="text", clip="media", media_root=workspace.raw, progress=False)
    for row in found.itertuples():
        wanted = score(row.text, clip=workspace.raw / row.media if row.media else None)
        assert row.pred_intensity == pytest.approx(wanted["intensity"], abs=6e-5)  # which has four digits
        assert row.pred_sentiment == wanted["sentiment"]
        assert row.p_sentiment_neutral == pytest.approx(wanted["probabilities"]["sentiment"]["neutral"], abs=6e-5)
    assert (found["error"] == "").all()


@pytest.mark.parametrize("number", [0, 5])
def test_a_meme_is_scored_as_the_evaluate_stage_scored_it(memes, scores_memes, number):
    row, wanted = stored(memes[0], number)
    found = scores_memes(row["text"], image=memes[0].raw / row["media"])
    assert found.keys() == {"sentiment", "probabilities", "humour", "sarcasm", "offensive", "motivational"}
    assert found["probabilities"]["sentiment"]["positive"] == pytest.approx(wanted["p_sentiment_positive"], abs=2e-3)
    assert sum(found["probabilities"]["sentiment"].values()) == pytest.approx(1, abs=2e-4)
    for category in ("humour", "sarcasm", "offensive", "motivational"):
        assert found[category]["level"] == wanted[f"pred_{category}_level"]
        assert found[category]["name"] == LEVEL_NAMES[category][wanted[f"pred_{category}_level"]]
        assert found[category]["present"] == pytest.approx(wanted[f"p_{category}_present"], abs=2e-3)


def test_a_prediction_is_plain_json(scores_memes):
    found = scores_memes("what a superb concert")
    assert json.loads(json.dumps(found)) == found


def test_a_path_an_open_picture_and_a_name_in_text_are_the_same_picture(memes, scores_memes):
    row, _ = stored(memes[0])
    path = memes[0].raw / row["media"]
    by_path = scores_memes(image=path)
    assert scores_memes(image=str(path)) == by_path
    assert scores_memes(image=media.open_image(path)) == by_path


def transparent(mode):
    """Left black; right red and transparent, which on white is white."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    image.paste((250, 0, 0, 0), (32, 0, 64, 64))
    return image.convert(mode)


def deep_grey():
    return Image.fromarray(np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16))


@pytest.mark.parametrize("odd", [transparent("RGBA"), transparent("P"), deep_grey()], ids=["RGBA", "P", "16 bit"])
def test_an_open_picture_of_an_odd_mode_is_read_as_its_file_is(scores_memes, tmp_path, odd):
    odd.save(tmp_path / "odd.png")
    by_path = scores_memes(image=tmp_path / "odd.png")
    assert scores_memes(image=odd) == by_path
    assert scores_memes(image=odd.convert("RGB")) != by_path  # what the encoder's own transform would make of it
    with Image.open(tmp_path / "odd.png") as image:
        assert scores_memes(image=image) == by_path


def test_a_model_of_text_alone_asks_for_a_text(alone):
    model, picture = alone("text_only"), Image.new("RGB", (64, 64), "orange")
    for text in ("", " \n", np.zeros((0, 64))):
        with pytest.raises(DataError, match="this model uses the text alone: give a text"):
            model(text, image=picture)
    with pytest.raises(DataError, match="nothing to score"):
        model()
    assert model("so", image=picture) == model("so")


def test_a_model_of_vision_alone_asks_for_something_to_see(alone):
    model, picture = alone("vision_only"), Image.new("RGB", (64, 64), "orange")
    for vision in (None, np.zeros((0, 64))):
        with pytest.raises(DataError, match="uses what is seen alone: give an image, a clip or visual features"):
            model("so", vision=vision)
    assert model("so", image=picture) == model(image=picture)


def test_text_and_picture_each_count(memes, scores_memes):
    row, _ = stored(memes[0])
    image = memes[0].raw / row["media"]
    both, alone, seen = scores_memes(row["text"], image=image), scores_memes(row["text"]), scores_memes(image=image)
    assert len({json.dumps(prediction) for prediction in (both, alone, seen)}) == 3
    assert scores_memes("  \n", image=image) == seen


def test_a_picture_is_one_frame_to_a_model_of_clips(scores_clips):
    picture = Image.new("RGB", (90, 90), "orange")
    frame = scores_clips.vision.encode_frames([picture]).astype(np.float32)
    assert scores_clips("so", image=picture) == scores_clips("so", vision=frame)


def test_frames_recorded_in_training_decide_how_a_clip_is_read(clips, scores_clips):
    row, _ = stored(clips[0])
    path = clips[0].raw / row["media"]
    three = scores_clips.vision.encode_frames(media.read_frames(path, 3)[0]).astype(np.float32)
    assert scores_clips("so", clip=path) == scores_clips("so", vision=three)
    ten = scores_clips.vision.encode_frames(media.read_frames(path, 10)[0]).astype(np.float32)
    assert scores_clips("so", clip=path) != scores_clips("so", vision=ten)


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


def test_a_model_of_features_brought_along_takes_features(without_encoders):
    workspace, folder = without_encoders
    model = Predictor.from_pretrained(folder)
    _, wanted = stored(workspace)
    stores = [FeatureStore.open(workspace.features / modality) for modality in ("text", "vision")]
    words, seen = (store.row(store.ids.index(wanted["id"])) for store in stores)
    assert model(words, vision=seen)["intensity"] == pytest.approx(wanted["pred_intensity"], abs=1e-4)
    assert model(words) != model(words, vision=seen)
    assert model(vision=seen) != model(words, vision=seen)


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
