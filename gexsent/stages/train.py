"""Fourth stage: every system, partition and seed, on the same features and the same budget."""

import shutil
from pathlib import Path

import pandas as pd

from gexsent.encoders.record import EncoderRecord
from gexsent.model.build import DROPOUT, fine_tuned, settings_of
from gexsent.params import TrainParams
from gexsent.stages import fits, search
from gexsent.stages.fits import Fit, Problem, load_samples, load_tuned
from gexsent.training import loop
from gexsent.training.data import Samples
from gexsent.workspace import Workspace

__all__ = ["jobs", "load_samples", "load_tuned", "run", "seed_range", "systems"]


def run(workspace: Workspace) -> pd.DataFrame:
    """Choose settings where there is a choice (see `search`), fit what is not yet fitted, and write history/<dataset>.csv.

    Returns:
        One row a fit and epoch: system, partition, seed, epoch, train_loss, valid_loss, the tasks' validation losses,
        auxiliary losses, usage entropy and dead experts of each group.
    """
    search.run(workspace)
    folders = [fit.folder for fit in jobs(workspace)]
    for folder in set(workspace.models.glob("*/*/seed*")) - set(folders):
        shutil.rmtree(folder)
    fits.run_all(jobs, workspace, "train", fit_one)
    _record_encoders(workspace, folders)
    history = pd.DataFrame(loop.load_fits(workspace.models))
    path = workspace.results / "history" / f"{workspace.dataset}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    history.to_csv(path, index=False, float_format="%.6g")
    return history


def fit_one(fit: Fit, device: str) -> None:
    """Run one fit unless it is there."""
    loop.fit(fit.job, fit.params, fit.folder, device=device)


def jobs(workspace: Workspace) -> list[Fit]:
    """Every fit that params.yaml asks for, with the settings that its system chose."""
    problem = Problem.read(workspace)
    params, settings = workspace.params, search.chosen(workspace)
    partitions = problem.labels["partition"].nunique()
    plan = []
    for partition, part in problem.labels.groupby("partition", sort=True):
        job = problem.jobs(part)
        for system in systems(params.train, problem.samples):
            own = settings.get((settings_of(system), partition), search.Settings(params.model, params.train))
            for seed in seed_range(params.train, partitions, system):
                folder = workspace.fit(system, str(partition), seed)
                plan.append(Fit(job(system, own.model, seed), own.train, folder))
    return plan


def seed_range(params: TrainParams, partitions: int, system: str) -> range:
    """The seeds of a system: fewer where each of them is a fit a fold, or trains a text encoder along."""
    seeds = params.seeds if partitions == 1 else params.fold_seeds
    return range(min(seeds, params.tuned_seeds) if fine_tuned(system) else seeds)


def systems(params: TrainParams, samples: Samples) -> list[str]:
    """Every system to fit. Variants with modality dropout come last, and only where a sample has two modalities."""
    both = bool(((samples.text.lengths > 0) & (samples.vision.lengths > 0)).any())
    return [*params.systems, *(f"{system}{DROPOUT}" for system in params.dropout_systems if both)]


def _record_encoders(workspace: Workspace, folders: list[Path]) -> None:
    """Make each fit's folder loadable by `Predictor.from_pretrained`."""
    encoders = EncoderRecord.read(workspace.features)
    for folder in folders:
        encoders.write(folder)
