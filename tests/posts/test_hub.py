"""Onto the Hub with huggingface_hub's own client, which talks to a stand-in on this machine."""

from copy import copy
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import gexsent
from gexsent.errors import DataError
from gexsent.posts import card
from gexsent.posts.columns import Columns

from .hub_stand_in import running

TOKEN = "hf_a_token_of_ours"
# huggingface_hub uploads by LFS in a way that its HTTP library would rather see written otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch):
    """Files go by LFS: the other way is a protocol of its own, in a library that is not Python."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with running(TOKEN) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def model(trained):
    return copy(trained)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (48, 48), "orange").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_files_that_save_writes_arrive_with_their_bytes(model, hub, picture, tmp_path):
    address = model.push_to_hub("someone/moods", token=TOKEN, commit_message="Moods, at last")
    assert address == f"{hub.endpoint}/someone/moods"
    assert hub.repositories == {"someone/moods": True} and hub.messages == ["Moods, at last"]
    model.save(tmp_path / "saved")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert hub.files.keys() == saved.keys() and "model.safetensors" in saved
    assert {name for name in saved if saved[name] != hub.files[name]} == {"README.md"}  # which names the repository
    again = tmp_path / "again"
    again.mkdir()
    for name, data in hub.files.items():
        (again / name).write_bytes(data)
    post = {"text": "what a superb day", "image": picture}
    assert gexsent.Predictor.from_pretrained(again)(**post) == model(**post)


def test_no_token_and_no_path_of_this_machine_is_uploaded(model, hub, tmp_path):
    model.push_to_hub("someone/moods", token=TOKEN)
    for name, data in hub.files.items():
        for secret in (TOKEN, str(tmp_path), str(Path.home()), str(Path.cwd())):
            assert secret.encode() not in data, name


def test_the_card_says_what_was_measured(model, hub):
    model.push_to_hub("someone/moods", token=TOKEN, license="mit")
    found = ModelCard(hub.files["README.md"].decode())
    assert found.data.license == "mit" and found.data.model_name == "moods" and found.data.library_name == "gexsent"
    scores = model.report.scores.set_index(["label", "metric", "system"])
    measured = {(one.task_name, one.metric_name.split(",")[0]): one for one in found.data.eval_results}
    for label, metric in (("sentiment", "macro-F1"), ("stars", "MAE"), ("liked", "macro-F1")):
        row, one = scores.loc[label, metric, "gexsent"], measured[label, f"{label}: {metric}"]
        assert one.metric_value == pytest.approx(row["value"], abs=1e-4)
        assert one.metric_name.endswith(f"{row['low']:.3f} to {row['high']:.3f}")
        assert one.metric_type == card.METRICS[metric]
    said = " ".join(found.text.replace("\\", "").split())
    assert "**sentiment**: one of bad, good, neither" in said and "**stars**: a number" in said
    assert "**liked**: yes or no, here called no, yes" in said
    assert 'Predictor.from_pretrained("someone/moods")' in said
    assert 'model("what a lovely day", image="photo.jpg")' in said
    assert "texts with `tiny-modernbert` and what is seen with `tiny-clip`" in said
    posts = model.report.posts
    assert f"{posts['train']} posts were trained on" in said and "trained 2 times" in said
    assert all(sentence in said for sentence in model.report.verdicts())
    for system, cells in model.report.table().iterrows():
        assert f"| {system} | {' | '.join(cells)} |" in said


def test_a_score_that_is_none_is_left_out_of_the_metadata(model):
    scores = model.report.scores.copy()
    constant = (scores["metric"] == "correlation") & (scores["system"] == "gexsent")
    scores.loc[constant, ["value", "low", "high"]] = np.nan
    model.report = replace(model.report, scores=scores)
    found = ModelCard(card.text(model))
    assert "pearsonr" not in {one.metric_type for one in found.data.eval_results}
    assert found.data.license is None and "path/of/this/folder" in found.text


@pytest.mark.parametrize(
    ("columns", "reads", "call", "needs"),
    [
        ({"text": "t"}, "It reads a text,", 'model("what a lovely day")', "It reads texts with `tiny-modernbert`;"),
        ({"image": "i"}, "It reads a picture,", 'model(image="photo.jpg")', "It reads what is seen with `tiny-clip`;"),
        ({"clip": "c"}, "It reads a video,", 'model(clip="clip.mp4")', "It reads what is seen with `tiny-clip`;"),
        ({"vision": "v"}, "It reads visual features brought along,", "model(vision=features)", None),
    ],
)
def test_the_card_says_how_to_use_what_the_model_reads(model, columns, reads, call, needs):
    model.columns = Columns(**columns)
    model.record = replace(model.record, vision="tiny-clip" if {"image", "clip"} & set(columns) else None)
    said = card.text(model)
    assert reads in said and call in said
    assert needs in said if needs else "loading fetches" not in said


def test_one_fit_is_no_mean(model):
    assert "the mean over these" in card.text(model)
    model.report = replace(model.report, seeds=1)
    assert "trained once" in card.text(model) and "the mean over these" not in card.text(model)


def test_names_of_labels_and_classes_are_no_markdown(model):
    tasks = (replace(model.tasks[0], label="a|b", classes=("*x*", "<i>", "`y`")), *model.tasks[1:])
    scores = model.report.scores.replace({"label": {"sentiment": "a|b"}})
    model.report = replace(model.report, tasks=tasks, scores=scores)
    said = card.text(model)
    assert r"**a\|b**: one of \*x\*, \<i\>, \`y\`" in said
    assert r"| System | a\|b: macro-F1 ↑ |" in said


def test_a_repository_that_is_there_takes_a_new_commit_if_it_is_private(model, hub):
    model.push_to_hub("someone/moods", token=TOKEN)
    hub.files.clear()
    model.push_to_hub("someone/moods", token=TOKEN)
    assert "model.safetensors" in hub.files
    hub.repositories["someone/moods"] = False
    hub.files.clear()
    with pytest.raises(DataError, match="someone/moods: is there already, and public; take another name, or say"):
        model.push_to_hub("someone/moods", token=TOKEN)
    assert not hub.files
    model.push_to_hub("someone/moods", token=TOKEN, private=False)
    assert hub.files


def test_private_is_what_is_asked_for(model, hub):
    model.push_to_hub("someone/open", token=TOKEN, private=False)
    assert hub.repositories == {"someone/open": False}


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        ("someone/moods", "hf_of_nobody", "someone/moods: cannot be uploaded to the Hub: .*401"),
        ("not a name/at/all", TOKEN, "not a name/at/all: cannot be uploaded to the Hub: Repo id must"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(model, hub, name, token, message):
    with pytest.raises(DataError, match=message) as caught:
        model.push_to_hub(name, token=token)
    assert "\n" not in str(caught.value) and token not in str(caught.value) and not hub.files


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(model, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="someone/moods: cannot be uploaded to the Hub: ") as caught:
        model.push_to_hub("someone/moods", token=TOKEN)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_this_machine_alone_is_named(model, hub, tmp_path):
    model.record = replace(model.record, text=str(tmp_path))
    with pytest.raises(DataError, match="this encoder lies on this machine alone"):
        model.push_to_hub("someone/moods", token=TOKEN)
    assert not hub.repositories
    model.save(tmp_path / "saved")  # its card keeps the path to itself
    assert str(tmp_path) not in (tmp_path / "saved" / "README.md").read_text()


def test_without_a_report_there_is_no_card(model, hub):
    model.report = None
    model.push_to_hub("someone/moods", token=TOKEN)
    assert "README.md" not in hub.files and "model.safetensors" in hub.files
