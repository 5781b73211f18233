"""From a system's name and a flat configuration to a model, and to a folder and back."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from gexsent.errors import DataError
from gexsent.model.baselines import LateFusion, Unimodal
from gexsent.model.gexsent import GEXSent
from gexsent.model.released import MAX_FRAMES, Released

SYSTEMS = ("gexsent", "text_only", "vision_only", "late_fusion", "released")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build a model again. `config.json` beside the weights holds exactly these."""

    system: str
    text_features: int
    vision_features: int
    outputs: dict[str, int]  # {task: number of outputs}
    width: int
    experts: int
    expert_width: int
    top_k: int
    attention_heads: int
    dropout: float
    balance_weight: float
    z_weight: float
    group_weight: float
    temporal: bool  # the visual tokens are frames of a clip
    frames: int  # longest visual sequence seen in training; the released model pads to it


def build(config: ModelConfig) -> nn.Module:
    """A fresh model, initialised from torch's global generator.

    Raises:
        DataError: unknown system.
    """
    c = config
    features = {"text_features": c.text_features, "vision_features": c.vision_features, "outputs": c.outputs}
    match c.system:
        case "gexsent":
            return GEXSent(
                **features,
                width=c.width,
                experts=c.experts,
                expert_width=c.expert_width,
                top_k=c.top_k,
                attention_heads=c.attention_heads,
                dropout=c.dropout,
                temporal=c.temporal,
                balance_weight=c.balance_weight,
                z_weight=c.z_weight,
                group_weight=c.group_weight,
            )
        case "text_only" | "vision_only":
            modality = c.system.removesuffix("_only")
            return Unimodal(
                modality,
                features=features[f"{modality}_features"],
                outputs=c.outputs,
                width=c.width,
                dropout=c.dropout,
                temporal=c.temporal and modality == "vision",
            )
        case "late_fusion":
            return LateFusion(**features, width=c.width, dropout=c.dropout)
        case "released":
            return Released(**features, frames=min(MAX_FRAMES, c.frames))
    raise DataError(f"unknown system {c.system!r}; choose from {', '.join(SYSTEMS)}")


def save_model(model: nn.Module, config: ModelConfig, folder: Path) -> None:
    """Write model.safetensors, then config.json: a folder with a config is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
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
    config = ModelConfig(**values)
    try:
        model = build(config)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path}: its values do not describe a model: {error}") from error
    weights = folder / "model.safetensors"
    try:
        model.load_state_dict(safetensors.torch.load_file(weights))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(f"{weights}: {error}") from error
    return model.eval(), config
