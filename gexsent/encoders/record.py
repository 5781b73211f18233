"""Which encoders made a model's features: `encoders.json` beside its weights."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.params import EncodeParams

NAME = "encoders.json"
BROUGHT = "features"  # value of `text` where no encoder made them


@dataclass(frozen=True)
class EncoderRecord:
    """Which encoders made a model's features: `encoders.json` in its folder."""

    text: str
    text_fingerprint: str
    vision: str | None  # None: the model was trained on features brought along, or without vision
    vision_weights: str | None
    vision_fingerprint: str | None
    max_tokens: int
    frames: int

    @classmethod
    def of(cls, encode: EncodeParams, text_fingerprint: str, vision_fingerprint: str | None) -> "EncoderRecord":
        encodes = vision_fingerprint is not None
        return cls(
            text=encode.text,
            text_fingerprint=text_fingerprint,
            vision=encode.vision if encodes else None,
            vision_weights=encode.vision_weights if encodes else None,
            vision_fingerprint=vision_fingerprint,
            max_tokens=encode.max_tokens,
            frames=encode.frames,
        )

    def write(self, folder: Path) -> None:
        write_atomically(folder / NAME, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "EncoderRecord":
        path = folder / NAME
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}; expected the folder of a trained model") from error
        names = {field.name for field in fields(cls)}
        wrong = names.symmetric_difference(values) if isinstance(values, dict) else names
        if wrong:
            raise DataError(
                f"{path}: unknown or missing key {sorted(wrong)[0]!r}; its keys are {', '.join(sorted(names))}"
            )
        return cls(**values)
