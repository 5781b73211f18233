"""What is needed to build a model again."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import nn


@dataclass(frozen=True)
class ModelConfig:
    """Name and sizes of a model, flat. `config.json` beside the weights holds exactly these."""

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


def construct(model: type[nn.Module], config: ModelConfig, changes: Mapping) -> nn.Module:
    """A fresh model: its constructor gets those values of the configuration that it or a parent names, and the changes."""
    wanted = {name for kind in model.__mro__ for name in inspect.signature(kind.__init__).parameters}
    return model(**{name: value for name, value in asdict(config).items() if name in wanted}, **changes)
