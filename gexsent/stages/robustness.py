"""What damaged input does to every system: curves, areas under them, and the rows where text and vision disagree."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gexsent.encoders import damage
from gexsent.encoders.text import load_text_encoder
from gexsent.evaluation import areas, robustness
from gexsent.evaluation.areas import Outcomes
from gexsent.evaluation.robustness import LEVELS, WHOLE, Columns, Condition, Fit
from gexsent.model import load_model
from gexsent.report import render, style
from gexsent.report import robustness as report
from gexsent.stages import extract, source, train
from gexsent.stages.prepare import read_table
from gexsent.training.data import Samples, Tokens
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace, open_workspace

BATCH = 256
LEFT_OUT = (
    "{} is left out: its data or its trained models are not there; run the notebooks 01_prepare to 03_train for it."
)


@dataclass(frozen=True)
class Found:
    """What is known of one data set, None where it was left out. `conflict` is None where the two modalities cannot be
    set against each other."""

    dataset: str
    curves: pd.DataFrame | None = None
    areas: pd.DataFrame | None = None
    conflict: pd.DataFrame | None = None
    said: list[str] = field(default_factory=list)


def run(root: Path, edition: str) -> list[Found]:
    """Leave robustness/<dataset>_{curves,areas,conflict}.* and figures/robustness/ for each data set of the edition."""
    results = []
    for dataset in open_workspace(edition, root=root).params.datasets:
        workspace = open_workspace(edition, dataset, root)
        folder, figures = workspace.results / "robustness", workspace.results / "figures" / "robustness"
        for old in (*folder.glob(f"{dataset}_*"), *figures.glob(f"{dataset}_*")):
            old.unlink()
        if not any(workspace.models.glob("*/*/seed*/fit.json")) or not source.is_there(workspace):
            results.append(Found(dataset, said=[LEFT_OUT.format(dataset)]))
            continue
        found = examine(workspace)
        folder.mkdir(parents=True, exist_ok=True)
        found.curves.to_csv(folder / f"{dataset}_curves.csv", index=False)
        render.write(report.area_table(found.areas, dataset, edition), folder)
        if found.conflict is not None:
            render.write(report.conflict_table(found.conflict, dataset, edition), folder)
        for column in report.headline_columns(dataset, found.curves):
            style.use_style()
            figure = report.curves(found.curves, column, dataset, edition)
            style.save(figure, figures, f"{dataset}_{column.metric}")
            plt.close(figure)
        results.append(found)
    return results


def examine(workspace: Workspace) -> Found:
    """Every protocol that this data set allows, on the test rows of every partition."""
    groups = read_table(workspace.table)[["id", "group"]]
    labels = read_table(workspace.test_labels).merge(groups, on="id", how="left", validate="many_to_one")
    outcomes, said = predict(workspace, labels), []
    if not any(condition.protocol == "words" for found in outcomes.values() for condition in found):
        said.append("Text features were brought along: no text is read anew, so that words and typos are left out.")
    subset, conflict = areas.in_conflict(outcomes, workspace.dataset), None
    if subset is None or not any(c.protocol == "noise" for found in outcomes.values() for c in found):
        said.append("No conflict: it needs samples with vision, and both systems of a single modality.")
    else:
        conflict = areas.conflict(outcomes, labels, workspace.dataset, subset)
    curves, boots = areas.score(outcomes, labels, workspace.dataset)
    return Found(workspace.dataset, curves, areas.table(boots), conflict, said)


def predict(workspace: Workspace, labels: pd.DataFrame) -> Outcomes:
    """{fit: {condition: prediction columns in the order of `labels`}}."""
    settings, device = workspace.params.robustness, pick_device()
    everything = train.load_samples(workspace)
    samples = select(everything, labels["id"].tolist())
    roles = read_table(workspace.fit_labels)
    partitions = labels["partition"].unique()
    systems = train.systems(workspace.params.train, everything)
    seeds = list(train.seed_range(workspace.params.train, len(partitions)))[: settings.seeds]
    anew = list(read_anew(workspace, samples, settings.draws))
    parts: dict[Fit, dict[Condition, list[Columns]]] = {(s, seed): {} for s in systems for seed in seeds}
    for partition in tqdm(partitions, desc=f"robustness {workspace.dataset}", unit="partition"):
        rows = torch.from_numpy(np.flatnonzero(labels["partition"] == partition))
        known = roles.loc[(roles["partition"] == partition) & (roles["role"] == "train"), "id"].tolist()
        mean, deviation = everything.vision.statistics(everything.rows(known))
        views = robustness.conditions(
            samples.to(device), fill=mean, deviation=deviation, draws=settings.draws, read_anew=anew
        )
        models = {fit: load_model(workspace.fit(fit[0], partition, fit[1]))[0].to(device) for fit in parts}
        for condition, fit, columns in robustness.predict(
            models, views, rows, draws=settings.draws, batch=BATCH, device=device
        ):
            parts[fit].setdefault(condition, []).append(columns)
    back = np.argsort(np.concatenate([np.flatnonzero(labels["partition"] == p) for p in partitions]))
    outcomes = {}
    for (system, seed), found in parts.items():
        joined = {condition: _joined(columns, back) for condition, columns in found.items()}
        draws = robustness.draws_of(seeds.index(seed), len(seeds), settings.draws)
        outcomes[system, seed] = _with_shares(joined, draws)
    return outcomes


def _joined(parts: list[Columns], back: np.ndarray) -> Columns:
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def _with_shares(found: dict[Condition, Columns], draws: list[int]) -> dict[Condition, Columns]:
    # Both extremes of a missing modality give way to all the shares between them.
    for protocol in ("no_text", "no_vision"):
        gone = found.pop(Condition(protocol, 1.0), None)
        if gone is not None:
            found |= robustness.mixed(found[Condition(WHOLE, 0.0)], gone, protocol, draws)
    return found


def select(samples: Samples, ids: list[str]) -> Samples:
    """These samples alone, in this order."""
    rows = samples.rows(ids)
    return Samples(ids, *(_rows_of(tokens, rows) for tokens in (samples.text, samples.vision)), digest="")


def _rows_of(tokens: Tokens, rows: Tensor) -> Tokens:
    lengths = tokens.lengths[rows]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    if not offsets[-1]:
        return Tokens(tokens.values[:1] * 0, offsets)
    start = torch.repeat_interleave(tokens.offsets[rows] - offsets[:-1], lengths)
    return Tokens(tokens.values[start + torch.arange(int(offsets[-1]))], offsets)


def read_anew(workspace: Workspace, samples: Samples, draws: int) -> Iterator[tuple[Condition, Tokens]]:
    """Text features of all samples with words masked, and with letters mistyped, before the encoder read them."""
    settings = workspace.params.encode
    if settings.text == extract.FOUND:
        return
    encoder = load_text_encoder(settings.text, max_tokens=settings.max_tokens, device=pick_device())
    texts = read_table(workspace.table).set_index("id").loc[samples.ids, "text"].tolist()
    for draw in range(draws):
        for rate in LEVELS["words"][1:]:
            choose = partial(robustness.dropped_positions, rate=rate, seed=4 * draw)
            arrays = damage.encode(encoder, texts, choose, batch_tokens=settings.batch_tokens)
            yield Condition("words", rate, draw), _tokens(arrays, pick_device())
        for rate in LEVELS["typos"][1:]:
            arrays = damage.encode(encoder, damage.mistype(texts, rate, draw), batch_tokens=settings.batch_tokens)
            yield Condition("typos", rate, draw), _tokens(arrays, pick_device())


def _tokens(arrays: list[np.ndarray], device: str) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
    return Tokens(torch.from_numpy(np.concatenate(arrays)), torch.from_numpy(offsets)).to(device)
