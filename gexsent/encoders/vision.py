"""CLIP by open_clip: a vector for each patch of an image, or one for each frame of a clip."""

from collections.abc import Sequence

import numpy as np
import open_clip
import torch
from open_clip.transformer import VisionTransformer
from PIL import Image
from torch import Tensor

from gexsent import arithmetic
from gexsent.encoders import tiny
from gexsent.encoders.weights import fingerprint, first_line, pick_dtype
from gexsent.errors import DataError

TINY = "tiny-clip"
BATCH_IMAGES = {"cpu": 64, "cuda": 512}


class VisionEncoder:
    """The visual half of a CLIP model, frozen.

    Args:
        tower: open_clip's VisionTransformer.
        transform: PIL image -> (3, H, W), as the model was trained.
    """

    def __init__(self, tower, transform, *, device: str = "cpu", dtype: torch.dtype | None = None):
        self.dtype = dtype or pick_dtype(device)
        self.tower = tower.eval().requires_grad_(False).to(device, self.dtype)
        self.transform, self.device = transform, device

    @property
    def image_width(self) -> int:
        """Of patch tokens: the transformer's own width."""
        return self.tower.conv1.out_channels

    @property
    def frame_width(self) -> int:
        """Of frame vectors: CLIP's joint space."""
        return self.tower.output_dim

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of the transform."""
        return fingerprint(self.tower, str(self.transform) if "object at" not in str(self.transform) else "")

    @property
    def batch_images(self) -> int:
        """How many pictures at once suit the device."""
        return BATCH_IMAGES[torch.device(self.device).type]

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """N images -> N arrays (1 + P, width) float16: the class token, then the patches row by row.

        These are the transformer's last states before pooling and projection, after the final norm.
        """
        if not images:
            return []
        states = self.tower.forward_intermediates(
            self._pixels(images), indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC",
            output_extra_tokens=True,
        )  # fmt: skip
        patches, prefix = states["image_intermediates"][-1], states["image_intermediates_prefix"][-1]
        return list(torch.cat([prefix, patches], 1).float().cpu().numpy().astype(np.float16))

    @torch.inference_mode()
    def encode_frames(self, images: Sequence[Image.Image]) -> np.ndarray:
        """F frames -> (F, width) float16: CLIP's own embedding of each, not normalised to length 1."""
        return self.tower(self._pixels(images)).float().cpu().numpy().astype(np.float16)

    def encode_clips(self, clips: Sequence[Sequence[Image.Image]]) -> list[np.ndarray]:
        """N clips of frames -> N arrays as `encode_frames` gives, from one pass over all frames."""
        if not clips:
            return []
        frames = self.encode_frames([frame for clip in clips for frame in clip])
        return np.split(frames, np.cumsum([len(clip) for clip in clips])[:-1])

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.transform(image) for image in images]).to(self.device, self.dtype)


def load_vision_encoder(
    name: str, weights: str | None = None, *, device: str = "cpu", dtype: torch.dtype | None = None
) -> VisionEncoder:
    """An open_clip architecture with weights: a tag that open_clip knows, or a checkpoint file. `tiny-clip` is built here.

    Raises:
        DataError: unknown architecture, no weights named, or weights that cannot be had.
    """
    arithmetic.pin()
    if name == TINY:
        return VisionEncoder(*tiny.vision(), device=device, dtype=dtype)
    if name not in open_clip.list_models():
        raise DataError(f"vision encoder {name!r}: open_clip has no such architecture; see open_clip.list_models()")
    if not weights:
        raise DataError(f"vision encoder {name!r}: set encode.vision_weights to an open_clip tag or a checkpoint file")
    try:
        model, _, transform = open_clip.create_model_and_transforms(name, pretrained=weights)
    except Exception as error:  # open_clip, the Hub's client and torch each raise their own
        raise DataError(
            f"vision encoder {name!r}: weights {weights!r} cannot be loaded: {first_line(error)} Download them "
            "once while online, or set encode.vision_weights to a checkpoint file."
        ) from error
    if not isinstance(model.visual, VisionTransformer):
        raise DataError(f"vision encoder {name!r}: not a vision transformer, so it has no patch tokens; try ViT-B-32")
    return VisionEncoder(model.visual, transform, device=device, dtype=dtype)
