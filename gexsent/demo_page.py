"""The page of `gexsent demo`: gradio's components around the functions of demo.py. It asks nothing of the network."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from gexsent import demo
from gexsent.errors import DataError
from gexsent.predictor import Predictor

ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "model"}  # neither torch nor pyplot gains from two
PORTS = range(7860, 7960)
CSS = """
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem 2rem; }
.answers h3 { margin: 0; font-size: 0.9rem; font-weight: 400; color: #767676; }
.answers .says { margin: 0 0 0.4rem; font-size: 1.4rem; }
.answers .was { color: #767676; }
.answers .share { display: flex; flex-wrap: wrap; justify-content: space-between; margin-bottom: 0.4rem; }
.answers .bar { position: relative; flex-basis: 100%; height: 0.7rem; background: var(--border-color-primary); }
.answers .bar i { position: absolute; left: 0; bottom: 0; height: 100%; background: #D55E00; }
.answers .bar i + i { height: 50%; }
.answers .bar .before { background: #999999; }
.wrong { padding: 0.8rem 1rem; border-left: 4px solid #D55E00; background: var(--background-fill-secondary); }
.card { overflow-x: auto; }
.card img { min-width: 720px; }
"""


@contextmanager
def opened(model: Predictor, host: str, port: int | None) -> Iterator[tuple[gr.Blocks, str]]:
    """The page and its address, until the block ends; what was uploaded is removed then.

    Raises:
        DataError: the model reads nothing that a page can give, or the port is not free.
    """
    port = _free(host, port)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, GRADIO_TEMP_DIR=folder),  # for what is uploaded
        mock.patch.object(gr.Image, "preprocess", _path),
    ):
        blocks = build(model, Path(folder))
        # Fonts are those of the reader's machine.
        theme = gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            footer_links=[],
            theme=theme,
            css=CSS,
        )
        try:
            yield blocks, address
        finally:
            blocks.close(verbose=False)


def _path(_: gr.Image, payload) -> str | None:
    """A picture as the path of its file. gradio would open it first, and a damaged one would end in a traceback. An object's
    own method does not do: gradio makes its components anew whenever the page changes them."""
    return None if payload is None else payload.path


def _free(host: str, port: int | None) -> int:
    """The port, or without one the first that is free from 7860 on."""
    for candidate in PORTS if port is None else [port]:
        with suppress(OSError):  # it is used, or the host is not this machine
            if 0 < candidate < 2**16:
                socket.create_server((host, candidate)).close()
                return candidate
    if port is None:
        raise DataError(f"{host}: none of the ports from {PORTS[0]} on can be had; name one with --port")
    raise DataError(f"port {port} of {host}: cannot be had; name another one with --port")


def build(model: Predictor, folder: Path) -> gr.Blocks:
    """The page of a model; its examples are written into a folder.

    Raises:
        DataError: as demo.takes.
    """
    inputs = demo.takes(model)
    explained = model.config.system == "gexsent"
    with gr.Blocks(title="GEXSent", analytics_enabled=False) as blocks:
        gr.Markdown("# GEXSent\nGive a post, and see what the model says of it.")
        scored = gr.State()
        with gr.Row():
            with gr.Column():
                fields = {
                    "text": gr.Textbox(label="Text", lines=3, visible="text" in inputs),
                    "image": gr.Image(
                        label="Picture", height=220, visible="image" in inputs, sources=["upload", "clipboard"], buttons=[]
                    ),
                    # No player: browsers play few of the codecs that a model can read.
                    "clip": gr.File(label="Clip", height=120, visible="clip" in inputs),
                }  # fmt: skip
                button = gr.Button("Score", variant="primary")
            with gr.Column():
                wrong = gr.HTML(visible=False, padding=False)
                answers = gr.HTML(visible=False, padding=False)
                with gr.Column(visible=False) as hiding:
                    gr.Markdown("### Hide something\nWhat is ticked is taken out before the post is read.")
                    words = gr.CheckboxGroup(label="Words")
                    seen = gr.Checkbox(label="The picture or the clip" if "clip" in inputs else "The picture")
        why = gr.HTML(visible=False, padding=False)
        posts = [[getattr(post, name) for name in inputs] for post in demo.examples(folder, inputs)]
        gr.Examples(posts, [fields[name] for name in inputs], label="Examples, made by a generator")

        def score(text, image, clip):
            post = demo.Post(text or "", image, clip)
            shown = _shown(model, post)
            return {
                **dict(zip((wrong, answers), _updates(shown), strict=True)),
                scored: None if isinstance(shown, DataError) else post,
                hiding: gr.Column(visible=not isinstance(shown, DataError)),
                words: gr.CheckboxGroup(
                    choices=[(word, place) for place, word in enumerate(post.words)],
                    value=[],
                    visible=bool(post.words),
                ),
                seen: gr.Checkbox(value=False, visible=bool(image or clip)),
                why: gr.HTML(visible=False),
            }

        def hide(post, places, picture):
            """The answers again, beside the first ones."""
            return _updates(_shown(model, post or demo.Post(), places, picture))

        def explain(post):
            return gr.HTML(demo.card(model, post), visible=True) if post else gr.HTML(visible=False)

        outputs = [wrong, answers, scored, hiding, words, seen, why]
        done = gr.on(
            [button.click, fields["text"].submit], score, list(fields.values()), outputs, api_name="score",
            **ONE_AT_A_TIME,
        )  # fmt: skip
        if explained:
            done.then(explain, scored, why, api_name="explain", **ONE_AT_A_TIME)
        gr.on(
            [words.input, seen.input], hide, [scored, words, seen], [wrong, answers], api_name="hide", **ONE_AT_A_TIME
        )
    return blocks


def _shown(model: Predictor, post: demo.Post, places=(), picture: bool = False) -> str | DataError:
    """The answers as HTML, or what is wrong with the post."""
    try:
        first = demo.answer(model, post)
        if not places and not picture:
            return demo.drawn(first)
        return demo.drawn(first, demo.answer(model, post.without(places, picture)))
    except DataError as error:
        return error


def _updates(shown: str | DataError) -> tuple[gr.HTML, gr.HTML]:
    """Of the message and of the answers: one of them is shown."""
    bad = isinstance(shown, DataError)
    message = f'<div class="wrong" role="alert">{demo.escape(str(shown))}</div>' if bad else ""
    return gr.HTML(message, visible=bad), gr.HTML("" if bad else shown, visible=not bad)
