"""From a system's name and a flat configuration to a model, and to a folder and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
from torch import nn

from gexsent import arithmetic
from gexsent.errors import DataError
from gexsent.model.baselines import LateFusion, Unimodal
from gexsent.model.config import ModelConfig, construct
from gexsent.model.finetuned import FineTuned
from gexsent.model.fusion import LMF, TFN
from gexsent.model.gexsent import GEXSent
from gexsent.model.misa import MISA
from gexsent.model.mult import MulT
from gexsent.model.released import Released


class System(NamedTuple):
    """A class of model, the constructor arguments that make this system of it, whose settings it shares, if not its own (an
    ablation differs from the whole in its part alone), and whether its training hides whole modalities."""

    model: type[nn.Module]
    changes: Mapping[str, Any] = MappingProxyType({})
    settings_of: str | None = None
    drops_modality: bool = False


DROPOUT = "+dropout"  # behind the name of a system of two modalities: the same model, trained with modality dropout


SYSTEMS = {
    "gexsent": System(GEXSent),
    "gexsent_finetuned": System(FineTuned, settings_of="gexsent"),
    # one modality alone, and other ways to join two
    "text_only": System(Unimodal, {"modality": "text"}),
    "vision_only": System(Unimodal, {"modality": "vision"}),
    "late_fusion": System(LateFusion),
    "tfn": System(TFN),
    "lmf": System(LMF),
    "mult": System(MulT),
    "misa": System(MISA),
    # GEXSent with one part taken away or replaced
    "flat_moe": System(GEXSent, {"mixture": "flat"}, "gexsent"),
    "dense_ffn": System(GEXSent, {"mixture": "dense"}, "gexsent"),
    "random_router": System(GEXSent, {"learned_router": False}, "gexsent"),
    "no_sample_level": System(GEXSent, {"sample_level": False}, "gexsent"),
    "no_shared_group": System(GEXSent, {"shared_group": False}, "gexsent"),
    "uniform_gates": System(GEXSent, {"live_gates": False}, "gexsent"),
    "no_gam": System(GEXSent, {"attention": False}, "gexsent"),
    # what the released code computes, and with one fault mended
    "released": System(Released),
    "released_live_gate": System(Released, {"live_gate": True}, "released"),
    "released_masked": System(Released, {"mask_padding": True}, "released"),
    "released_renormalised": System(Released, {"renormalise": True}, "released"),
    # and with two: longer texts bring more padding, which would hide what they are worth
    "released_masked_whole_text": System(Released, {"mask_padding": True, "max_tokens": 128}, "released"),
}


def build(config: ModelConfig, text_layers: nn.Module | None = None) -> nn.Module:
    """A fresh model, initialised from torch's global generator.

    Args:
        text_layers: of a fine-tuned system, see FineTuned.

    Raises:
        DataError: unknown system, or text layers for a system that has none, or none for one that needs them.
    """
    arithmetic.pin()
    own = system(config.system)
    if fine_tuned(config.system) != (text_layers is not None):
        raise DataError(f"{config.system}: only a fine-tuned system has layers of a text encoder, and it needs them")
    changes = own.changes if text_layers is None else {**own.changes, "text_layers": text_layers}
    return construct(own.model, config, changes)


def fine_tuned(name: str) -> bool:
    """Whether a system trains layers of the text encoder along, and so reads the states that enter these."""
    return issubclass(system(name).model, FineTuned)


def system(name: str) -> System:
    """What stands behind a system's name, `+dropout` understood.

    Raises:
        DataError: unknown system, or `+dropout` behind one that has a single modality to lose.
    """
    base = name.removesuffix(DROPOUT)
    if base not in SYSTEMS:
        raise DataError(f"unknown system {name!r}; choose from {', '.join(SYSTEMS)}")
    found = SYSTEMS[base]
    if base == name:
        return found
    if "modality" in found.changes:
        raise DataError(f"{name}: {base} uses one modality alone, and modality dropout needs two")
    return found._replace(drops_modality=True)


def settings_of(name: str) -> str:
    """The system whose settings a system is trained with: an ablation's are those of the whole."""
    return system(name).settings_of or name.removesuffix(DROPOUT)


def save_model(model: nn.Module, config: ModelConfig, folder: Path) -> None:
    """Write model.safetensors, then config.json: a folder with a config is complete.

    Of a fine-tuned system text_layers.json too, which says of what architecture its encoder layers are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    if isinstance(model, FineTuned):
        (folder / "text_layers.json").write_text(json.dumps(model.text_layers.description, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")


def load_model(folder: Path) -> tuple[nn.Module, ModelConfig]:
    """Rebuild a saved model in evaluation mode, strict about the configuration and about every weight.

    Raises:
        DataError: naming the file and key.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; expected a folder written by save_model") from error
    names = {field.name for field in fields(ModelConfig)}
    wrong = names.symmetric_difference(values) if isinstance(values, dict) else names
    if wrong:
        raise DataError(f"{path}: unknown or missing key {sorted(wrong)[0]!r}; its keys are {', '.join(sorted(names))}")
    for field in fields(ModelConfig):
        if not _fits(values[field.name], field.type):
            raise DataError(f"{path}: {field.name}: found {values[field.name]!r}, expected {field.type}")
    config = ModelConfig(**values)
    layers = _text_layers(folder) if fine_tuned(config.system) else None
    try:
        model = build(config, layers)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path}: its values do not describe a model: {error}") from error
    weights = folder / "model.safetensors"
    try:
        model.load_state_dict(safetensors.torch.load_file(weights))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(f"{weights}: {error}") from error
    return model.eval(), config


def _text_layers(folder: Path) -> nn.Module:
    from gexsent.encoders.layers import TopLayers  # imports transformers, which models of frozen features do without

    return TopLayers.described(folder)


def _fits(value: Any, kind: Any) -> bool:
    if kind == dict[str, int]:
        return isinstance(value, dict) and all(_fits(number, int) for number in value.values())
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, (int, float) if kind is float else kind)
