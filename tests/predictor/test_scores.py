"""From a folder to a prediction."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gexsent.data import media
from gexsent.datasets import LEVEL_NAMES, SENTIMENTS
from gexsent.encoders.layers import TopLayers
from gexsent.errors import DataError
from gexsent.features import FeatureStore
from gexsent.predictor import Predictor


def stored(workspace, number=0):
    """A test row of the table beside what the evaluate stage stored for it."""
    prediction = pd.read_parquet(workspace.root / "stored.parquet").iloc[number]
    return pd.read_parquet(workspace.table).set_index("id").loc[prediction["id"]], prediction


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


def test_a_model_of_features_brought_along_takes_features(without_encoders):
    workspace, folder = without_encoders
    model = Predictor.from_pretrained(folder)
    _, wanted = stored(workspace)
    stores = [FeatureStore.open(workspace.features / modality) for modality in ("text", "vision")]
    words, seen = (store.row(store.ids.index(wanted["id"])) for store in stores)
    assert model(words, vision=seen)["intensity"] == pytest.approx(wanted["pred_intensity"], abs=1e-4)
    assert model(words) != model(words, vision=seen)
    assert model(vision=seen) != model(words, vision=seen)
