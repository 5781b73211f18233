"""GEXSent for scikit-learn: a classifier and a regressor over a DataFrame of posts.

What scikit-learn's `check_estimator` asks of an estimator that reads arrays of numbers does not apply here: X is a DataFrame
whose columns hold texts and the paths of pictures. What it asks of parameters, cloning and printing does, and is tested.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from gexsent import tasks as task_files
from gexsent.decode import decode
from gexsent.errors import DataError
from gexsent.model import load_model
from gexsent.posts import files, labels, learn
from gexsent.posts.columns import Columns, posts, require
from gexsent.posts.features import encode, opened_cache
from gexsent.posts.fit import SEED, Choice, group_of, load_encoders
from gexsent.predictor import Predictor
from gexsent.training import loop
from gexsent.training.data import Samples, Tokens

LABEL = "y"


class _Estimator(BaseEstimator):
    """What both share. Parameters are those of `gexsent.fit` by the same names.

    Features are kept by content: cross-validation encodes each post once.
    """

    _kind: str | None = None  # of label: found out from y, or given

    def __init__(
        self,
        *,
        text: str | None = None,
        image: str | None = None,
        clip: str | None = None,
        vision: str | None = None,
        media_root: str | Path | None = None,
        encoders: str | Choice = "small",
        max_tokens: int = 128,
        seed: int = SEED,
        cache: str | Path | None = "",
        progress: bool = False,
    ):
        self.text = text
        self.image = image
        self.clip = clip
        self.vision = vision
        self.media_root = media_root
        self.encoders = encoders
        self.max_tokens = max_tokens
        self.seed = seed
        self.cache = cache
        self.progress = progress

    def fit(self, X: pd.DataFrame, y: Any, groups: Any = None) -> Self:
        """Learn from N posts.

        Args:
            X: one post per row.
            y: (N,) labels.
            groups: (N,) equal values stay on one side when posts are set aside to validate on.

        Raises:
            DataError: as `gexsent.fit`.
        """
        frame = self._frame(X)
        columns = self._columns()
        require(frame, columns.named().values(), "X")
        answers = pd.Series(np.asarray(y), index=frame.index, name=LABEL)
        if answers.map(files.missing).any():
            raise DataError("y: a label is missing; leave those posts out")
        task = labels.infer(answers, 0, self._kind)
        values = {LABEL: labels.codes(answers, task)}
        found = posts(frame, columns, self._root())
        owners = None if groups is None else pd.Series(np.asarray(groups), index=frame.index)
        together = group_of(found, owners)
        # One tenth validates and all others train: who calls this keeps posts to test on.
        roles = learn.deal(task, values[LABEL], together, self.seed)
        roles = np.where(roles == "test", "train", roles)
        loaded, record = load_encoders(self.encoders, columns, self.max_tokens, found)
        with opened_cache(self.cache) as store:
            samples, _ = encode(found, columns.visual, loaded, store, progress=self.progress)
        study = learn.Study(samples, columns.visual == "clip", (task,), values, roles, np.array(together))
        with tempfile.TemporaryDirectory() as place:
            learn.fit(study, ["gexsent"], 1, Path(place), seed=self.seed, progress=self.progress)
            kept = Path(place) / "gexsent" / f"seed{self.seed}"
            model, config = load_model(kept)
            learned = task_files.load(kept)
        self.predictor_ = Predictor(model, config, learned, loaded.text, loaded.vision, record.frames, columns)
        self.predictor_.record = record
        self.feature_names_in_ = np.array(list(map(str, frame.columns)), dtype=object)
        self.n_features_in_ = len(frame.columns)
        self.loaded_ = loaded
        return self

    def _predicted(self, X: pd.DataFrame) -> dict[str, np.ndarray]:
        check_is_fitted(self, "predictor_")
        frame, columns = self._frame(X), self.predictor_.columns
        require(frame, columns.named().values(), "X")
        found = posts(frame, columns, self._root())
        with opened_cache(self.cache) as store:
            samples, problems = encode(found, columns.visual, self.loaded_, store, progress=self.progress)
        samples = _of_widths(samples, self.predictor_)
        empty = np.flatnonzero(((samples.text.lengths + samples.vision.lengths) == 0).numpy())
        if len(empty):
            row = int(empty[0])
            why = problems.get(row) or found[row].problem or "it has neither a text nor anything to see"
            raise DataError(f"X, row {row}: cannot be scored: {why}")
        rows = samples.rows(samples.ids)
        heads = loop.forward(self.predictor_.model, samples, rows, batch=learn.TRAINING.batch)
        return decode({name: value.numpy() for name, value in heads.items()}, self.predictor_.tasks)

    def _frame(self, X: Any) -> pd.DataFrame:
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"X: expected a DataFrame with one post per row, found {type(X).__name__}")
        if X.empty:
            raise DataError("X: there are no posts in it")
        return X.set_axis(pd.RangeIndex(len(X)), axis=0)

    def _columns(self) -> Columns:
        return Columns(self.text, self.image, self.clip, self.vision)

    def _root(self) -> Path:
        return Path(self.media_root) if self.media_root is not None else Path.cwd()

    @property
    def _task(self):
        return self.predictor_.tasks[0]


class GEXSentClassifier(ClassifierMixin, _Estimator):
    """Classes, of whatever type y has them.

    >>> cross_val_score(GEXSentClassifier(text="text", image="image"), posts, labels, groups=users, cv=GroupKFold(5))

    classes_: (K,) the labels in the order of the columns of `predict_proba`.
    """

    _kind = "classes"

    def fit(self, X: pd.DataFrame, y: Any, groups: Any = None) -> Self:
        y = np.asarray(y)
        super().fit(X, y, groups)
        # As written, and in that order: labels.infer sorts classes as text.
        values = np.unique(y)
        places = {labels.written(value): place for place, value in enumerate(values)}
        self.classes_ = values[[places[name] for name in self._task.classes]]
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(N,) labels."""
        columns = self._predicted(X)
        return self.classes_[columns[f"pred_{self._task.name}"]]

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """(N, K) probabilities, in the order of `classes_`; they refer to classes that are equally frequent."""
        columns = self._predicted(X)
        return np.stack([columns[f"p_{self._task.name}_{name}"] for name in self._task.classes], axis=1)


class GEXSentRegressor(RegressorMixin, _Estimator):
    """Numbers."""

    _kind = "number"

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(N,) float64."""
        return self._predicted(X)[f"pred_{self._task.name}"].astype(np.float64)


def _of_widths(samples: Samples, predictor: Predictor) -> Samples:
    """Posts none of which has one of the modalities still need tokens of its width."""
    widths = {"text": predictor.config.text_features, "vision": predictor.config.vision_features}
    changed = {}
    for name, width in widths.items():
        tokens = getattr(samples, name)
        if tokens.values.shape[1] != width:
            if int(tokens.lengths.sum()):
                raise DataError(
                    f"X: the {name} features have width {tokens.values.shape[1]}, and the model needs {width}"
                )
            changed[name] = Tokens(torch.zeros(1, width), tokens.offsets)
    return replace(samples, **changed)
