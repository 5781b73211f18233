"""The running page, asked over HTTP as its own scripts ask it."""

import asyncio
import os
import re
import socket
import urllib.request
from pathlib import Path

import gradio
import gradio as gr
import gradio_client
import pytest

from gexsent import cli, demo, demo_page
from gexsent.errors import DataError
from gexsent.predictor import Predictor

WRONG, ANSWERS, WORDS, SEEN = range(4)  # places in what the endpoints give
# gradio 6 calls pandas 3 the way pandas 2 was called.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]


@pytest.fixture(scope="module", autouse=True)
def locks():
    """gradio starts an event loop for each of its locks, which have needed none since Python 3.10, and closes none."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (gradio.utils, gradio.queueing, gradio.route_utils, gradio.blocks, gradio.routes):
            for name, kind in (("safe_get_lock", asyncio.Lock), ("safe_get_stop_event", asyncio.Event)):
                patch.setattr(module, name, kind, raising=False)
        yield


def free_port():
    """One that the system gives: the tests beside these open pages too."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(model):
    with demo_page.opened(model, "127.0.0.1", free_port()) as (_, address):
        yield address


@pytest.fixture
def client(address, tmp_path):
    client = gradio_client.Client(address, verbose=False, download_files=tmp_path, analytics_enabled=False)
    yield client
    client.close()


def score(client, text="", image=None, clip=None):
    image = image and gradio_client.handle_file(image)
    clip = clip and gradio_client.handle_file(clip)
    return client.predict(text, image, clip, api_name="/score")


def test_a_post_is_scored(client, model, picture):
    found = score(client, "what a superb hotel", picture)
    shown = demo.drawn(demo.answer(model, demo.Post("what a superb hotel", picture)))
    assert found[ANSWERS]["value"] == shown and found[ANSWERS]["visible"]
    assert not found[WRONG]["visible"]


def test_a_word_and_the_picture_are_hidden_and_the_answers_stand_beside_the_first(client, model, picture):
    post = demo.Post("what a superb hotel", picture)
    scored = score(client, post.text, picture)
    assert [name for name, _ in scored[WORDS]["choices"]] == post.words
    assert scored[WORDS]["visible"] and scored[SEEN]["visible"]
    first = demo.answer(model, post)
    for places, seen in (([2], False), ([], True), ([0, 1], True)):
        found = client.predict(places, seen, api_name="/hide")
        assert found[ANSWERS]["value"] == demo.drawn(first, demo.answer(model, post.without(places, seen)))
        assert "→" in found[ANSWERS]["value"]
    assert client.predict([], False, api_name="/hide")[ANSWERS]["value"] == demo.drawn(first)


def test_hiding_everything_is_an_error_in_words(client):
    scored = score(client, "what a superb hotel")
    assert not scored[SEEN]["visible"]
    found = client.predict([0, 1, 2, 3], False, api_name="/hide")
    assert "nothing to score: give a text" in found[WRONG]["value"] and not found[ANSWERS]["visible"]


def test_nothing_can_be_hidden_before_there_is_a_post(client):
    assert "nothing to score" in client.predict([], True, api_name="/hide")[WRONG]["value"]


def test_an_error_is_said_in_words(client, tmp_path):
    nothing = score(client)
    assert "nothing to score: give a text, an image or a clip" in nothing[WRONG]["value"]
    assert nothing[WRONG]["visible"] and not nothing[ANSWERS]["visible"]
    (tmp_path / "words.png").write_text("no picture")
    broken = score(client, "so", tmp_path / "words.png")
    assert ">words.png: not a picture in any format that Pillow reads<" in broken[WRONG]["value"]


def test_the_card_follows_the_answer(client, model, picture):
    score(client, "what a superb hotel", picture)
    found = client.predict(api_name="/explain")
    assert found["visible"] and found["value"] == demo.card(model, demo.Post("what a superb hotel", picture))
    score(client)
    assert not client.predict(api_name="/explain")["visible"]


def test_an_example_is_scored_after_it_was_clicked(client, model, tmp_path):
    (post, *_) = demo.examples(tmp_path, ("text", "image"))
    text, image = (field["value"] for field in client.predict(0, api_name="/load_example"))
    assert text == post.text
    assert score(client, text, image)[ANSWERS]["value"] == demo.drawn(demo.answer(model, post))


def test_a_model_that_cannot_be_explained_has_no_card(make_model, tmp_path):
    blocks = demo_page.build(make_model(system="late_fusion"), tmp_path)
    assert {one.api_name for one in blocks.fns.values()} >= {"score", "hide"}
    assert "explain" not in {one.api_name for one in blocks.fns.values()}


def test_only_what_the_model_reads_can_be_given(make_model, tmp_path):
    def fields(**options):
        blocks = demo_page.build(make_model(**options), tmp_path)
        return {part.label: part.visible for part in blocks.blocks.values() if getattr(part, "label", "") in names}

    names = ("Text", "Picture", "Clip")
    assert fields() == {"Text": True, "Picture": True, "Clip": False}
    assert fields(temporal=True) == {"Text": True, "Picture": True, "Clip": True}
    assert fields(system="vision_only") == {"Text": False, "Picture": True, "Clip": False}


def test_a_clip_is_scored_and_removed_when_the_page_is_closed(make_model, tmp_path):
    model = make_model(temporal=True)
    (post, *_) = demo.examples(tmp_path, ("text", "clip"))
    with demo_page.opened(model, "127.0.0.1", free_port()) as (_, address):
        client = gradio_client.Client(address, verbose=False, analytics_enabled=False)
        assert score(client, post.text, clip=post.clip)[ANSWERS]["value"] == demo.drawn(demo.answer(model, post))
        (tmp_path / "words.mp4").write_text("no clip")
        broken = score(client, post.text, clip=tmp_path / "words.mp4")
        assert ">words.mp4: not a video that can be decoded" in broken[WRONG]["value"]
        client.close()
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        assert list(uploads.rglob("example1.mp4"))
    assert not uploads.exists()


def test_the_page_names_no_other_host(address):
    def read(path):
        with urllib.request.urlopen(f"{address}{path}") as answer:
            return answer.read().decode()

    page, look = read(""), read("theme.css")
    loaded = re.findall(r'(?:src|href)="(?:https?:)?//([^/"]+)', page) + re.findall(r"url\(.?(?:https?:)?//[^)]+", look)
    assert loaded == []
    assert gr.Blocks().analytics_enabled is False


def test_the_command_opens_the_page_at_its_host_and_port(model, monkeypatch, capsys):
    asked = []
    port = free_port()

    def block(blocks):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/config") as answer:
            asked.append(answer.status)

    monkeypatch.setattr(Predictor, "from_pretrained", lambda name: asked.append(name) or model)
    monkeypatch.setattr(gr.Blocks, "block_thread", block)
    cli.main(["demo", "--model", "a folder", "--port", str(port)])
    assert asked == ["a folder", 200]
    assert f"The page is at http://127.0.0.1:{port}" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["used", 70_000])
def test_a_port_that_cannot_be_had_is_named(address, model, port):
    if port == "used":
        port = int(address.rstrip("/").rpartition(":")[2])
    with (
        pytest.raises(DataError, match=f"port {port} of 127.0.0.1: cannot be had; name another one with --port"),
        demo_page.opened(model, "127.0.0.1", port),
    ):
        pass


def test_without_a_port_the_first_free_one_is_taken(address, monkeypatch):
    used, free = int(address.rstrip("/").rpartition(":")[2]), free_port()
    monkeypatch.setattr(demo_page, "PORTS", (used, free))
    assert demo_page._free("127.0.0.1", None) == free


def test_a_host_that_is_not_this_machine_is_named(model):
    with (
        pytest.raises(
            DataError, match=r"192\.0\.2\.1: none of the ports from 7860 on can be had; name one with --port"
        ),
        demo_page.opened(model, "192.0.2.1", None),
    ):
        pass
