"""A small problem that a small model learns in a moment, and the settings of its training in one place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gexsent.datasets import spec
from gexsent.model import ModelConfig
from gexsent.params import TrainParams
from gexsent.training import loop
from gexsent.training.data import Samples, Tokens, targets

TEXT_WIDTH, VISION_WIDTH = 6, 4


@pytest.fixture(scope="session")
def make_params():
    """Training settings; keyword arguments replace them."""

    def make(**changes):
        values = {
            "systems": ("gexsent",),
            "seeds": 1,
            "fold_seeds": 1,
            "tuned_seeds": 1,
            "epochs": 3,
            "epoch_steps": 100,
            "patience": 10,
            "batch": 8,
            "lr": 0.01,
            "encoder_lr": 0.01,
            "weight_decay": 0.05,
            "warmup": 0.1,
            "clip": 1.0,
            "token_dropout": 0.2,
            "dropout_systems": (),
            "modality_dropout": 0.5,
            "balance": 1.0,
            "average": 0.0,
        }
        return TrainParams(**values | changes)

    return make


@pytest.fixture(scope="session")
def make_tokens():
    """(count, width, seed) -> ragged tokens of one to five a sample; one sample in seven has none."""

    def make(count, width, seed):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 6, count)
        lengths[3::7] = 0
        offsets = np.concatenate([[0], lengths.cumsum()])
        values = rng.normal(2, 3, (offsets[-1], width)).astype(np.float32)
        return Tokens(torch.from_numpy(values), torch.from_numpy(offsets))

    return make


@pytest.fixture(scope="session")
def text_layers():
    """The upper two layers of a BERT as wide as the text features."""
    from transformers import BertConfig, BertModel

    from gexsent.encoders.layers import TopLayers
    from gexsent.encoders.weights import seeded

    with seeded(5):
        model = BertModel(
            BertConfig(
                vocab_size=9, hidden_size=TEXT_WIDTH, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8
            )
        )
    return TopLayers.of(model, 2)


@pytest.fixture(scope="session")
def make_job(make_tokens, text_layers):
    """A job on 64 samples: 38 to train on, 16 to validate on, 10 (the last) that are in neither list.

    The label follows from the text features, some labels are missing, and test rows have targets here, as they never
    have in the pipeline: a test that scrambles them can then show that nothing reads them.
    """

    def make(system="gexsent", *, dataset="mosi", seed=0, temporal=False, **changes):
        rng = np.random.default_rng(1)
        text, vision = make_tokens(64, TEXT_WIDTH, 2), make_tokens(64, VISION_WIDTH, 3)
        means = text.gather(torch.arange(64))[0].mean(1)[:, 0].numpy()
        values = np.clip(means - means.mean() + rng.normal(0, 0.2, 64), -3, 3)
        labels = {"intensity": values, "sentiment": np.round(np.clip(values, -1, 1))}
        for category, top in (("humour", 3), ("sarcasm", 3), ("offensive", 3), ("motivational", 1)):
            labels[category] = rng.integers(0, top + 1, 64).astype(float)
        for column in labels.values():
            column[rng.random(64) < 0.1] = np.nan
        tasks = spec(dataset).tasks
        config = ModelConfig(
            system=system,
            text_features=TEXT_WIDTH,
            vision_features=VISION_WIDTH,
            outputs={task.name: task.outputs for task in tasks},
            width=8,
            experts=2,
            expert_width=4,
            top_k=1,
            attention_heads=2,
            dropout=0.2,
            balance_weight=0.01,
            z_weight=0.001,
            group_weight=0.01,
            temporal=temporal,
            frames=5,
        )
        job = loop.Job(
            config=config,
            seed=seed,
            samples=Samples([f"s{i}" for i in range(64)], text, vision, digest="features"),
            tasks=tasks,
            targets=targets(labels, tasks),
            train_rows=torch.arange(38),
            valid_rows=torch.arange(38, 54),
        )
        if system == "gexsent_finetuned":
            frozen = Tokens(text.values.flip(1) / 3 - 1, text.offsets)  # as if layers had made them of the text
            job = replace(job, samples=replace(job.samples, frozen_text=frozen), text_layers=text_layers)
        return replace(job, **changes)

    return make


@pytest.fixture(scope="session")
def bytes_of():
    """Content of every file of a fit by name."""

    def read(folder):
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    return read


@pytest.fixture
def steps():
    """What the optimiser saw at each of its steps: learning rate and norm of the gradient."""
    seen = []

    def note(optimizer, _args, _kwargs):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        seen.append({"lr": optimizer.param_groups[0]["lr"], "norm": float(norm)})

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()
