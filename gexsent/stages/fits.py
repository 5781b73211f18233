"""From a workspace to fits: what they learn from, and running many of them.

Reads labels/fit.parquet and nothing else that holds a label: no fit can see what it will be tested on.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from gexsent import machine, tasks
from gexsent.errors import DataError
from gexsent.features import FeatureStore
from gexsent.model import ModelConfig, fine_tuned
from gexsent.params import ModelParams, TrainParams
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.training.data import Samples, Tokens, targets
from gexsent.training.device import keep_memory, pick_device
from gexsent.workspace import Workspace


class Fit(NamedTuple):
    """One fit that is to be there: what it learns from, how, and where it lies."""

    job: loop.Job
    params: TrainParams
    folder: Path


@dataclass(frozen=True)
class Problem:
    """What all fits of a data set share: features, tasks, labels and the sizes that follow from them."""

    samples: Samples
    tuned: tuple[Samples, nn.Module] | None  # for systems that train layers of the text encoder along
    tasks: tuple[tasks.Task, ...]
    labels: pd.DataFrame  # partition, id, role, a column for each label
    sizes: dict  # the part of a ModelConfig that the data decide

    @classmethod
    def read(cls, workspace: Workspace) -> "Problem":
        """The features and fit labels of a workspace."""
        table, labels = read_table(workspace.table), read_table(workspace.fit_labels)
        samples = load_samples(workspace)
        needed = any(map(fine_tuned, workspace.params.train.systems))
        tuned = load_tuned(workspace, samples) if needed else None
        chosen = tuple(  # a layout may lack a kind of label altogether
            task for task in workspace.spec.tasks if task.label in labels and labels[task.label].notna().any()
        )
        sizes = {
            "text_features": samples.text.values.shape[1],
            "vision_features": samples.vision.values.shape[1],
            "outputs": {task.name: task.outputs for task in chosen},
            "temporal": bool((table["kind"] == "clip").any()),
        }
        return cls(samples, tuned, chosen, labels, sizes)

    def jobs(self, part: pd.DataFrame) -> Callable[[str, ModelParams, int], loop.Job]:
        """What makes a job of a system, its sizes and a seed, for rows `part`: id, role (train or valid), labels."""
        known = part.set_index("id")
        columns = {
            task.label: known[task.label].astype("Float64").to_numpy(np.float64, na_value=np.nan) for task in self.tasks
        }
        rows = self.samples.rows(known.index.tolist())
        known_targets = torch.full((len(self.samples.ids), len(self.tasks)), torch.nan)  # of any other row: NaN
        known_targets[rows] = targets(columns, self.tasks)
        is_train = torch.tensor((part["role"] == "train").tolist())
        frames = max(1, int(self.samples.vision.lengths[rows[is_train]].max()))
        seen = {"tasks": self.tasks, "targets": known_targets}
        seen |= {"train_rows": rows[is_train], "valid_rows": rows[~is_train]}

        def job(system: str, model: ModelParams, seed: int) -> loop.Job:
            config = ModelConfig(system=system, frames=frames, **self.sizes, **asdict(model))
            samples, layers = self.tuned if fine_tuned(system) else (self.samples, None)
            return loop.Job(config=config, seed=seed, samples=samples, text_layers=layers, **seen)

        return job


def load_samples(workspace: Workspace) -> Samples:
    """The features of both modalities in memory, in the order of the text store."""
    text = FeatureStore.open(workspace.features / "text")
    vision = FeatureStore.open(workspace.features / "vision")
    if text.ids != vision.ids:
        raise DataError(f"{workspace.features}: text and vision hold different ids; run the extract stage again")
    return Samples(list(text.ids), _tokens(text), _tokens(vision), digest=f"{text.digest} {vision.digest}")


def load_tuned(workspace: Workspace, samples: Samples) -> tuple[Samples, nn.Module]:
    """The samples of fine-tuned systems, whose text is what enters the tuned layers, and these as the encoder has them.

    Raises:
        DataError: the extract stage has not made them ready, or for other rows.
    """
    from gexsent.encoders.layers import DESCRIPTION, TopLayers  # imports transformers, which no other system needs

    folder = workspace.features / "text_lower"
    if not (folder / DESCRIPTION).exists():
        raise DataError(
            f"{folder}: no layers to tune; set encode.tuned_layers to 1 or more in params.yaml and run the extract stage"
        )
    lower = FeatureStore.open(folder)
    if lower.ids != samples.ids or (lower.lengths != samples.text.lengths.numpy()).any():
        raise DataError(f"{folder}: other ids or lengths than those of the text; run the extract stage again")
    digest = f"{samples.digest} {lower.digest}"
    return replace(samples, text=_tokens(lower), frozen_text=samples.text, digest=digest), TopLayers.load(folder)


def _tokens(store: FeatureStore) -> Tokens:
    values, offsets = store.load()
    if not len(values):
        return Tokens.empty(len(store.ids))
    return Tokens(torch.from_numpy(np.array(values)), torch.from_numpy(np.array(offsets, np.int64)))


Plan = Callable[[Workspace], list[Fit]]


def run_all(plan: Plan, workspace: Workspace, desc: str, fit: Callable[[Fit, str], object]) -> list[Fit]:
    """Call `fit` on every member of plan(workspace), and return them. Both are functions of a module: processes import them.

    On a GPU one after the other; else in a process a core, of one thread each: these models are too small to gain from a
    second thread (measured: 2 %), and a fit's result does not depend on how many cores the machine has. Fits of generated
    data take less time than another process takes to start: they are run here.
    """
    planned, device = plan(workspace), pick_device()
    progress = tqdm(total=len(planned), desc=f"{desc} {workspace.dataset}", unit="fit")
    if device != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    if device != "cpu" or workspace.generated:
        keep_memory()
        for one in planned:
            fit(one, device)
            progress.update()
    elif planned:
        _on_cores(plan, workspace, len(planned), progress, fit)
    progress.close()
    return planned


_worker: dict = {}


def _start_worker(plan: Plan, workspace: Workspace, fit: Callable[[Fit, str], object]) -> None:
    machine.end_with_parent()
    torch.set_num_threads(1)
    keep_memory()
    _worker["plan"], _worker["fit"] = plan(workspace), fit


def _fit_in_worker(index: int) -> None:
    _worker["fit"](_worker["plan"][index], "cpu")


def _on_cores(plan: Plan, workspace: Workspace, count: int, progress: tqdm, fit: Callable[[Fit, str], object]) -> None:
    context = multiprocessing.get_context("spawn")
    workers = min(machine.cores(), count)
    with ProcessPoolExecutor(workers, context, _start_worker, (plan, workspace, fit)) as pool:
        futures = [pool.submit(_fit_in_worker, index) for index in range(count)]
        try:
            for future in as_completed(futures):
                future.result()
                progress.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
