"""Explain one post: your own, or a row of a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gexsent.datasets import INTENSITY, main
from gexsent.errors import DataError
from gexsent.explain.explanation import Explanation
from gexsent.explain.modality import guided, left_out
from gexsent.explain.relevance import METHODS
from gexsent.explain.target import Target, split
from gexsent.explain.trace import OTHER, trace
from gexsent.model import Batch, GEXSent
from gexsent.tasks import Task

if TYPE_CHECKING:
    from gexsent.predictor import Predictor


def explain(
    predictor: "Predictor",
    text: str | np.ndarray = "",
    *,
    image: Image.Image | Path | str | None = None,
    clip: Path | str | None = None,
    vision: np.ndarray | None = None,
) -> Explanation:
    """Why a model says what it says of one post. Arguments as Predictor's.

    >>> post = explain(Predictor.from_pretrained(folder), "what a glorious soup", image="photo.jpg")
    >>> dict(zip(post.tokens, post.text["gradients"].round(2))), post.heat("gradients")

    Raises:
        DataError: as Predictor; or its model is not `gexsent`, whose gates and experts the explanation reads.
    """
    if predictor.config.system != "gexsent":
        raise DataError(f"the model is {predictor.config.system!r}: only `gexsent` can be explained")
    batch = predictor.batch(text, image=image, clip=clip, vision=vision)
    tokens = predictor.tokens(text)
    return explained(predictor.model, batch, tokens, predictor.pictures(image, clip), task=main(predictor.tasks))


def explained(
    model: GEXSent, batch: Batch, tokens: Sequence[str], pictures: Sequence[Any] = (), *, task: Task | None = None
) -> Explanation:
    """The explanation of what a model says of a task (default: as Target.of) for a batch of one sample, whose text tokens
    read `tokens` and whose vision came from `pictures`."""
    seen = trace(model, batch)
    target = Target.of(seen.output.heads, task)
    masks = {"text": batch.text_mask[0], "vision": batch.vision_mask[0]}

    def parts(values: Tensor) -> dict[str, np.ndarray]:
        return {m: part[0, masks[m]].numpy() for m, part in split(values.detach(), batch).items()}

    relevance = {name: parts(method(model, batch, target)) for name, method in METHODS.items()}
    there = {**masks, "shared": torch.cat(list(masks.values()))}
    return Explanation(
        says=_says(target, seen.output.heads),
        score=float(target.score(seen.output.heads)[0]),
        tokens=tuple(tokens),
        text={name: values["text"] for name, values in relevance.items()},
        vision={name: values["vision"] for name, values in relevance.items()},
        kind=_kind(model, int(masks["vision"].sum())),
        cross={m: seen.cross[m][0, masks[m]][:, masks[other]].numpy() for m, other in OTHER.items()},
        gates={m: gate[0, masks[m]].numpy() for m, gate in seen.output.gates.items()},
        shares=seen.output.shares[0].numpy(),
        experts={group: gates[0, there[group]].numpy() for group, gates in seen.experts.items()},
        left_out={m: float(fall[0]) for m, fall in left_out(model, batch, target).items()},
        guided={m: float(fall[0]) for m, fall in guided(model, batch, target).items()},
        pictures=tuple(pictures),
    )


def _says(target: Target, heads: dict[str, Tensor]) -> str:
    task = target.task
    if task.kind == "regression":
        value = heads[task.name][0, 0].item() * task.scale + task.centre
        return f"{value:{'+' if task == INTENSITY else ''}.2f}".replace("-", "−")
    return task.classes[int(target.choice[0] > 0) if task.kind == "binary" else int(target.choice[0])]


def _kind(model: GEXSent, count: int) -> str:
    if not count:
        return "none"
    if model.vision_in.order is not None:
        return "clip"
    side = round((count - 1) ** 0.5)
    return "image" if side > 1 and side * side == count - 1 else "features"
