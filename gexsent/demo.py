"""What the page of `gexsent demo` says of a post. The page itself stands in demo_page.py; nothing here needs gradio."""

import base64
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from gexsent import datasets
from gexsent.errors import DataError
from gexsent.predictor import Predictor
from gexsent.tasks import Task

EXAMPLES = 3
SAYS = "Orange speaks for this answer, blue against it."


@dataclass(frozen=True)
class Post:
    """A text with the path of a picture or of a clip, or with neither."""

    text: str = ""
    image: str | None = None
    clip: str | None = None

    @property
    def words(self) -> list[str]:
        return self.text.split()

    def without(self, words: Collection[int], seen: bool = False) -> "Post":
        """The post with some words taken out, by their places from 0, and with `seen` without its picture or clip."""
        parts = re.findall(r"\S+\s*", self.text)  # each with the space behind it, so that what stays is as it was
        text = "".join(part for place, part in enumerate(parts) if place not in words)
        return replace(self, text=text, **({"image": None, "clip": None} if seen else {}))


class Answer(NamedTuple):
    """What is said of one label.

    says: a number, a class or a level, in words. shares: {class: probability}; none of a number, nor of a level alone.
    """

    label: str
    says: str
    shares: dict[str, float]


def takes(model: Predictor) -> tuple[str, ...]:
    """Which of text, image and clip a model can read.

    Raises:
        DataError: none of them, as of a model that was trained on features brought along.
    """
    seen = () if model.vision is None else ("image", "clip") if model.config.temporal else ("image",)
    read = () if model.text is None else ("text",)
    found = {"text_only": read, "vision_only": seen}.get(model.config.system, (*read, *seen))
    if not found:
        raise DataError("this model reads features that its user brings along; the page can give it none")
    return found


def answer(model: Predictor, post: Post) -> list[Answer]:
    """What a model says of a post, for each label that it has learned.

    Raises:
        DataError: as Predictor; of a file its name is said, not the folder that it was uploaded to.
    """
    try:
        found = model(post.text, image=post.image, clip=post.clip)
    except DataError as error:
        raise DataError(_without_folders(str(error), post)) from error
    by_label: dict[str, list[Task]] = {}
    for task in model.tasks:
        by_label.setdefault(task.label, []).append(task)
    shares = found.get("probabilities", {})
    return [Answer(label, *_in_words(tasks, found[label], shares.get(label, {}))) for label, tasks in by_label.items()]


def _in_words(tasks: Sequence[Task], value: Any, shares: dict[str, float]) -> tuple[str, dict[str, float]]:
    """What is said of one label, and the probabilities. A label may have a yes-or-no task beside its levels."""
    if isinstance(value, float):
        return f"{value:.2f}".replace("-", "−"), {}
    if isinstance(value, str):
        return value, shares
    says = f"{value['name']} (level {value['level']})" if "level" in value else ""
    for task in tasks:
        if task.kind == "binary":
            absent, present = task.classes
            shares = {present: value["present"], absent: 1 - value["present"]}
            says = says or (present if value["present"] > 0.5 else absent)
    return says, shares


def _without_folders(message: str, post: Post) -> str:
    for path in filter(None, (post.image, post.clip)):
        message = message.replace(str(path), Path(path).name)
    return message


def drawn(first: Sequence[Answer], then: Sequence[Answer] | None = None) -> str:
    """Answers as HTML: what is said, and a bar for each probability. With `then`, the answers beside the first ones."""
    parts = []
    for place, was in enumerate(first):
        now = was if then is None else then[place]
        says = f"<b>{escape(now.says)}</b>"
        if then is not None:
            says = f'<span class="was">{escape(was.says)}</span> → {says}'
        bars = "".join(_bar(name, was.shares[name], now.shares[name], then is not None) for name in was.shares)
        parts.append(f'<section><h3>{escape(was.label)}</h3><p class="says">{says}</p>{bars}</section>')
    return f'<div class="answers">{"".join(parts)}</div>'


def _bar(name: str, was: float, now: float, both: bool) -> str:
    said = f'<span class="was">{was:.0%}</span> → {now:.0%}' if both else f"{now:.0%}"
    before = f'<i class="before" style="width: {was:.1%}"></i>' if both else ""
    return (
        f'<div class="share"><span>{escape(name)}</span><span>{said}</span>'
        f'<div class="bar">{before}<i style="width: {now:.1%}"></i></div></div>'
    )


def card(model: Predictor, post: Post) -> str | None:
    """Why the model says so, drawn as in notebook 06, in HTML; None for a model other than `gexsent`.

    Raises:
        DataError: as Predictor.
    """
    if model.config.system != "gexsent":
        return None
    import matplotlib.pyplot as plt

    from gexsent.explain.post import explain
    from gexsent.report import explanation, style

    why = explain(model, post.text, image=post.image, clip=post.clip)
    with plt.rc_context():  # the style is for this figure, and not for whatever else this process draws
        style.use_style()
        title = f"Why it says {why.says} ({datasets.main(model.tasks).label})"
        figure = explanation.card(why, title, "")
        figure.supxlabel(SAYS, fontsize=9, color="#444444", x=0.01, ha="left")
        data = BytesIO()
        figure.savefig(data, format="png")
        plt.close(figure)
    coded = base64.b64encode(data.getvalue()).decode()
    return f'<div class="card"><img alt="{escape(title)}" src="data:image/png;base64,{coded}"></div>'


def examples(folder: Path, inputs: Collection[str]) -> list[Post]:
    """A few posts of the generated sample, with their pictures or clips written into a folder; of a data set there is none.

    Args:
        inputs: as `takes` gives them.
    """
    from gexsent.sample import faces, generate, scripts

    rng = random.Random(3)
    posts = []
    for number in range(EXAMPLES):
        script, post = scripts.write(rng), Post()
        if "text" in inputs:
            post = replace(post, text=script.text)
        if "clip" in inputs:
            path = folder / f"example{number + 1}.mp4"
            generate.draw_clip(path, faces.Person.draw_lots(rng), script.face / 2, rng)
            post = replace(post, clip=str(path))
        elif "image" in inputs:
            path = folder / f"example{number + 1}.png"
            faces.draw(faces.Person.draw_lots(rng), script.face / 2, 224).save(path)
            post = replace(post, image=str(path))
        posts.append(post)
    return posts


def serve(name: str, host: str, port: int | None) -> None:
    """Open the page for a model, by its folder or its name on the Hub, and stay until it is stopped.

    Args:
        port: None for a free one.

    Raises:
        DataError: gradio is not installed, the model cannot be loaded or shown, or the port is not free.
    """
    try:
        from gexsent import demo_page
    except ModuleNotFoundError as error:
        raise DataError(f'the page needs {error.name}: pip install "gexsent[demo]"') from error
    with demo_page.opened(Predictor.from_pretrained(name), host, port) as (blocks, address):
        print(f"The page is at {address}; stop it with Ctrl-C")
        blocks.block_thread()
