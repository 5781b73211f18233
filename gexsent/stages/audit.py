"""What faults of protocol are worth: one system fitted again under each of them.

The released code shuffles clips, so that clips of one video lie on both sides, and its test file is its validation file.
Here both are done on purpose. This is the only stage that trains and selects with test labels in sight; nothing that it
makes feeds another fit or another stage's scores.

* random_clips: train, validation and test of the official sizes, clips dealt out at random whatever their video.
* random_videos: the same with whole videos. The control: a random test part may also be easier than the official one.
* test_selected: the official split, the epoch chosen on the test rows.

Random splits are drawn anew for each seed.
"""

import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from gexsent.datasets import CATEGORIES
from gexsent.decode import decode
from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.evaluation import compare, protocol, score
from gexsent.evaluation.measures import measures
from gexsent.evaluation.metrics import MetricWarning
from gexsent.params import TrainParams
from gexsent.stages import fits, source, train
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.training.data import targets
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace

OFFICIAL = "official"
COLUMNS = ["change", "against", "metric", "difference", "low", "high", "p", "p_holm", "seeds", "rows"]
# The scores that an unknown label can change, and the labels that they rest on.
UNKNOWN = {
    "macro_f1_3": ("sentiment",),
    "macro_f1_a": ("sentiment",),
    "macro_f1_b": CATEGORIES,
    "macro_f1_c": CATEGORIES,
}
SEED_COLUMNS = ["protocol", "system", "seed", "rows", "shared"]  # then the metrics


@dataclass(frozen=True)
class Fit:
    """One fit under one protocol, and the rows that it is tested on."""

    protocol: str
    seed: int
    job: loop.Job
    params: TrainParams
    folder: Path
    test_ids: list[str]
    shared: float  # share of the test rows whose video is also trained on


def run(workspace: Workspace) -> pd.DataFrame:
    """Fit what is not yet fitted, score it, and set it against the official protocol.

    Leaves audit/<dataset>_seeds.csv, a row a protocol and seed, and audit/<dataset>.csv, a row a change and metric. A data
    set in folds has no official split, and is asked about its labels alone; one that the user lacks leaves headings.

    Returns:
        What audit/<dataset>.csv holds. `p_holm` is corrected over all of it.

    Raises:
        DataError: `audit.system` was not evaluated.
    """
    seeds, effects = pd.DataFrame(columns=SEED_COLUMNS), []
    (workspace.derived / "audit").mkdir(parents=True, exist_ok=True)
    if source.is_there(workspace):
        predictions = pd.read_parquet(workspace.predictions)
        labels = pd.concat([read_table(path) for path in (workspace.fit_labels, workspace.test_labels)])
        if labels["partition"].nunique() == 1:
            seeds, effects = _refit(workspace, predictions, labels)
        effects += _unknown(workspace, predictions, labels)
    found = pd.DataFrame(effects, columns=COLUMNS)
    found["p_holm"] = compare.holm(found["p"].to_numpy(float))
    write_atomically(workspace.audit, found.round(6).to_csv(index=False).encode())
    write_atomically(workspace.audit.with_name(f"{workspace.dataset}_seeds.csv"), seeds.to_csv(index=False).encode())
    return found


def plan(workspace: Workspace) -> list[Fit]:
    """Every fit that params.yaml asks for."""
    params = workspace.params
    seeds = min(params.audit.seeds, params.train.seeds)
    settings = replace(params.train, systems=(params.audit.system,), dropout_systems=(), seeds=seeds)
    labels = pd.concat([read_table(path) for path in (workspace.fit_labels, workspace.test_labels)]).set_index("id")
    groups = read_table(workspace.table).set_index("id")["group"].loc[labels.index]
    official = labels["role"].fillna("test")
    sizes = {role: int((official == role).sum()) for role in ("test", "valid", "train")}
    planned = []
    for job, own, _ in train.jobs(replace(workspace, params=replace(params, train=settings))):
        columns = {t.label: labels[t.label].astype("Float64").to_numpy(np.float64, na_value=np.nan) for t in job.tasks}
        known = torch.full_like(job.targets, torch.nan)
        known[job.samples.rows(labels.index.tolist())] = targets(columns, job.tasks)
        splits = {
            "random_clips": protocol.deal(labels.index.to_series(), sizes, job.seed),
            "random_videos": protocol.deal(groups, sizes, job.seed),
            "test_selected": official,
        }
        for name, roles in splits.items():
            ids = {role: roles.index[roles == role].tolist() for role in sizes}
            chosen_on = ids["test" if name == "test_selected" else "valid"]
            rows = {"train_rows": job.samples.rows(ids["train"]), "valid_rows": job.samples.rows(chosen_on)}
            seen = protocol.shared(groups[ids["test"]], groups[ids["train"]])
            folder = workspace.derived / "audit" / params.audit.system / name / f"seed{job.seed}"
            planned.append(Fit(name, job.seed, replace(job, targets=known, **rows), own, folder, ids["test"], seen))
    return planned


def _refit(workspace: Workspace, predictions: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, list[dict]]:
    """Scores of every protocol and seed, and what each change is worth."""
    system, planned = workspace.params.audit.system, plan(workspace)
    base = predictions[(predictions["system"] == system) & (predictions["seed"] <= max(fit.seed for fit in planned))]
    if base.empty:
        raise DataError(f"params.yaml: audit.system: {system!r} is not among train.systems, so it has no scores")
    for folder in set((workspace.derived / "audit").glob("*/*/seed*")) - {fit.folder for fit in planned}:
        shutil.rmtree(folder)
    fits.run_all(plan, workspace, "audit", train.fit_one)
    test = labels[labels["role"].isna()].drop(columns="role")
    base = base.assign(system=OFFICIAL)
    scores = [
        _score(workspace, part, test).assign(shared=_official_share(workspace, labels))
        for _, part in base.groupby("seed")
    ]
    selected = [base]
    for fit in tqdm(planned, desc="predict"):
        part = _predict(workspace, fit)
        tested = labels[labels["id"].isin(fit.test_ids)].drop(columns="role")
        scores.append(_score(workspace, part, tested).assign(shared=fit.shared))
        if fit.protocol == "test_selected":
            selected.append(part)
    seeds = pd.concat(scores).rename(columns={"system": "protocol"}).assign(system=system)
    metrics = [metric for metric in measures(workspace.dataset) if metric in seeds]
    seeds = seeds[[*SEED_COLUMNS, *metrics]].sort_values(["protocol", "seed"], ignore_index=True)
    groups = read_table(workspace.table)[["id", "group"]]
    boots = compare.bootstrap(pd.concat(selected), test.merge(groups, on="id"), workspace.dataset)
    return seeds, _effects(seeds, metrics, compare.pairs(boots, reference=OFFICIAL))


def _effects(seeds: pd.DataFrame, metrics: list[str], pairs: pd.DataFrame) -> list[dict]:
    """The same test rows: paired. A random split against the official: the difference alone, for one official test part
    says nothing of how such parts vary. Clips against videos: runs on random splits, of which there are several."""
    by_protocol = dict(list(seeds.groupby("protocol")))
    effects = []
    for metric in metrics:
        values = {name: part[metric].to_numpy(float) for name, part in by_protocol.items()}
        pair = pairs[pairs["metric"] == metric].iloc[0].to_dict()
        found = {
            ("test_selected", OFFICIAL): {key: pair[key] for key in ("difference", "low", "high", "p")},
            **{
                (name, OFFICIAL): {"difference": values[name].mean() - values[OFFICIAL].mean()}
                for name in ("random_clips", "random_videos")
            },
            ("random_clips", "random_videos"): protocol.unpaired(values["random_clips"], values["random_videos"]),
        }
        for (change, against), effect in found.items():
            part = by_protocol[change]
            counts = {"seeds": len(part), "rows": round(part["rows"].mean())}
            effects.append({"change": change, "against": against, "metric": metric, **effect, **counts})
    return effects


def _unknown(workspace: Workspace, predictions: pd.DataFrame, labels: pd.DataFrame) -> list[dict]:
    """For each task of classes: rows of all splits without a label, and what calling them neutral does to the test score."""
    system = "released" if (predictions["system"] == "released").any() else workspace.params.audit.system
    part = predictions[predictions["system"] == system]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        differences = protocol.unknown_as_neutral(part, labels[labels["role"].isna()], workspace.dataset)
    effects = []
    for metric, columns in UNKNOWN.items():
        if metric in differences:
            touched = labels.loc[labels[list(columns)].isna().any(axis=1), "id"].nunique()
            counts = {"seeds": part["seed"].nunique(), "rows": touched}
            named = {"change": "unknown_as_neutral", "against": system, "metric": metric}
            effects.append({**named, "difference": differences[metric], **counts})
    return effects


def _official_share(workspace: Workspace, labels: pd.DataFrame) -> float:
    groups = labels["id"].map(read_table(workspace.table).set_index("id")["group"])
    return protocol.shared(groups[labels["role"].isna().to_numpy()], groups[(labels["role"] == "train").to_numpy()])


def _score(workspace: Workspace, predictions: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    with warnings.catch_warnings():  # what 04_evaluate says of each system need not be said of each protocol
        warnings.simplefilter("ignore", MetricWarning)
        return score.seed_scores(predictions, test, workspace.dataset)


def _predict(workspace: Workspace, fit: Fit) -> pd.DataFrame:
    samples, batch = fit.job.samples, workspace.params.train.batch
    outputs = loop.predict(fit.folder, samples, samples.rows(fit.test_ids), batch=batch, device=pick_device())
    columns = decode({name: value.numpy() for name, value in outputs.items()}, fit.job.tasks)
    named = {"system": fit.protocol, "seed": fit.seed, "partition": OFFICIAL, "id": fit.test_ids}
    return pd.DataFrame({**named, **columns})
