"""Before training: each system picks its settings, from as many trials as every other system.

A trial is a point of the space that params.yaml declares; the first is what params.yaml says without a search. It is
scored by its mean best validation loss over folds of the training and validation rows of one partition, groups whole:
no test row of that partition is near. Where there are several partitions each picks for itself.
"""

import dataclasses
import itertools
import json
import math
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from gexsent.errors import DataError
from gexsent.model.build import settings_of
from gexsent.params import ModelParams, Params, TrainParams
from gexsent.stages import fits
from gexsent.stages.fits import Fit, Problem
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.workspace import Workspace


class Settings(NamedTuple):
    """Sizes and training of one trial."""

    model: ModelParams
    train: TrainParams


def run(workspace: Workspace) -> pd.DataFrame:
    """Run the trials that are not yet run and write search/<dataset>.csv: header only where there is nothing to choose.

    Returns:
        One row a system, partition and trial: its values, fits, optimiser steps, mean and deviation of valid_loss over the
        folds, and whether it is the chosen one.
    """
    points = trials(workspace.params)
    rows = []
    if len(points) > 1:
        done = fits.run_all(plan, workspace, "search", _fit)
        rows = _rows(workspace, done, points)
    names = [*workspace.params.search.space]
    columns = ["system", "partition", "trial", *names, "fits", "steps", "valid_loss", "sd", "chosen"]
    table = pd.DataFrame(rows, columns=columns).astype({"chosen": bool})
    workspace.search.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(workspace.search, index=False, float_format="%.6g")
    return table


def chosen(workspace: Workspace) -> dict[tuple[str, str], Settings]:
    """{(system, partition): settings} of what `run` wrote; a system that it does not name has those of params.yaml.

    Raises:
        DataError: it was not run, or with another space.
    """
    points = trials(workspace.params)
    if len(points) == 1:
        return {}
    try:
        table = pd.read_csv(workspace.search)
    except OSError as error:
        raise DataError(f"{workspace.search}: cannot be read: {error}; run the train stage") from error
    found = {}
    for row in table[table["chosen"]].to_dict("records"):
        values = points[row["trial"]]
        if any(not math.isclose(row[key], value) for key, value in values.items()):
            raise DataError(f"{workspace.search}: trial {row['trial']} is not that of params.yaml; run the train stage")
        found[row["system"], row["partition"]] = apply(workspace.params, values)
    return found


def trials(params: Params) -> list[dict[str, Any]]:
    """[{"model.width": 64, …}]: the point that params.yaml names, then others of the space drawn without repetition.

    Raises:
        DataError: more trials than points.
    """
    space = params.search.space
    here = {key: getattr(getattr(params, key.split(".")[0]), key.split(".")[1]) for key in space}
    others = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    others = [point for point in others if point != here]
    wanted = params.search.trials - 1
    if wanted > len(others):
        raise DataError(f"search.trials: {wanted + 1} are more than the {len(others) + 1} points of search.space")
    return [here, *random.Random(params.data.seed).sample(others, wanted)]


def apply(params: Params, values: Mapping[str, Any]) -> Settings:
    """The settings of params.yaml with these values in their place."""
    sections = {"model": params.model, "train": params.train}
    for key, value in values.items():
        section, name = key.split(".")
        sections[section] = dataclasses.replace(sections[section], **{name: value})
    return Settings(**sections)


def plan(workspace: Workspace) -> list[Fit]:
    """Every trial on every fold; a system that shares another's settings has no trials of its own."""
    problem = Problem.read(workspace)
    groups = read_table(workspace.table).set_index("id")["group"]
    searched = dict.fromkeys(settings_of(system) for system in workspace.params.train.systems)
    settings = [apply(workspace.params, values) for values in trials(workspace.params)]
    result = []
    for partition, part in problem.labels.groupby("partition", sort=True):
        for fold, roles in enumerate(_folds(part, groups, workspace.params)):
            job = problem.jobs(part.assign(role=roles))
            for system, (trial, setting) in itertools.product(searched, enumerate(settings)):
                folder = workspace.derived / "trials" / system / str(partition) / f"trial{trial}" / f"fold{fold}"
                result.append(Fit(job(system, setting.model, 0), setting.train, folder))
    return result


def _folds(part: pd.DataFrame, groups: pd.Series, params: Params) -> list[list[str]]:
    from sklearn.model_selection import GroupKFold  # here: a second of start-up, which few runs need

    owner = groups.loc[part["id"]].to_numpy()
    if len(set(owner)) < params.search.folds:
        raise DataError(f"search.folds: {params.search.folds} are more than the {len(set(owner))} groups to be cut")
    cut = GroupKFold(params.search.folds, shuffle=True, random_state=params.data.seed)
    result = []
    for _, held_out in cut.split(part, groups=owner):
        roles = ["train"] * len(part)
        for row in held_out:
            roles[row] = "valid"
        result.append(roles)
    return result


def _fit(fit: Fit, device: str) -> None:
    # Only the loss is wanted: weights are not kept, and a trial that was finished is known by its key alone.
    record = fit.folder / "fit.json"
    if record.exists() and json.loads(record.read_text())["key"] == fit.job.key(fit.params):
        return
    loop.fit(fit.job, fit.params, fit.folder, device=device)
    (fit.folder / "model.safetensors").unlink()


def _rows(workspace: Workspace, done: list[Fit], points: list[dict[str, Any]]) -> list[dict]:
    found: dict[tuple, list[dict]] = {}
    for fit in done:
        system, partition, trial, _ = fit.folder.parts[-4:]
        record = json.loads((fit.folder / "fit.json").read_text())
        steps = min(fit.params.epoch_steps, math.ceil(len(fit.job.train_rows) / fit.params.batch)) * record["epochs"]
        key = system, partition, int(trial.removeprefix("trial"))
        found.setdefault(key, []).append({"loss": record["valid_loss"], "steps": steps})
    order = {system: n for n, system in enumerate(dict.fromkeys(key[0] for key in found))}
    rows = []
    for (system, partition, trial), folds in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1:])):
        losses = pd.Series([fold["loss"] for fold in folds])
        counts = {"fits": len(folds), "steps": sum(fold["steps"] for fold in folds)}
        score = {"valid_loss": losses.mean(), "sd": losses.std()}
        rows.append({"system": system, "partition": partition, "trial": trial, **points[trial], **counts, **score})
    for key in {(row["system"], row["partition"]) for row in rows}:
        own = [row for row in rows if (row["system"], row["partition"]) == key]
        best = min(own, key=lambda row: row["valid_loss"])
        for row in own:
            row["chosen"] = row is best
    return rows
