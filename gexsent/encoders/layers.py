"""A text encoder in two: layers that stay as they are, whose states are computed once, and the top ones, to be trained.

Both halves are the encoder's own code. The lower half is the whole encoder, read before its top layers. The upper half
is an encoder of the same architecture with fewer layers and no embeddings: it starts from states instead of tokens.
"""

import copy
import json
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from gexsent.digest import write_atomically
from gexsent.encoders.weights import first_line, seeded
from gexsent.errors import DataError

DESCRIPTION, WEIGHTS = "text_layers.json", "text_layers.safetensors"


def entering(output: BaseModelOutput, count: int) -> Tensor:
    """The states (B, L, D) that enter the top `count` layers; the output holds those of the embeddings and of each layer."""
    return output.hidden_states[-1 - count]


class LowerLayers(nn.Module):
    """An encoder without its top `count` layers: `last_hidden_state` is what enters them."""

    def __init__(self, model: nn.Module, count: int):
        super().__init__()
        self.model, self.count, self.config = model, count, model.config

    def forward(self, **tokens: Tensor) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=entering(self.model(**tokens, output_hidden_states=True), self.count))


class TopLayers(nn.Module):
    """The top layers of an encoder, with the norm above them if there is one. Fresh weights; `of` gives trained ones.

    Args:
        count: of layers.
        config: of transformers, by its own names. It may describe one layer more than `count`: the layer below is
            built and thrown away, because some architectures make their first layer unlike the others.
    """

    def __init__(self, count: int, config: dict):
        super().__init__()
        self.description = {"count": count, "config": config}
        with seeded(0):  # the weights are about to be replaced, and whoever draws numbers next should not notice
            model = AutoModel.from_config(AutoConfig.for_model(**config))
        self.encoder = _top(model, count)

    @classmethod
    def of(cls, model: nn.Module, count: int) -> "TopLayers":
        """A copy of the top layers of an encoder in float32; the encoder stays as it is.

        Raises:
            DataError: it has not so many layers, or none that can be taken apart.
        """
        depth = model.config.num_hidden_layers
        if not 1 <= count <= depth:
            raise DataError(f"encode.tuned_layers: expected 1 to {depth}, the text encoder's depth, found {count}")
        top = cls(count, _shortened(model.config, min(count + 1, depth)))
        top.encoder.load_state_dict(_top(copy.deepcopy(model), count).state_dict())
        return top

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (B, L, D) that enter the layers, mask (B, L) with at least one True a row -> states (B, L, D)."""
        return self.encoder(inputs_embeds=states, attention_mask=mask.long()).last_hidden_state

    def save(self, folder: Path) -> None:
        """Write text_layers.safetensors, then text_layers.json."""
        weights = {key: value.contiguous() for key, value in self.state_dict().items()}
        write_atomically(folder / WEIGHTS, safetensors.torch.save(weights))
        write_atomically(folder / DESCRIPTION, (json.dumps(self.description, indent=2) + "\n").encode())

    @classmethod
    def described(cls, folder: Path) -> "TopLayers":
        """Fresh layers of the kind that text_layers.json in this folder describes.

        Raises:
            DataError: the file is lacking or describes none.
        """
        path = folder / DESCRIPTION
        try:
            return cls(**json.loads(path.read_text()))
        except Exception as error:  # transformers raises its own for a configuration that it does not know
            raise DataError(f"{path}: does not describe the layers of a text encoder: {first_line(error)}") from error

    @classmethod
    def load(cls, folder: Path) -> "TopLayers":
        """What `save` wrote.

        Raises:
            DataError: a file is lacking or damaged.
        """
        layers = cls.described(folder)
        try:
            layers.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise DataError(f"{folder / WEIGHTS}: {first_line(error)}") from error
        return layers


class _Given(nn.Module):
    """In the place of embeddings: the states that are given."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Tensor:
        return inputs_embeds


def _top(model: nn.Module, count: int) -> nn.Module:
    """Cut `model` down to its top layers, in place."""
    depth = model.config.num_hidden_layers
    stacks = [name for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if not stacks or not hasattr(model, "embeddings"):
        raise DataError(
            f"encode.tuned_layers: {type(model).__name__} has no layers that can be trained apart; set it to 0"
        )
    parent, _, name = stacks[0].rpartition(".")
    setattr(model.get_submodule(parent), name, model.get_submodule(stacks[0])[-count:])
    model.embeddings = _Given()
    if hasattr(model, "pooler"):
        model.pooler = None
    return model


def _shortened(config: PreTrainedConfig, depth: int) -> dict:
    """The configuration of an encoder with the last `depth` layers and no vocabulary."""
    unsaid = (
        "_name_or_path",
        "architectures",
        "dtype",
        "transformers_version",
    )  # of one file or version, not of layers
    short = {key: value for key, value in config.to_diff_dict().items() if key not in unsaid}
    short |= {key: None for key in short if key.endswith("_token_id")}
    short |= {"num_hidden_layers": depth, "vocab_size": 1, "pad_token_id": 0}
    if "layer_types" in short:  # which layers attend to all tokens, and which to their neighbours
        short["layer_types"] = short["layer_types"][-depth:]
    return short
