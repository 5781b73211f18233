"""Many rows are scored as each would be by itself, and a row with a fault says so."""

import json
import random
from dataclasses import replace

import av
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gexsent.datasets import LEVEL_NAMES, MEMES, SENTIMENTS
from gexsent.errors import DataError
from gexsent.posts import predictions
from gexsent.posts.columns import NAME, Columns
from gexsent.predictor import Predictor
from gexsent.sample.faces import Person, draw
from gexsent.tasks import Task

WORDS = ("what", "a", "glorious", "soup", "terrible", "ugly", "hotel", "😀", "שלום", "עולם", "nan")
NUMBERS = ["pred_intensity", *(f"p_sentiment_{name}" for name in SENTIMENTS)]
PREDICTED = [NUMBERS[0], "pred_sentiment", *NUMBERS[1:], "error", "cut"]


def single(model, text="", **seen):
    """Prediction columns of one call, with the digits that it rounds away."""
    with torch.inference_mode():
        heads = model.model(model.batch(text, **seen)).heads
    return predictions.named({name: value.numpy() for name, value in heads.items()}, model.tasks).iloc[0]


def texts(count, seed=0):
    lots = np.random.default_rng(seed)
    return [" ".join(lots.choice(WORDS, lots.integers(1, 90))) for _ in range(count)]


def faces(tmp_path, count):
    names = []
    for number in range(count):
        names.append(f"{number}.png")
        draw(Person.draw_lots(random.Random(number)), number / count, 64 + number).save(tmp_path / names[-1])
    return names


def same(found, wanted):
    assert found[wanted.index].drop(labels=["pred_sentiment"]).to_numpy(float) == pytest.approx(
        wanted.drop("pred_sentiment").to_numpy(float), abs=1e-5
    )
    assert found["pred_sentiment"] == wanted["pred_sentiment"]


@pytest.mark.parametrize("system", ["gexsent", "text_only", "mult", "misa", "released"])
def test_texts_in_batches_are_scored_as_one_by_one(make_folder, system):
    model = Predictor.from_pretrained(make_folder(system=system))
    table = pd.DataFrame({"id": range(150), "text": texts(150)})
    found = model.predict(table, progress=False)
    assert list(found) == ["id", "text", *PREDICTED]
    assert found[["id", "text"]].equals(table)
    for number in range(0, 150, 7):
        same(found.iloc[number], single(model, table["text"][number]))
    assert found["pred_intensity"].nunique() > 100


def test_pictures_with_and_without_texts_are_scored_as_one_by_one(model, tmp_path):
    words = texts(40)
    for row in (3, 4, 5):
        words[row] = ""
    table = pd.DataFrame({"text": words, "image": faces(tmp_path, 40)})
    table.loc[[7, 8], "image"] = ""
    found = model.predict(table, media_root=tmp_path, progress=False)
    assert (found["error"] == "").all()
    for number, row in enumerate(table.itertuples()):
        same(found.iloc[number], single(model, row.text, image=tmp_path / row.image if row.image else None))


def test_clips_and_pictures_are_frames_to_a_model_of_clips(clip_model, tmp_path, clip_file):
    names = [clip_file.name, "", *faces(tmp_path, 2)]
    table = pd.DataFrame({"text": ["so", "what a soup", "", "so"], "clip": [*names[:2], "", ""]})
    found = clip_model.predict(table, media_root=tmp_path, progress=False)
    same(found.iloc[0], single(clip_model, "so", clip=clip_file))
    same(found.iloc[1], single(clip_model, "what a soup"))
    pictures = pd.DataFrame({"text": ["so"] * 2, "image": names[2:]})
    found = clip_model.predict(pictures, media_root=tmp_path, progress=False)
    same(found.iloc[1], single(clip_model, "so", image=tmp_path / names[3]))


@pytest.fixture
def clip_file(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for shade in range(0, 240, 20):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (shade, 90, 30)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_features_brought_along_are_scored_as_one_by_one(make_folder):
    model = Predictor.from_pretrained(make_folder(encoders="text"))
    lots = np.random.default_rng(0)
    seen = [lots.normal(size=(count, 5)).astype(np.float32) for count in (3, 0, 7, 1)]
    table = pd.DataFrame({"text": ["so", "what", "", "a"], "vision": seen})
    found = model.predict(table, progress=False)
    for number in (0, 2, 3):
        same(found.iloc[number], single(model, table["text"][number], vision=seen[number]))
    same(found.iloc[1], single(model, "what"))
    wrong = model.predict(table.assign(vision=[np.zeros((1, 4))] * 4), progress=False)
    assert wrong["error"].tolist() == ["vision: expected shape (T, 5), found (1, 4)"] * 4
    assert wrong["pred_intensity"].notna().tolist() == [True, True, False, True]


def test_a_batch_has_no_more_than_fits(model, monkeypatch):
    sizes = []
    encode = type(model.text).encode_batch

    def counted(self, some):
        sizes.append((len(some), encode(self, some)[1].shape[1]))
        return encode(self, some)

    monkeypatch.setattr(type(model.text), "encode_batch", counted)
    model.predict(pd.DataFrame({"text": [*texts(200), *["so"] * 200]}), progress=False)
    assert max(rows for rows, _ in sizes) == predictions.ROWS
    assert max(rows * length for rows, length in sizes) <= model.text.batch_tokens
    assert len(sizes) < 30


def test_more_pictures_are_never_in_memory_than_two_batches_hold(model, tmp_path, monkeypatch):
    names = faces(tmp_path, 60)
    seen = []
    encode = model.vision.encode_images
    monkeypatch.setattr(model.vision, "encode_images", lambda images: seen.append(len(images)) or encode(images))
    model.predict(pd.DataFrame({"image": names}), media_root=tmp_path, progress=False)
    assert sum(seen) == 60 and max(seen) == predictions.PICTURES


def test_a_table_longer_than_a_piece_is_scored_whole_and_keeps_its_index(model, small_pieces):
    table = pd.DataFrame({"text": texts(21)}, index=[f"row {n}" for n in range(21)])
    found = model.predict(table, progress=False)
    assert found.index.equals(table.index)
    for number in (0, 7, 8, 20):
        same(found.iloc[number], single(model, table["text"].iloc[number]))


def test_rows_with_faults_say_so_and_the_others_are_scored(model, tmp_path, picture, capsys):
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("not a picture")
    rows = {
        picture.name: "",
        "gone.png": f"image: gone.png: there is no such file in {tmp_path}",
        "empty.png": "image: empty.png: the file is empty",
        "words.png": "image: words.png: not a picture in any format that Pillow reads",
        "https://a.org/b.png": "image: https://a.org/b.png: is not fetched; download it and name the file",
    }
    table = pd.DataFrame({"text": ["so"] * len(rows) + [""] * len(rows), "image": list(rows) * 2})
    found = model.predict(table, media_root=tmp_path, progress=False)
    assert found["error"].tolist() == list(rows.values()) * 2
    assert found["pred_intensity"].notna().tolist() == [True] * 6 + [False] * 4
    assert found.loc[~found["pred_intensity"].notna(), [*NUMBERS, "pred_sentiment"]].isna().all(axis=None)
    for number in range(1, 5):
        same(found.iloc[number], single(model, "so"))
    assert capsys.readouterr().err == "8 of 10 rows have something in the column `error`\n"


@pytest.mark.parametrize("nothing", ["", "  \n", None, np.nan])
def test_a_row_with_nothing_to_score_has_no_prediction(model, nothing):
    found = model.predict(pd.DataFrame({"text": ["so", nothing]}), progress=False)
    assert found["error"].tolist() == ["", "nothing to score: give a text, an image or a clip"]
    assert found["pred_sentiment"].isna().tolist() == [False, True]


def test_a_long_text_is_cut_and_says_so(model):
    most = model.text.max_tokens
    table = pd.DataFrame({"text": ["soup " * 5000, "soup " * (most - 2), "soup " * (most - 1), ""]})
    found = model.predict(table, progress=False)
    assert found["cut"].tolist() == [True, False, True, False]
    same(found.iloc[0], single(model, table["text"][0]))


def test_a_model_of_one_modality_looks_at_nothing_else(make_folder, tmp_path, picture):
    table = pd.DataFrame({"text": ["so", "", "so"], "image": [picture.name, picture.name, "gone.png"]})
    reads = Predictor.from_pretrained(make_folder(system="text_only"))
    found = reads.predict(table, media_root=tmp_path, progress=False)
    assert [bool(error) for error in found["error"]] == [False, True, False]
    same(found.iloc[0], single(reads, "so", image=picture))
    sees = Predictor.from_pretrained(make_folder(system="vision_only"))
    found = sees.predict(table.assign(text=["so " * 5000, "", "so"]), media_root=tmp_path, progress=False)
    assert found["error"].tolist() == ["", "", f"image: gone.png: there is no such file in {tmp_path}"]
    assert not found["cut"].any()
    same(found.iloc[0], single(sees, "so", image=picture))
    with pytest.raises(DataError, match="uses the text alone: give a text, and name its column"):
        reads.predict(table, image="image")
    with pytest.raises(DataError, match="uses what is seen alone: give an image, a clip or visual features, and name"):
        sees.predict(table, text="text")


def test_columns_are_those_that_are_named_then_those_of_training_then_those_called_so(folder, model, tmp_path, picture):
    table = pd.DataFrame({"text": ["so"], "caption": ["what a soup"], "image": [picture.name], "clip": ["gone.mp4"]})

    def scored(by, **named):
        return by.predict(table, media_root=tmp_path, progress=False, **named).iloc[0]

    same(scored(model), single(model, "so", image=picture))
    same(scored(model, text="caption"), single(model, "what a soup"))
    same(scored(model, image="image"), single(model, image=picture))
    trained = Predictor(model.model, model.config, model.tasks, model.text, model.vision, 1, Columns(text="caption"))
    same(scored(trained), single(model, "what a soup"))
    same(scored(trained, text="text"), single(model, "so"))


def test_columns_of_training_come_from_the_folder(make_folder):
    folder = make_folder()
    assert Predictor.from_pretrained(folder).columns is None
    Columns(text="caption").save(folder)
    assert (folder / NAME).exists() and Predictor.from_pretrained(folder).columns == Columns(text="caption")
    with pytest.raises(DataError, match="the table: no column 'caption'; its columns are text"):
        Predictor.from_pretrained(folder).predict(pd.DataFrame({"text": ["so"]}))


def test_a_column_that_the_model_cannot_use_is_passed_over_unless_it_is_named(make_folder):
    table = pd.DataFrame({"text": ["so"], "image": ["gone.png"], "clip": ["gone.mp4"]})
    model = Predictor.from_pretrained(make_folder(encoders="text"))
    assert model.predict(table, progress=False)["error"].tolist() == [""]
    with pytest.raises(DataError, match="column 'image': this model has no vision encoder"):
        model.predict(table, text="text", image="image")
    bare = Predictor.from_pretrained(make_folder(encoders="none"))
    with pytest.raises(DataError, match="column 'text': this model has no text encoder"):
        bare.predict(table, text="text")
    with pytest.raises(
        DataError, match=r"no column is called vision; name the one to score\. Its columns are text, image"
    ):
        bare.predict(table)


def test_a_model_of_images_is_no_model_of_clips(model):
    with pytest.raises(DataError, match="column 'film': this model was trained on images: give one frame"):
        model.predict(pd.DataFrame({"text": ["so"], "film": ["a.mp4"]}), clip="film")


@pytest.mark.parametrize("name", PREDICTED)
def test_a_column_of_the_table_is_never_overwritten(model, name):
    with pytest.raises(DataError, match=f"the table: it has a column '{name}' already"):
        model.predict(pd.DataFrame({"text": ["so"], name: ["mine"]}))


def test_a_column_called_index_is_a_column(model):
    table = pd.DataFrame({"index": ["007"], "text": ["so"]})
    found = model.predict(table, progress=False)
    assert found["index"].tolist() == ["007"] and found.columns[0] == "index"


def test_a_table_without_the_columns_or_rows_is_refused(model, tmp_path):
    with pytest.raises(DataError, match="no column is called text or image or vision; name the one"):
        model.predict(pd.DataFrame({"caption": ["so"]}))
    with pytest.raises(DataError, match="the table: no column 'words'; its columns are caption"):
        model.predict(pd.DataFrame({"caption": ["so"]}), text="words")
    with pytest.raises(DataError, match="the table: the table has no rows"):
        model.predict(pd.DataFrame({"text": []}))
    with pytest.raises(DataError, match="gone: there is no such folder; media_root is where"):
        model.predict(pd.DataFrame({"text": ["so"]}), media_root=tmp_path / "gone")


def test_a_folder_of_pictures_is_a_table(model, tmp_path):
    names = faces(tmp_path, 3)
    found = model.predict(tmp_path, progress=False)
    assert found["file"].tolist() == names
    same(found.iloc[2], single(model, image=tmp_path / names[2]))


def test_columns_of_several_tasks_with_one_label_are_named_after_the_tasks(make_folder):
    model = Predictor.from_pretrained(make_folder(learned=MEMES))
    found = model.predict(pd.DataFrame({"text": texts(30)}), progress=False)
    assert list(found)[1:7] == [
        "pred_sentiment", *(f"p_sentiment_{name}" for name in SENTIMENTS), "pred_humour_present", "p_humour_present"
    ]  # fmt: skip
    assert "pred_humour_level" in found and "pred_humour" not in found
    for number in range(30):
        row, wanted = found.iloc[number], model(found["text"][number])
        assert row["pred_sentiment"] == wanted["sentiment"]
        for label in ("humour", "motivational"):
            assert row[f"p_{label}_present"] == pytest.approx(wanted[label]["present"], abs=6e-5)
            names = ("no " + label, label)
            assert row[f"pred_{label}_present"] == names[int(row[f"p_{label}_present"] > 0.5)]
            assert row[f"pred_{label}_level"] == wanted[label]["name"]
            assert row[f"pred_{label}_level"] in LEVEL_NAMES[label]


def test_a_binary_task_is_named_after_its_label(make_folder):
    learned = (Task("sarcastic", "binary", 1, "irony", ("plain", "ironic")),)
    model = Predictor.from_pretrained(make_folder(learned=learned))
    found = model.predict(pd.DataFrame({"text": ["so"]}), progress=False)
    assert list(found) == ["text", "pred_irony", "p_irony", "error", "cut"]
    assert found["pred_irony"][0] == ("ironic" if found["p_irony"][0] > 0.5 else "plain")


def test_probabilities_alone(model, make_folder):
    table = pd.DataFrame({"text": texts(3)}, index=list("abc"))
    found = model.predict_proba(table, progress=False)
    assert found.equals(model.predict(table, progress=False)[NUMBERS[1:]])
    assert found.sum(axis=1).to_numpy() == pytest.approx(np.ones(3))
    assert model.predict_proba(table.rename(columns={"text": "words"}), text="words", progress=False).equals(found)
    with pytest.raises(TypeError, match="writes no file"):
        model.predict_proba(table, out="a.csv")
    numbers = Predictor.from_pretrained(make_folder(learned=(replace(model.tasks[0]),)))
    with pytest.raises(DataError, match="this model predicts numbers, which have no probabilities"):
        numbers.predict_proba(table)


def test_a_bar_is_shown_unless_it_is_not_wanted(model, capsys):
    table = pd.DataFrame({"text": ["so"] * 3})
    model.predict(table, progress=False)
    assert capsys.readouterr().err == ""
    model.predict(table)
    assert "3/3" in (shown := capsys.readouterr().err) and "row/s" in shown


def test_an_encoder_that_is_not_at_hand_is_named(make_folder):
    folder = make_folder()
    values = json.loads((folder / "encoders.json").read_text())
    (folder / "encoders.json").write_text(json.dumps(values | {"text": str(folder / "gone")}))
    with pytest.raises(DataError, match=r"text encoder '.*gone': not a local folder, and the Hub"):
        Predictor.from_pretrained(folder)
