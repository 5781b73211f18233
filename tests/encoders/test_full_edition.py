"""The full edition's way from encoders on disk to a prediction, with random weights of the right architectures.

The text encoder is ModernBERT-base with 2 of its 22 layers, to be quick; every other size is its own. CLIP ViT-B/32 is
whole. Neither knows anything, so only shapes, loading and agreement between the stages can be tested here.
"""

import functools
import json
import shutil
from pathlib import Path

import open_clip
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from transformers import ModernBertConfig, ModernBertForMaskedLM

from gexsent import predictor
from gexsent.encoders import tiny
from gexsent.predictor import Predictor
from gexsent.sample import generate
from gexsent.stages import evaluate, extract, fits, prepare, source, train
from gexsent.workspace import open_workspace

PROJECT = Path(__file__).parents[2]


def randomised(model):
    """Give a model built without memory random matrices, norms of 1 and biases of 0: quicker than its own beginning."""
    generator = torch.Generator().manual_seed(0)
    model = model.to_empty(device="cpu")
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.uniform_(parameter, -0.05, 0.05, generator=generator)
        else:
            nn.init.constant_(parameter, float(not name.endswith("bias")))
    return model


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory):
    """A folder with the files of answerdotai/ModernBERT-base: a masked language model and its tokenizer."""
    folder = tmp_path_factory.mktemp("ModernBERT-base")
    config = ModernBertConfig(
        vocab_size=50368, hidden_size=768, intermediate_size=1152, num_hidden_layers=2, num_attention_heads=12
    )
    with torch.device("meta"):
        model = ModernBertForMaskedLM(config)
    model = randomised(model)
    model.tie_weights()
    model.save_pretrained(folder)
    tiny.text()[1].save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory):
    """A checkpoint of CLIP ViT-B/32, both towers, in half precision to save disk."""
    path = tmp_path_factory.mktemp("clip") / "vit_b_32.pt"
    with torch.device("meta"):
        model = open_clip.create_model("ViT-B-32", device="meta")
    torch.save({name: value.half() for name, value in randomised(model).state_dict().items()}, path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def project(tmp_path_factory, modernbert, clip_weights, fit_here):
    """The full edition in a folder of its own, over a few generated rows where $GEXSENT_DATA points; CPU alone."""

    root, raw = tmp_path_factory.mktemp("full"), tmp_path_factory.mktemp("raw")
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["editions"]["full"] |= {
        "encode": {"text": str(modernbert), "vision_weights": str(clip_weights), "frames": 2, "batch_images": 4},
        "model": {"width": 16, "experts": 2, "expert_width": 8},
        "train": {"systems": ["gexsent"], "seeds": 1, "epochs": 1},
    }
    assert params["encode"]["vision"] == "ViT-B-32"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    generate.generate(raw / "memotion", "memotion", rows=30, seed=1)
    generate.generate(raw / "mosi", "mosi", rows=15, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEXSENT_DATA", str(raw))
        patch.setattr(fits, "_on_cores", fit_here)
        for stage in (extract, fits, evaluate):
            patch.setattr(stage, "pick_device", lambda: "cpu")
        for name in ("load_text_encoder", "load_vision_encoder"):  # once for both data sets: they take seconds
            patch.setattr(extract, name, loaded_once(getattr(extract, name)))
        yield root


def loaded_once(load):
    """A loader that gives the same encoder whenever it is asked for the same one, on the CPU."""
    cached = functools.cache(load)

    def again(*names, device="cpu", **options):
        return cached(*names, **options)

    return again


def run_stages(project, dataset):
    """The workspace, the stored predictions joined to the table, and the folder of the only fit."""
    workspace = open_workspace("full", dataset, project)
    source.run(workspace)
    prepare.run(workspace)
    text, vision = extract.run(workspace)
    assert (text.width, vision.width) == (768, 768 if dataset == "memotion" else 512)
    train.run(workspace)
    predictions, scores = evaluate.run(workspace)
    assert scores["rows"].tolist() == [len(predictions)]
    (partition,) = predictions["partition"].unique()
    table = pd.read_parquet(workspace.table)
    return workspace, predictions.merge(table, on="id"), workspace.fit("gexsent", partition, 0), vision


@pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning")  # classes that a dozen rows lack
def test_memes_from_raw_files_to_a_prediction(project):
    workspace, rows, folder, vision = run_stages(project, "memotion")
    assert set(vision.lengths.tolist()) == {1 + 7 * 7}
    model = Predictor.from_pretrained(folder)
    row = rows.iloc[0]
    image = workspace.raw / row["media"]
    both, words, seen = model(row["text"], image=image), model(row["text"]), model(image=image)
    assert both["probabilities"]["sentiment"]["positive"] == pytest.approx(row["p_sentiment_positive"], abs=5e-3)
    assert both["humour"]["present"] == pytest.approx(row["p_humour_present"], abs=5e-3)
    assert len({json.dumps(prediction) for prediction in (both, words, seen)}) == 3


@pytest.mark.filterwarnings("ignore::gexsent.evaluation.metrics.MetricWarning")
def test_clips_from_raw_files_to_a_prediction(project, monkeypatch):
    # That a model's encoders are loaded from disk again is tested with the memes: here they are at hand already.
    monkeypatch.setattr(predictor, "load_text_encoder", extract.load_text_encoder)
    monkeypatch.setattr(predictor, "load_vision_encoder", extract.load_vision_encoder)
    workspace, rows, folder, vision = run_stages(project, "mosi")
    assert set(vision.lengths.tolist()) == {2}
    model, row = Predictor.from_pretrained(folder), rows.iloc[0]
    found = model(row["text"], clip=workspace.raw / row["media"])
    assert found["intensity"] == pytest.approx(row["pred_intensity"], abs=5e-3)
    assert found["probabilities"]["sentiment"]["negative"] == pytest.approx(row["p_sentiment_negative"], abs=5e-3)
    assert found != model(row["text"])
