"""Score one's own posts with a trained model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gexsent import tasks
from gexsent.data import media
from gexsent.decode import decode
from gexsent.encoders.record import EncoderRecord
from gexsent.encoders.text import TextEncoder, load_text_encoder
from gexsent.encoders.vision import VisionEncoder, load_vision_encoder
from gexsent.errors import DataError
from gexsent.model import Batch, FineTuned, ModelConfig, load_model
from gexsent.posts.columns import Columns
from gexsent.posts.report import Report
from gexsent.tasks import Task

BROUGHT = "features"  # value of `text` in encoders.json where no encoder made them
NEEDS = {
    "text_only": "this model uses the text alone: give a text",
    "vision_only": "this model uses what is seen alone: give an image, a clip or visual features",
}


class Predictor:
    """A trained model with the encoders that made its features.

    >>> model = Predictor.from_pretrained("data/derived/sample/mosi/models/gexsent/official/seed0")
    >>> model("what a lovely day", image="photo.jpg")["sentiment"]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: ModelConfig,
        tasks: tuple[Task, ...],
        text: TextEncoder | None,
        vision: VisionEncoder | None,
        frames: int,
    ):
        self.model, self.config, self.tasks = model.eval(), config, tasks
        self.text, self.vision, self.frames = text, vision, frames
        # Of a model of one's own posts, and what it takes to save any: see posts.fit.
        self.columns: Columns | None = None
        self.record: EncoderRecord | None = None
        self.report: Report | None = None

    @classmethod
    def from_pretrained(cls, name: str | Path) -> "Predictor":
        """Load a folder that the training stage wrote, or a repository of the same files on the Hugging Face Hub.

        Raises:
            DataError: nothing there, a file is missing, a key or weight does not fit, or an encoder at hand is not the
                one that the model was trained with.
        """
        folder = Path(name)
        if not folder.is_dir():
            folder = _download(str(name))
        record = EncoderRecord.read(folder)
        model, config = load_model(folder)
        learned = tasks.load(folder)
        if {task.name: task.outputs for task in learned} != config.outputs:
            raise DataError(
                f"{folder / tasks.NAME}: not the tasks of config.json, which are {', '.join(config.outputs)}"
            )
        text = vision = None
        if record.text != BROUGHT:
            load = partial(load_text_encoder, record.text, max_tokens=record.max_tokens)
            text = _same(folder, record.text, record.text_fingerprint, load)
            if isinstance(model, FineTuned):  # it has the layers above by itself
                text = text.below(model.text_layers.description["count"])
        if record.vision is not None:
            load = partial(load_vision_encoder, record.vision, record.vision_weights)
            vision = _same(folder, record.vision, record.vision_fingerprint, load)
        predictor = cls(model, config, learned, text, vision, record.frames)
        predictor.columns, predictor.record, predictor.report = Columns.load(folder), record, Report.load(folder)
        return predictor

    def save(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` loads; whole or not at all.

        Raises:
            DataError: something lies there.
        """
        from gexsent.posts import folder as folders

        folders.save(self, Path(folder))

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = True,
        token: str | None = None,
        license: str | None = None,
        commit_message: str = "Upload a GEXSent model",
    ) -> str:
        """Upload what `save` writes to the Hugging Face Hub, with a card of its scores; returns the repository's address.

        Args:
            name: of the repository, such as "someone/moods".
            private: seen by its owner alone. One that is there already and public is then left as it is.
            token: None for that of `hf auth login`.
            license: as the Hub calls it, such as "mit"; for the card.

        Raises:
            DataError: as save; an encoder of this machine alone; or the Hub cannot be reached, or refuses.
        """
        from gexsent.posts import hub

        return hub.push(self, name, private=private, token=token, license=license, commit_message=commit_message)

    @torch.inference_mode()
    def __call__(
        self,
        text: str | np.ndarray = "",
        *,
        image: Image.Image | Path | str | None = None,
        clip: Path | str | None = None,
        vision: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Score one post.

        Args:
            text: what was said or written; "" for none. (T, Dt) features for a model trained on text features brought
                along.
            image: a picture, or the path of one. To a model of clips it is a clip of one frame.
            clip: the path of a video.
            vision: (T, Dv) visual features, for a model that was trained on features brought along.

        Returns:
            The prediction for each label that the model has learned: a number, the name of a class, or of a graded label
            {"level": 0, "name": …, "present": probability}; and {"probabilities": {label: {class: …}}} of the classes.

        Raises:
            DataError: more than one visual input, one that this model cannot read, nothing at all, or nothing of the one
                modality that this model uses.
        """
        heads = self.model(self.batch(text, image=image, clip=clip, vision=vision)).heads
        columns = decode({name: value.numpy() for name, value in heads.items()}, self.tasks)
        return _readable({name: column[0] for name, column in columns.items()}, self.tasks)

    def batch(
        self,
        text: str | np.ndarray = "",
        *,
        image: Image.Image | Path | str | None = None,
        clip: Path | str | None = None,
        vision: np.ndarray | None = None,
    ) -> Batch:
        """One post as the model's input: a batch of one. Arguments and errors as those of a call."""
        given = [kind for kind, value in (("image", image), ("clip", clip), ("vision", vision)) if value is not None]
        if len(given) > 1:
            raise DataError(f"{given[0]} and {given[1]} were both given: choose one visual input")
        has_text = bool(text.strip()) if isinstance(text, str) else len(text) > 0
        has_vision = image is not None or clip is not None or (vision is not None and len(vision) > 0)
        if not has_text and not has_vision:
            raise DataError("nothing to score: give a text, an image or a clip")
        if not {"text_only": has_text, "vision_only": has_vision}.get(self.config.system, True):
            raise DataError(NEEDS[self.config.system])
        words = self._read(text)  # (L, Dt), L = 0 without a text
        seen = self._see(image, clip, vision)  # (T, Dv), T = 0 without a visual input
        return Batch(*_alone(words), *_alone(seen))

    def tokens(self, text: str | np.ndarray) -> list[str]:
        """What the rows of the text's features stand for; numbers where the features were brought along."""
        if not isinstance(text, str):
            return [str(number) for number in range(1, len(text) + 1)]
        return self.text.tokens(text) if text.strip() else []

    def pictures(
        self, image: Image.Image | Path | str | None = None, clip: Path | str | None = None
    ) -> list[Image.Image]:
        """The pictures that are encoded: one, or the frames of a clip; none without either."""
        if image is not None:
            # An object gets what a file gets, or an encoder would see the colours under its transparency.
            return [media.to_rgb(image) if isinstance(image, Image.Image) else media.open_image(Path(image))]
        return [] if clip is None else media.read_frames(Path(clip), self.frames)[0]

    def _read(self, text: str | np.ndarray) -> torch.Tensor:
        if not isinstance(text, str):
            return _brought("text", text, self.config.text_features)
        if not text.strip():
            return torch.zeros(0, self.config.text_features)
        if self.text is None:
            raise DataError("this model has no text encoder: pass its features as `text`")
        return torch.from_numpy(np.array(self.text.encode([text])[0], np.float32))

    def _see(self, image: Any, clip: Any, vision: np.ndarray | None) -> torch.Tensor:
        if vision is not None:
            return _brought("vision", vision, self.config.vision_features)
        if image is None and clip is None:
            return torch.zeros(0, self.config.vision_features)
        if self.vision is None:
            raise DataError("this model has no vision encoder: pass its features as `vision`, or text alone")
        if clip is not None and not self.config.temporal:
            raise DataError("this model was trained on images: give one frame of the clip as `image`")
        frames = self.pictures(image, clip)
        # What a model saw in training decides: frame vectors of clips, or patches of images.
        features = self.vision.encode_frames(frames) if self.config.temporal else self.vision.encode_images(frames)[0]
        return torch.from_numpy(np.array(features, np.float32))


def _brought(name: str, features: np.ndarray, width: int) -> torch.Tensor:
    features = np.array(features, np.float32)
    if features.ndim != 2 or features.shape[1] != width or not np.isfinite(features).all():
        raise DataError(f"{name}: expected finite values of shape (T, {width})")
    return torch.from_numpy(features)


def _alone(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (T, D) as a batch of one (1, max(1, T), D) with its mask; without tokens the modality is absent."""
    there = len(tokens) > 0
    padded = tokens if there else tokens.new_zeros(1, tokens.shape[1])
    return padded[None], torch.full((1, len(padded)), there)


def _readable(columns: dict[str, Any], tasks: tuple[Task, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for task in tasks:
        predicted = columns[f"pred_{task.name}"]
        if task.kind == "regression":
            result[task.label] = round(float(predicted), 4)
        elif task.kind == "classes":
            result[task.label] = task.classes[int(predicted) - task.first]
            chances = {name: round(float(columns[f"p_{task.name}_{name}"]), 4) for name in task.classes}
            result.setdefault("probabilities", {})[task.label] = chances
        elif task.kind == "ordinal":
            level = int(predicted)
            result.setdefault(task.label, {}).update(level=level, name=task.classes[level - task.first])
        else:
            result.setdefault(task.label, {})["present"] = round(float(columns[f"p_{task.name}"]), 4)
    return result


def _same(folder: Path, name: str, expected: str | None, load: Callable[..., Any]) -> Any:
    """The encoder with the fingerprint that the model's folder records: as it is here, or in a GPU's bfloat16.

    A fingerprint is taken of the weights as they were used, so features made in bfloat16 need the same rounding here.
    """
    for options in ({}, {"dtype": torch.bfloat16}):
        encoder = load(**options)
        if encoder.fingerprint == expected:
            return encoder
    raise DataError(f"{folder}: the encoder {name} at hand is not the one that this model was trained with")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # only for names on the Hub

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub library raises a dozen types; each means that the model is not to be had
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{name}: neither a folder nor a model that the Hub gives us: {reason}") from error
