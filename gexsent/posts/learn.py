"""Fits on posts: what stands between a table that has been read and models that can be compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gexsent import tasks
from gexsent.data import splits
from gexsent.decode import decode
from gexsent.errors import DataError
from gexsent.model import ModelConfig
from gexsent.params import ModelParams, TrainParams
from gexsent.posts.labels import in_units_of
from gexsent.tasks import Task
from gexsent.training import loop
from gexsent.training.data import Samples, targets
from gexsent.training.device import keep_memory, pick_device

SIZES = ModelParams(
    width=128, experts=4, expert_width=128, top_k=2, attention_heads=4, dropout=0.2, balance_weight=0.01, z_weight=0.001,
    group_weight=0.01,
)  # fmt: skip
TRAINING = TrainParams(
    systems=(), seeds=1, fold_seeds=1, tuned_seeds=1, epochs=20, epoch_steps=100, patience=5, batch=64, lr=0.001,
    encoder_lr=0.00005, weight_decay=0.05, warmup=0.1, clip=1.0, average=0.98, token_dropout=0.25, dropout_systems=(),
    modality_dropout=0.3, balance=1.0,
)  # fmt: skip
STEPS = 12  # an epoch has about so many at least: few posts are met in small batches
LEAST_POSTS = 20  # below which a score says nothing
BINS = 5  # into which numbers are cut, so that every part has small and large ones
ROLES = {"train": "to train on", "valid": "to choose by", "test": "to test on"}


@dataclass(frozen=True)
class Study:
    """N posts with their features, labels and roles.

    temporal: whether the visual tokens of a post are in order, as frames are and patches are not.
    values: {label: (N,) codes, NaN where missing}. roles, groups: (N,).
    """

    samples: Samples
    temporal: bool
    tasks: tuple[Task, ...]
    values: dict[str, np.ndarray]
    roles: np.ndarray
    groups: np.ndarray

    def rows(self, role: str) -> torch.Tensor:
        """Places (B,) of the posts of a role."""
        return torch.from_numpy(np.flatnonzero(self.roles == role))

    def job(self, system: str, seed: int) -> loop.Job:
        """A fit of one system. Labels of test posts are not in it."""
        train, valid = self.rows("train"), self.rows("valid")
        learned = tuple(in_units_of(task, self.values[task.label][train.numpy()]) for task in self.tasks)
        known = targets(self.values, learned)
        known[self.rows("test")] = torch.nan
        config = ModelConfig(
            system=system,
            text_features=self.samples.text.values.shape[1],
            vision_features=self.samples.vision.values.shape[1],
            outputs={task.name: task.outputs for task in learned},
            temporal=self.temporal,
            frames=max(1, int(self.samples.vision.lengths[train].max())),
            **asdict(SIZES),
        )
        return loop.Job(config, seed, self.samples, learned, known, train, valid)

    def systems(self) -> list[str]:
        """GEXSent and what it is compared with: each modality that there is alone, and late fusion where there are both."""
        there = [name for name in ("text", "vision") if int(getattr(self.samples, name).lengths.sum())]
        names = ["gexsent", *(f"{name}_only" for name in there)]
        return [*names, "late_fusion"] if len(there) == 2 else names


def training_for(posts: int) -> TrainParams:
    """How so many posts are learned from."""
    batch = int(np.clip(2 ** int(np.log2(max(1, posts / STEPS))), 8, TRAINING.batch))
    return replace(TRAINING, batch=batch)


def fit(
    study: Study, systems: Sequence[str], seeds: int, folder: Path, *, seed: int = 0, progress: bool = True
) -> dict[tuple[str, int], dict]:
    """{(system, seed): record of its fit}, each in folder/<system>/seed<n>; goes on where it was stopped.

    Args:
        seeds, seed: how many fits of each system, and the seed of the first.
    """
    keep_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these models are too small to gain from a second thread, and lose where cores are busy
    settings = training_for(int((study.roles == "train").sum()))
    records, plan = {}, [(system, seed) for seed in range(seed, seed + seeds) for system in systems]
    try:
        for system, seed in tqdm(plan, desc="train", unit="fit", disable=not progress):
            place = folder / system / f"seed{seed}"
            records[system, seed] = loop.fit(study.job(system, seed), settings, place, device=pick_device())
    finally:
        torch.set_num_threads(threads)
    return records


def predict(study: Study, folder: Path, system: str, seed: int, role: str) -> dict[str, np.ndarray]:
    """{task: (B, outputs)} of the posts of a role."""
    place = folder / system / f"seed{seed}"
    heads = loop.predict(place, study.samples, study.rows(role), batch=TRAINING.batch, device=pick_device())
    return {name: values.numpy() for name, values in heads.items()}


def predictions(study: Study, folder: Path, system: str, seed: int, role: str) -> dict[str, np.ndarray]:
    """Prediction columns of the posts of a role, as `decode` gives them."""
    own = tasks.load(folder / system / f"seed{seed}")
    return decode(predict(study, folder, system, seed, role), own)


def deal(task: Task, values: np.ndarray, groups: Sequence[str], seed: int) -> np.ndarray:
    """Roles (N,) of posts: seven tenths to train on, one to validate, two to test on.

    Groups stay whole, and each part has its share of every class, or of small and large numbers.

    Args:
        task, values: the first label and its codes (N,), NaN where missing.

    Raises:
        DataError: fewer than three groups.
    """
    known = ~np.isnan(values)
    strata = np.zeros(len(values), int)
    if task.kind == "regression":
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[1:-1]))
        strata[known] = 1 + np.searchsorted(edges, values[known])
    else:
        strata[known] = 1 + values[known].astype(int)
    if (count := len(set(groups))) < len(ROLES):
        raise DataError(
            f"{len(groups)} posts in {count} group{'s' * (count != 1)}: at least three groups of posts are needed, to learn "
            "from, choose by and test on"
        )
    blocks = np.array(splits.blocks(list(groups), strata.tolist(), seed, least=len(ROLES)))
    names = sorted(set(blocks))
    if len(names) < len(ROLES):
        raise DataError(f"{len(groups)} posts are too few, or too alike, to learn from, choose by and test on")
    tested = max(1, len(names) // 5)
    roles = dict.fromkeys(names, "train") | dict.fromkeys(names[:tested], "test") | {names[tested]: "valid"}
    return np.array([roles[block] for block in blocks])


def given_roles(cells: Sequence[object], column: str, groups: Sequence[str]) -> np.ndarray:
    """Roles (N,) as a column of the table says: train, valid (or val, dev, validation) and test.

    Raises:
        DataError: another word, no post of a role, or a group in two of them.
    """
    words = [str(cell).strip().casefold() for cell in cells]
    roles = [splits.SYNONYMS.get(word, word) for word in words]
    for word, role in zip(words, roles, strict=True):
        if role not in ROLES:
            raise DataError(f"column {column!r}: {word!r} is none of train, valid and test")
    for role in ROLES:
        if role not in roles:
            raise DataError(f"column {column!r}: no post has {role!r}; train, valid and test are needed")
    homes: dict[str, str] = {}
    for group, role in zip(groups, roles, strict=True):
        if homes.setdefault(group, role) != role:
            raise DataError(
                f"column {column!r}: posts that belong together (the same text, picture or group) lie in {homes[group]!r} "
                f"and in {role!r}, so that what was learned would be tested; put them into one, or leave split= out"
            )
    return np.array(roles)
