"""params.yaml as frozen dataclasses: one loader, strict about every key and type.

Sections `data`, `encode`, `model`, `train` hold the values common to all editions; `editions.<name>.<section>`
overrides some of them. A value is therefore written once, and the difference between two editions can be read off.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gexsent.errors import DataError

DATASETS = ("mosi", "mosei", "memotion")
SECTIONS = ("data", "encode", "model", "train", "audit")


@dataclass(frozen=True)
class DataParams:
    """Where raw data come from and how strict reading is."""

    root: str  # folder with one sub-folder per dataset; the environment variable GEXSENT_DATA wins over it
    rows: int | None  # rows to generate per dataset; null: the data are real
    max_bad_rows: float  # share of unreadable rows above which reading stops
    verify_media: bool  # decode every picture and first frame while preparing
    seed: int  # of the generator, and of the blocks where a dataset has no official split


@dataclass(frozen=True)
class EncodeParams:
    """Frozen encoders. `vision: features` takes the features found in the raw folder instead of encoding media."""

    text: str  # Hub name, local folder, or tiny-modernbert
    vision: str  # open_clip architecture, tiny-clip, or "features"
    vision_weights: str | None  # open_clip tag or checkpoint file
    max_tokens: int
    frames: int  # sampled per clip
    batch_tokens: int  # text tokens per forward pass
    batch_images: int


@dataclass(frozen=True)
class ModelParams:
    """Sizes of GEXSent and of the baselines that share its parts."""

    width: int
    experts: int  # in each of the three groups
    expert_width: int
    top_k: int
    attention_heads: int
    dropout: float
    balance_weight: float
    z_weight: float
    group_weight: float


@dataclass(frozen=True)
class TrainParams:
    """The optimiser, its schedule, and how many runs."""

    systems: tuple[str, ...]
    seeds: int
    fold_seeds: int  # seeds where five folds take the place of an official split: each seed is five fits
    epochs: int
    epoch_steps: int  # optimiser steps after which an epoch of a large data set ends, to be validated
    patience: int  # epochs without a better validation score before stopping
    batch: int
    lr: float
    weight_decay: float
    warmup: float  # share of all steps
    clip: float  # largest gradient norm
    average: (
        float  # decay per step of the running mean of weights that is validated and kept; 0: the weights themselves
    )
    token_dropout: float  # share of tokens hidden from the model while training
    balance: float  # strength of the correction for uneven classes, 0 (none) to 1


@dataclass(frozen=True)
class AuditParams:
    """What is fitted again to see what faults of protocol are worth."""

    system: str
    seeds: int
    mosei_seeds: int  # MOSEI has ten times MOSI's rows


@dataclass(frozen=True)
class Params:
    """Everything one edition needs."""

    edition: str
    datasets: tuple[str, ...]
    data: DataParams
    encode: EncodeParams
    model: ModelParams
    train: TrainParams
    audit: AuditParams


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, typing.get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _section(cls: type, values: dict, where: str) -> Any:
    hints = {field.name: field.type for field in dataclasses.fields(cls)}
    missing = [key for key in hints if key not in values]
    if missing:
        raise DataError(f"{where}: missing key {missing[0]!r}; its keys are {', '.join(hints)}")
    frozen = {k: tuple(v) if isinstance(v, list) else float(v) if hints[k] is float else v for k, v in values.items()}
    return cls(**frozen)


def _check_values(cls: type, values: Any, where: str) -> dict:
    """Names and types of the keys that are there; a section and its override are checked apart, to be named apart."""
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected a mapping, found {values!r}")
    hints = {field.name: field.type for field in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in hints:
            raise DataError(f"{where}: unknown key {key!r}; its keys are {', '.join(hints)}")
        if not _fits(value, hints[key]):
            name = getattr(hints[key], "__name__", "") if isinstance(hints[key], type) else str(hints[key])
            advice = " (in YAML write 0.001, not 1e-3)" if isinstance(value, str) and hints[key] is float else ""
            raise DataError(f"{where}.{key}: expected {name}, found {value!r}{advice}")
    return values


def load(path: Path, edition: str | None = None) -> Params:
    """Read `path` for one edition (default: the one it names).

    Raises:
        DataError: naming the file and key, for an unknown, missing or mistyped key, edition or dataset.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected a mapping at the top, found {type(raw).__name__}")
    wanted = {"edition", "datasets", "editions", *SECTIONS}
    for kind, keys in (("unknown", raw.keys() - wanted), ("missing", wanted - raw.keys())):
        if keys:
            raise DataError(
                f"{path}: {kind} key {sorted(map(str, keys))[0]!r}; its keys are {', '.join(sorted(wanted))}"
            )
    edition = edition or raw["edition"]
    editions = raw["editions"]
    if not isinstance(editions, dict):
        raise DataError(f"{path}: editions: expected a mapping, found {editions!r}")
    if not isinstance(edition, str) or edition not in editions:
        raise DataError(f"{path}: edition {edition!r} is not under editions: {', '.join(map(str, editions))}")
    datasets = raw["datasets"]
    if not isinstance(datasets, list) or not datasets or any(name not in DATASETS for name in datasets):
        raise DataError(f"{path}: datasets: expected some of {', '.join(DATASETS)}, found {datasets!r}")
    overrides = raw["editions"][edition]
    if not isinstance(overrides, dict) or set(overrides) != set(SECTIONS):
        raise DataError(f"{path}: editions.{edition}: expected the sections {', '.join(SECTIONS)} ({{}} for no change)")
    sections = {}
    for name, cls in zip(SECTIONS, (DataParams, EncodeParams, ModelParams, TrainParams, AuditParams), strict=True):
        shared = _check_values(cls, raw[name], f"{path}: {name}")
        override = _check_values(cls, overrides[name], f"{path}: editions.{edition}.{name}")
        sections[name] = _section(cls, {**shared, **override}, f"{path}: {name}")
    if sections["train"].batch < 2:
        raise DataError(f"{path}: train.batch: expected 2 or more, found {sections['train'].batch}")
    return Params(edition=edition, datasets=tuple(datasets), **sections)
