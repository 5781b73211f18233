"""params.yaml as frozen dataclasses: one loader, strict about every key and type.

`tables` describes data sets of one's own, see tables.py.

Sections `data`, `encode`, `model`, `search`, `train` hold the values common to all editions; `editions.<name>.<section>`
overrides some of them, and `editions.<name>.by_dataset.<dataset>.<section>` some of those for one data set. A value is
therefore written once, and the difference between two editions can be read off.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gexsent import tables
from gexsent.datasets import SPECS, spec
from gexsent.errors import DataError


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
    tuned_layers: int  # top layers of the text encoder made ready to be trained; 0: none
    frames: int  # sampled per clip
    batch_tokens: int | None  # text tokens in a forward pass; null: what suits the device
    batch_images: int | None  # pictures, or frames of clips


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
    tuned_seeds: int  # seeds of a fine-tuned system, at most: each fit takes many times as long
    epochs: int
    epoch_steps: int  # optimiser steps after which an epoch of a large data set ends, to be validated
    patience: int  # epochs without a better validation score before stopping
    batch: int
    lr: float
    encoder_lr: float  # of the encoder layers that a fine-tuned system trains along; no other system has any
    weight_decay: float
    warmup: float  # share of all steps
    clip: float  # largest gradient norm
    average: (
        float  # decay per step of the running mean of weights that is validated and kept; 0: the weights themselves
    )
    token_dropout: float  # share of tokens hidden from the model while training
    dropout_systems: tuple[str, ...]  # fitted once more with modality dropout, where samples have two modalities
    modality_dropout: float  # in that fit, share of the samples of each step that lose their text or their vision
    balance: float  # strength of the correction for uneven classes, 0 (none) to 1


@dataclass(frozen=True)
class SearchParams:
    """What each system may choose from before it is trained, on training and validation rows alone."""

    trials: int  # settings tried for each system, those of `model` and `train` first; 1: nothing to choose
    folds: int  # into which training and validation rows are cut, groups whole: each trial is so many fits
    space: dict[str, list]  # {"model.width": [64, 128]}: values for keys of `model` and `train`


@dataclass(frozen=True)
class RobustnessParams:
    """How much of the robustness protocols is run."""

    seeds: int  # fits of each system and partition that are put to them, at most
    draws: int  # of masks and noise
    rows: int | None  # test rows of a data set that are damaged, at most, drawn by whole groups; null: all


@dataclass(frozen=True)
class AuditParams:
    """What is fitted again to see what faults of protocol are worth."""

    system: str
    seeds: int


@dataclass(frozen=True)
class Params:
    """Everything that one edition needs, or one data set of it."""

    edition: str
    datasets: tuple[str, ...]
    data: DataParams
    encode: EncodeParams
    model: ModelParams
    search: SearchParams
    train: TrainParams
    robustness: RobustnessParams
    audit: AuditParams


SECTIONS = {
    "data": DataParams,
    "encode": EncodeParams,
    "model": ModelParams,
    "search": SearchParams,
    "train": TrainParams,
    "robustness": RobustnessParams,
    "audit": AuditParams,
}
BY_DATASET = ("model", "search", "train", "robustness", "audit")  # what one data set of an edition may change


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is dict:
        kinds = typing.get_args(hint)
        return isinstance(value, dict) and all(_fits(k, kinds[0]) and _fits(v, kinds[1]) for k, v in value.items())
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


def load(path: Path, edition: str | None = None, dataset: str | None = None) -> Params:
    """Read `path` for one edition (default: the one it names) and, where given, one data set of it.

    Raises:
        DataError: naming the file and key, for an unknown, missing or mistyped key, edition or dataset.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected a mapping at the top, found {type(raw).__name__}")
    wanted = {"edition", "datasets", "tables", "editions", *SECTIONS}
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
    tables.register(raw["tables"], f"{path}: tables")
    datasets = raw["datasets"]
    if not isinstance(datasets, list) or not datasets or any(name not in list(SPECS) for name in datasets):
        raise DataError(f"{path}: datasets: expected some of {', '.join(SPECS)}, found {datasets!r}")
    if dataset is not None:
        spec(dataset)  # there is one of that name
    overrides = raw["editions"][edition]
    if not isinstance(overrides, dict) or set(overrides) != {*SECTIONS, "by_dataset"}:
        raise DataError(
            f"{path}: editions.{edition}: expected the sections {', '.join(SECTIONS)}, by_dataset ({{}} for no change)"
        )
    special = _by_dataset(overrides["by_dataset"], f"{path}: editions.{edition}.by_dataset")
    sections = {}
    for name, cls in SECTIONS.items():
        shared = _check_values(cls, raw[name], f"{path}: {name}")
        override = _check_values(cls, overrides[name], f"{path}: editions.{edition}.{name}")
        own = special[dataset].get(name, {}) if dataset else {}
        sections[name] = _section(cls, {**shared, **override, **own}, f"{path}: {name}")
    if sections["train"].batch < 2:
        raise DataError(f"{path}: train.batch: expected 2 or more, found {sections['train'].batch}")
    _check_search(sections["search"], f"{path}: search")
    return Params(edition=edition, datasets=tuple(datasets), **sections)


def _by_dataset(values: Any, where: str) -> dict[str, dict]:
    # Every data set has its key, be it empty: DVC can then watch it.
    if not isinstance(values, dict) or set(values) != set(SPECS):
        raise DataError(f"{where}: expected the data sets {', '.join(SPECS)}, each with {{}} for no change")
    for dataset, sections in values.items():
        if not isinstance(sections, dict) or not set(sections) <= set(BY_DATASET):
            raise DataError(f"{where}.{dataset}: expected some of the sections {', '.join(BY_DATASET)}, or {{}}")
        for name, override in sections.items():
            _check_values(SECTIONS[name], override, f"{where}.{dataset}.{name}")
    return values


def _check_search(search: SearchParams, where: str) -> None:
    for key, least in (("trials", 1), ("folds", 2)):
        if getattr(search, key) < least:
            raise DataError(f"{where}.{key}: expected {least} or more, found {getattr(search, key)}")
    for key, values in search.space.items():
        section, _, name = key.partition(".")
        if section not in ("model", "train") or not values:
            raise DataError(f"{where}.space: {key}: expected a list of values for model.<key> or train.<key>")
        for value in values:
            _check_values(SECTIONS[section], {name: value}, f"{where}.space: {section}")
