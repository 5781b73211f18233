"""Fourth stage: every system, partition and seed, on the same features and the same budget.

This stage reads labels/fit.parquet and nothing else that holds a label: it cannot see what it will be tested on.
"""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from gexsent import tasks
from gexsent.encoders.record import EncoderRecord
from gexsent.errors import DataError
from gexsent.features import FeatureStore
from gexsent.model import ModelConfig
from gexsent.model.build import DROPOUT
from gexsent.params import TrainParams
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.training.data import Samples, Tokens, targets
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace


def run(workspace: Workspace) -> pd.DataFrame:
    """Fit what is not yet fitted and write history.csv.

    Returns:
        One row a fit and epoch: system, partition, seed, epoch, train_loss, valid_loss, the tasks' validation losses,
        auxiliary losses, usage entropy and dead experts of each group.
    """
    plan = jobs(workspace)
    folders = [workspace.fit(job.config.system, partition, job.seed) for partition, job in plan]
    for folder in set(workspace.models.glob("*/*/seed*")) - set(folders):
        shutil.rmtree(folder)
    progress = tqdm(total=len(plan), desc=f"train {workspace.dataset}", unit="fit")
    if pick_device() != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        for index in range(len(plan)):
            _fit(plan, workspace, index, pick_device())
            progress.update()
    else:
        _fit_on_cores(workspace, len(plan), progress)
    _record_encoders(workspace, folders)
    history = pd.DataFrame(loop.load_fits(workspace.models))
    path = workspace.results / "history" / f"{workspace.dataset}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    history.to_csv(path, index=False, float_format="%.6g")
    return history


def _fit(plan: list[tuple[str, loop.Job]], workspace: Workspace, index: int, device: str) -> None:
    partition, job = plan[index]
    loop.fit(job, workspace.params.train, workspace.fit(job.config.system, partition, job.seed), device=device)


# One process a core, one thread a process: these models are too small to gain from a second thread (measured: 2 %), and
# a fit's result does not depend on how many cores the machine has.
_worker: dict = {}


def _start_worker(workspace: Workspace) -> None:
    torch.set_num_threads(1)
    _worker["workspace"], _worker["plan"] = workspace, jobs(workspace)


def _fit_in_worker(index: int) -> None:
    _fit(_worker["plan"], _worker["workspace"], index, "cpu")


def _fit_on_cores(workspace: Workspace, count: int, progress: tqdm) -> None:
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(os.cpu_count() or 1, count))
    with ProcessPoolExecutor(workers, context, _start_worker, (workspace,)) as pool:
        futures = [pool.submit(_fit_in_worker, index) for index in range(count)]
        try:
            for future in as_completed(futures):
                future.result()
                progress.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def jobs(workspace: Workspace) -> list[tuple[str, loop.Job]]:
    """(partition, job) for every fit that params.yaml asks for."""
    table, labels = read_table(workspace.table), read_table(workspace.fit_labels)
    samples = load_samples(workspace)
    params = workspace.params
    chosen = tuple(  # a layout may lack a kind of label altogether
        task for task in tasks.TASKS[workspace.dataset] if task.label in labels and labels[task.label].notna().any()
    )
    config = {
        "text_features": samples.text.values.shape[1],
        "vision_features": samples.vision.values.shape[1],
        "outputs": {task.name: task.outputs for task in chosen},
        "temporal": bool((table["kind"] == "clip").any()),
        **asdict(params.model),
    }
    plan = []
    seeds = seed_range(params.train, labels["partition"].nunique())
    for partition, part in labels.groupby("partition", sort=True):
        known = part.set_index("id")
        columns = {
            task.label: known[task.label].astype("Float64").to_numpy(np.float64, na_value=np.nan) for task in chosen
        }
        rows = samples.rows(known.index.tolist())
        known_targets = torch.full((len(samples.ids), len(chosen)), torch.nan)  # a test row's target stays NaN
        known_targets[rows] = targets(columns, chosen)
        is_train = torch.tensor((part["role"] == "train").tolist())
        frames = max(1, int(samples.vision.lengths[rows[is_train]].max()))
        seen = {"samples": samples, "tasks": chosen, "targets": known_targets}
        seen |= {"train_rows": rows[is_train], "valid_rows": rows[~is_train]}
        for system in systems(params.train, samples):
            model = ModelConfig(system=system, frames=frames, **config)
            plan += [(partition, loop.Job(config=model, seed=seed, **seen)) for seed in seeds]
    return plan


def seed_range(params: TrainParams, partitions: int) -> range:
    """The seeds of every system: fewer where each of them is a fit a fold."""
    return range(params.seeds if partitions == 1 else params.fold_seeds)


def systems(params: TrainParams, samples: Samples) -> list[str]:
    """Every system to fit. Variants with modality dropout come last, and only where a sample has two modalities."""
    both = bool(((samples.text.lengths > 0) & (samples.vision.lengths > 0)).any())
    return [*params.systems, *(f"{system}{DROPOUT}" for system in params.dropout_systems if both)]


def load_samples(workspace: Workspace) -> Samples:
    """The features of both modalities in memory, in the order of the text store."""
    text = FeatureStore.open(workspace.features / "text")
    vision = FeatureStore.open(workspace.features / "vision")
    if text.ids != vision.ids:
        raise DataError(f"{workspace.features}: text and vision hold different ids; run the extract stage again")
    tokens = []
    for store in (text, vision):
        values, offsets = store.load()
        if not len(values):
            tokens.append(Tokens.empty(len(store.ids)))
        else:
            tokens.append(Tokens(torch.from_numpy(np.array(values)), torch.from_numpy(np.array(offsets, np.int64))))
    return Samples(list(text.ids), *tokens, digest=f"{text.digest} {vision.digest}")


def _record_encoders(workspace: Workspace, folders: list[Path]) -> None:
    """Make each fit's folder loadable by `Predictor.from_pretrained`."""
    encoders = EncoderRecord.read(workspace.features)
    for folder in folders:
        encoders.write(folder)
