"""Score one's own posts with a trained model."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from gexsent import tasks
from gexsent.data import media
from gexsent.decode import decode
from gexsent.encoders.record import BROUGHT, EncoderRecord
from gexsent.encoders.text import TextEncoder, load_text_encoder
from gexsent.encoders.vision import VisionEncoder, load_vision_encoder
from gexsent.errors import DataError
from gexsent.explain.explanation import Explanation
from gexsent.model import Batch, FineTuned, ModelConfig, load_model
from gexsent.posts.columns import Columns
from gexsent.posts.files import Table
from gexsent.posts.report import Report
from gexsent.tasks import Task

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
        columns: Columns | None = None,
    ):
        self.model, self.config, self.tasks = model.eval(), config, tasks
        self.text, self.vision, self.frames = text, vision, frames
        self.columns = columns  # of the table that it was trained on, if it was one
        self.record: EncoderRecord | None = None  # which encoders made its features
        self.report: Report | None = None  # how good it is, where `gexsent.fit` made it

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
        predictor = cls(model, config, learned, text, vision, record.frames, Columns.load(folder))
        predictor.record, predictor.report = record, Report.load(folder)
        return predictor

    def explain(self, row: Mapping[str, Any], *, media_root: str | Path | None = None) -> Explanation:
        """Why it says what it says of one row of a table with the columns that it was trained on.

        Args:
            row: a Series, or a mapping from columns to cells.
            media_root: where paths start from; by default the working directory.

        Raises:
            DataError: as explain.post.explain; or it was not trained on a table, or the row lacks a column.
        """
        from gexsent.posts.explain import explain_row

        return explain_row(self, row, Path(media_root) if media_root is not None else Path.cwd())

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
        if lacking := self.lacks(has_text, has_vision):
            raise DataError(lacking)
        words = self._read(text)  # (L, Dt), L = 0 without a text
        seen = self._see(image, clip, vision)  # (T, Dv), T = 0 without a visual input
        return Batch(*_alone(words), *_alone(seen))

    def predict(
        self,
        table: Table,
        *,
        text: str | None = None,
        image: str | None = None,
        clip: str | None = None,
        vision: str | None = None,
        media_root: Path | str | None = None,
        out: Path | str | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> pd.DataFrame | None:
        """Score every row of a table.

        >>> model.predict("posts.csv", text="caption", image="photo")

        Args:
            table: the path of a .csv, .tsv, .jsonl or .parquet file, "-" for CSV on standard input, a folder of pictures
                or of clips (each a row, column `file`), or a DataFrame.
            text, image, clip, vision: which columns hold texts, paths of pictures, paths of videos, or visual features
                (T, Dv) as arrays or paths of .npy files: those and no other. With none of them, the columns that the
                model was trained with (columns.json in its folder), or else those that are called so.
            media_root: where paths start, and what they may not leave: by default the folder of the table.
            out: write the rows to this .csv, .tsv, .jsonl or .parquet file, or "-" for CSV on standard output, instead of
                returning them: memory stays flat however long the table. A run that was interrupted goes on where it
                stopped when it is started again the same way.
            overwrite: replace `out` where it exists.
            progress: show a bar with rows a second on standard error.

        Returns:
            Without `out`, row for row and under the table's own index: all its columns, then for each task pred_<label>,
            a number or the name of a class or level; p_<label>_<class> of classes, p_<label> of a binary task; `error`,
            "" or what was wrong with the row; and `cut`, whether its text was longer than the encoder reads. Where
            several tasks share a label, their own names stand for it, as in pred_humour_level. A row without anything
            that the model can use has no predictions; one whose picture alone cannot be used is scored on its text.

        Raises:
            DataError: the table cannot be read to its end, lacks a column, has one that a prediction would be called, or
                has none that this model can use; or `out` exists or cannot be written.
        """
        from gexsent.posts import score

        job = score.Job.of(self, table, {"text": text, "image": image, "clip": clip, "vision": vision}, media_root)
        return job.run(out, overwrite=overwrite, progress=progress)

    def predict_proba(self, table: Table, **options: Any) -> pd.DataFrame:
        """The probabilities of `predict` alone: p_<label>_<class> and p_<label>, row for row. Options as its own, but `out`.

        Raises:
            DataError: as `predict`; or every label is a number, which has no probabilities.
        """
        from gexsent.posts import predictions

        names = [name for name in predictions.empty(self.tasks) if name.startswith("p_")]
        if not names:
            raise DataError("this model predicts numbers, which have no probabilities: use `predict`")
        if "out" in options or "overwrite" in options:
            raise TypeError("predict_proba writes no file: use `predict`")
        return self.predict(table, **options)[names]

    @property
    def uses(self) -> tuple[str, ...]:
        """What it looks at of text, image, clip and vision, those that suit it best first."""
        visual = ("clip", "image", "vision") if self.config.temporal else ("image", "clip", "vision")
        return {"text_only": ("text",), "vision_only": visual}.get(self.config.system, ("text", *visual))

    def lacks(self, has_text: bool, has_vision: bool) -> str:
        """What to give where a post has too little for this model; "" where it has enough."""
        if not has_text and not has_vision:
            return "nothing to score: give a text, an image or a clip"
        enough = {"text_only": has_text, "vision_only": has_vision}.get(self.config.system, True)
        return "" if enough else NEEDS[self.config.system]

    def cannot_read(self, kind: str) -> str:
        """Why texts, or visual inputs of this kind, are nothing for this model; "" where they are."""
        if kind == "text" and self.text is None:
            return "this model has no text encoder: pass its features as `text`"
        if kind in ("image", "clip") and self.vision is None:
            return "this model has no vision encoder: pass its features as `vision`, or text alone"
        if kind == "clip" and not self.config.temporal:
            return "this model was trained on images: give one frame of the clip as `image`"
        return ""

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
        if problem := self.cannot_read("text"):
            raise DataError(problem)
        # In single precision: rounded to half, a post alone and in a batch would now and then differ in their last bits.
        return self.text.encode_batch([text])[0][0].clone()  # an ordinary tensor, through which gradients flow

    def _see(self, image: Any, clip: Any, vision: np.ndarray | None) -> torch.Tensor:
        if vision is not None:
            return _brought("vision", vision, self.config.vision_features)
        if image is None and clip is None:
            return torch.zeros(0, self.config.vision_features)
        if problem := self.cannot_read("image" if clip is None else "clip"):
            raise DataError(problem)
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
