"""Third stage: token features of both modalities, from frozen encoders or from what the user brought."""

import hashlib
import shutil
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from gexsent.data import media
from gexsent.data.arrays import Ragged
from gexsent.encoders.layers import DESCRIPTION
from gexsent.encoders.record import EncoderRecord
from gexsent.encoders.text import TextEncoder, load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.errors import DataError
from gexsent.features import FeatureStore, Output, extract
from gexsent.stages.prepare import read_table
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace

FOUND = "features"  # value of encode.text or encode.vision: take what lies in the raw folder


def run(workspace: Workspace) -> tuple[FeatureStore, FeatureStore]:
    """Write features/text, features/vision and features/encoders.json; goes on where it was stopped.

    With encode.tuned_layers above 0 also features/text_lower: the states that enter so many top layers of the text
    encoder, and these layers. Without, that folder says so.

    A sample without a text, or without media and features, has no tokens: that modality is absent.

    Returns:
        The text store and the vision store.

    Raises:
        DataError: text features were asked for and none were found, or have layers asked of them, or as
            load_text_encoder, TextEncoder.split, load_vision_encoder and features.extract.
    """
    table = read_table(workspace.table).set_index("id")
    text, text_fingerprint = _text(workspace, table)
    vision, vision_fingerprint = _vision(workspace, table)
    EncoderRecord.of(workspace.params.encode, text_fingerprint, vision_fingerprint).write(workspace.features)
    return text, vision


def _text(workspace: Workspace, table: pd.DataFrame) -> tuple[FeatureStore, str]:
    settings = workspace.params.encode
    if not settings.tuned_layers:
        shutil.rmtree(workspace.features / "text_lower", ignore_errors=True)
        (workspace.features / "text_lower").mkdir(parents=True)
        # A word instead of nothing: DVC warns of an empty folder each time it looks.
        (workspace.features / "text_lower" / "none.txt").write_text("No layers to tune: encode.tuned_layers is 0.\n")
    if settings.text == FOUND:
        if settings.tuned_layers:
            raise DataError("encode.tuned_layers: features brought along have no encoder to tune; set it to 0")
        if not Ragged.load_npz(workspace.found / "text.npz").ids:
            raise DataError(
                f"{workspace.raw}: encode.text is `{FOUND}`, and no text features were found for {workspace.dataset}: "
                "put text.npz (ids, values, lengths) beside the labels, or set encode.text in params.yaml to an encoder"
            )
        store = _brought(workspace, "text", table)
        return store, store.fingerprint
    encoder = load_text_encoder(settings.text, max_tokens=settings.max_tokens, device=pick_device())
    fingerprint = encoder.fingerprint  # of all weights: it takes seconds for a large encoder
    wanted = {"text": (0, fingerprint)}  # how many layers lie above, and what the states depend on
    if settings.tuned_layers:
        _, layers = encoder.split(settings.tuned_layers)
        (workspace.features / "text_lower" / DESCRIPTION).unlink(missing_ok=True)  # of other layers, until all is there
        wanted["text_lower"] = (settings.tuned_layers, f"{fingerprint} below {settings.tuned_layers}")
    text, *_ = _encoded(workspace, wanted, table, encoder)
    if settings.tuned_layers:
        layers.save(workspace.features / "text_lower")
    return text, fingerprint


def _encoded(
    workspace: Workspace, wanted: dict[str, tuple[int, str]], table: pd.DataFrame, encoder: TextEncoder
) -> list[FeatureStore]:
    settings, counts = workspace.params.encode, [count for count, _ in wanted.values()]
    nothing = np.zeros((0, encoder.width), np.float16)

    def encode(ids: Sequence[str]) -> list[list[np.ndarray]]:
        texts = table.loc[list(ids), "text"]
        spoken = [id_ for id_, text in texts.items() if text.strip()]
        depths = encoder.encode_below(counts, texts[spoken].tolist(), batch_tokens=settings.batch_tokens, progress=True)
        found = [dict(zip(spoken, states, strict=True)) for states in depths]
        return [[states.get(id_, nothing) for id_ in ids] for states in found]

    content = hashlib.sha256("\n".join(table["text"]).encode()).hexdigest()
    outputs = [
        Output(workspace.features / name, encoder.width, f"{fingerprint} {content}")
        for name, (_, fingerprint) in wanted.items()
    ]
    return extract(outputs, table.index.tolist(), encode, label=f"{workspace.dataset} text")


def _vision(workspace: Workspace, table: pd.DataFrame) -> tuple[FeatureStore, str | None]:
    settings = workspace.params.encode
    kinds = set(table["kind"]) - {"none"}
    if settings.vision == FOUND or not kinds:
        return _brought(workspace, "vision", table), None
    encoder = load_vision_encoder(settings.vision, settings.vision_weights, device=pick_device())
    (kind,) = kinds  # a data set has images or clips

    at_once = settings.batch_images or encoder.batch_images
    if kind == "clip":
        at_once = max(1, at_once // settings.frames)
    encode_some = encoder.encode_images if kind == "image" else encoder.encode_clips

    def load(id_: str) -> Image.Image | list[Image.Image]:
        path = workspace.raw / table.at[id_, "media"]
        return media.open_image(path) if kind == "image" else media.read_frames(path, settings.frames)[0]

    def encode(ids: Sequence[str]) -> list[list[np.ndarray]]:
        there = [id_ for id_ in ids if table.at[id_, "kind"] == kind]
        parts = [there[start : start + at_once] for start in range(0, len(there), at_once)]
        arrays = [
            array for loaded in media.ahead(lambda part: [*map(load, part)], parts) for array in encode_some(loaded)
        ]
        found = dict(zip(there, arrays, strict=True))
        return [[found.get(id_, np.zeros((0, width), np.float16)) for id_ in ids]]

    width = encoder.image_width if kind == "image" else encoder.frame_width
    fingerprint = encoder.fingerprint
    content = hashlib.sha256((workspace.source.read_text() + "\n".join(table["media"])).encode()).hexdigest()
    output = Output(
        workspace.features / "vision", width, f"{fingerprint} {settings.frames if kind == 'clip' else ''} {content}"
    )
    (store,) = extract([output], table.index.tolist(), encode, shard_rows=256, label=f"{workspace.dataset} {kind}s")
    return store, fingerprint


def _brought(workspace: Workspace, modality: str, table: pd.DataFrame) -> FeatureStore:
    """Features found by the prepare stage; where there are none, a store in which the modality is absent."""
    ids = table.index.tolist()
    ragged = Ragged.load_npz(workspace.found / f"{modality}.npz").align(ids)[0]
    rows = {id_: slice(*ragged.offsets[row : row + 2]) for row, id_ in enumerate(ids)}
    content = hashlib.sha256(ragged.values.tobytes() + ragged.lengths.tobytes()).hexdigest()
    output = Output(workspace.features / modality, ragged.values.shape[1], content)
    label = f"{workspace.dataset} {modality}"
    (store,) = extract([output], ids, lambda part: [[ragged.values[rows[id_]] for id_ in part]], label=label)
    return store
