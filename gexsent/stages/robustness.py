"""What damaged input does to every system: curves, areas under them, and the rows where text and vision disagree."""

from collections.abc import Iterator
from dataclasses import dataclass
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
from gexsent.errors import DataError
from gexsent.evaluation import areas, robustness
from gexsent.evaluation.areas import Outcomes
from gexsent.evaluation.robustness import LEVELS, WHOLE, Columns, Condition, Fit
from gexsent.model import fine_tuned, load_model
from gexsent.params import TrainParams
from gexsent.report import render, style
from gexsent.report import robustness as report
from gexsent.report import robustness_tables as tables
from gexsent.report.plain import PlainTable
from gexsent.stages import extract, source, train
from gexsent.stages.prepare import read_table
from gexsent.systems import family
from gexsent.training.data import Samples, Tokens
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace, open_workspace

BATCH = 64  # measured: larger ones take longer, for their padding and the memory that they go through
ROWS_SEED = 0
LEFT_OUT = "its data or its trained models are not there; run the notebooks 01_prepare to 03_train for it"


@dataclass(frozen=True)
class Found:
    """What is known of one data set. `conflict` is None where the two modalities cannot be set against each other.

    rows: test rows that met damage, and all. left_out: systems, or parts of the protocols, and why.
    """

    dataset: str
    rows: tuple[int, int]
    curves: pd.DataFrame
    areas: pd.DataFrame
    conflict: pd.DataFrame | None
    routing: pd.DataFrame
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What the stage made: {data set: what was found}, {data set: why it was left out}, PNGs of figures by name."""

    found: dict[str, Found]
    left_out: dict[str, str]
    figures: dict[str, Path]
    verdicts: PlainTable | None  # None where every data set was left out


def run(root: Path, edition: str) -> Report:
    """Leave robustness/<dataset>_{curves,routing,areas,conflict}.*, robustness/verdicts.* and figures/robustness/."""
    params = open_workspace(edition, root=root).params
    workspaces = [open_workspace(edition, dataset, root) for dataset in params.datasets]
    folder = workspaces[0].results / "robustness"
    drawings = workspaces[0].results / "figures" / "robustness"
    for place in (folder, drawings):
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():  # what a data set that is left out now had once
            old.unlink()
    style.use_style()
    found, left_out, figures = {}, {}, {}
    for workspace in workspaces:
        dataset = workspace.dataset
        if not any(workspace.models.glob("*/*/seed*/fit.json")) or not source.is_there(workspace):
            left_out[dataset] = LEFT_OUT
            continue
        one = found[dataset] = examine(workspace)
        for name in ("curves", "routing"):
            frame = getattr(one, name)
            frame.to_csv(folder / f"{dataset}_{name}.csv", index=False, lineterminator="\n")
        render.write(tables.areas(one.areas, one.curves, dataset, edition, one.rows), folder)
        if one.conflict is not None:
            render.write(tables.conflict(one.conflict, dataset, edition, one.rows), folder)
        for name, figure in report.draw(one.curves, one.routing, dataset, edition, one.rows):
            figures[name] = style.save(figure, drawings, name)
            plt.close(figure)
    verdicts = tables.verdicts([(name, one.areas) for name, one in found.items()], edition) if found else None
    if verdicts is not None:
        render.write(verdicts, folder)
    return Report(found, left_out, figures, verdicts)


def examine(workspace: Workspace) -> Found:
    """Every protocol that this data set allows, on the test rows of every partition."""
    groups = read_table(workspace.table)[["id", "group"]]
    test = read_table(workspace.test_labels).merge(groups, on="id", how="left", validate="many_to_one")
    labels = drawn(test, workspace.params.robustness.rows)
    outcomes, left_out = predict(workspace, labels, partitions=test["partition"].nunique())
    met = {condition.protocol for found in outcomes.values() for condition in found}
    if "words" not in met:
        left_out.append("words and typos: text features were brought along, so that no text can be read anew")
    subset = areas.in_conflict(outcomes, workspace.dataset) if "noise" in met else None
    if subset is None:
        left_out.append("conflict: it needs samples with vision, and both systems of a single modality")
    conflict = None if subset is None else areas.conflict(outcomes, labels, workspace.dataset, subset)
    curves, boots = areas.score(outcomes, labels, workspace.dataset)
    return Found(
        dataset=workspace.dataset,
        rows=(len(labels), len(test)),
        curves=curves,
        areas=areas.table(boots),
        conflict=conflict,
        routing=robustness.routing(outcomes),
        left_out=tuple(left_out),
    )


def drawn(test: pd.DataFrame, rows: int | None) -> pd.DataFrame:
    """At most so many test rows: whole groups in a random order, for as long as they fit. All where `rows` is None.

    Raises:
        DataError: not even the first group fits.
    """
    if rows is None or len(test) <= rows:
        return test
    sizes = test["group"].value_counts().sort_index()
    sizes = sizes.iloc[np.random.default_rng(ROWS_SEED).permutation(len(sizes))]
    kept = sizes.index[sizes.cumsum() <= rows]
    if kept.empty:
        raise DataError(f"robustness.rows: {rows} is less than the {sizes.iloc[0]} rows of one group; raise it")
    return test[test["group"].isin(kept)].reset_index(drop=True)


def systems(settings: TrainParams, samples: Samples) -> tuple[list[str], list[str]]:
    """Those that are put to the test, and what is left out.

    A fine-tuned system does not read the features that are damaged here, and every level would pass through its own
    layers. What one mended fault of the released code is worth is another question.
    """
    known = train.systems(settings, samples)
    tuned = [system for system in known if fine_tuned(system)]
    mended = [system for system in known if family(system) == "mended"]
    named = [", ".join(map(style.system_name, names)) for names in (tuned, mended)]
    why = [f"{named[0]}: the features that are damaged here are not what it reads"] if tuned else []
    why += [f"{named[1]}: what one fault of the released code is worth is the question of the tables"] if mended else []
    return [system for system in known if system not in tuned + mended], why


def predict(workspace: Workspace, labels: pd.DataFrame, partitions: int) -> tuple[Outcomes, list[str]]:
    """{fit: {condition: columns in the order of `labels`}}, and the systems left out.

    Args:
        labels: test rows, with `partition` and `id`.
        partitions: how many there are in all, which decides on the number of seeds.
    """
    settings, device = workspace.params.robustness, pick_device()
    everything = train.load_samples(workspace)
    samples = select(everything, labels["id"].tolist())
    roles = read_table(workspace.fit_labels)
    names, left_out = systems(workspace.params.train, everything)
    seeds = list(train.seed_range(workspace.params.train, partitions, names[0]))[: settings.seeds]
    anew = list(read_anew(workspace, samples, settings.draws))
    parts: dict[Fit, dict[Condition, list[Columns]]] = {(s, seed): {} for s in names for seed in seeds}
    there = labels["partition"].unique()
    for partition in tqdm(there, desc=f"robustness {workspace.dataset}", unit="partition"):
        rows = torch.from_numpy(np.flatnonzero(labels["partition"] == partition))
        known = roles.loc[(roles["partition"] == partition) & (roles["role"] == "train"), "id"].tolist()
        mean, deviation = everything.vision.statistics(everything.rows(known))
        views = robustness.conditions(
            samples.to(device), fill=mean, deviation=deviation, draws=settings.draws, read_anew=anew
        )
        models = {fit: load_model(workspace.fit(fit[0], partition, fit[1]))[0].to(device) for fit in parts}
        for condition, fit, columns in robustness.predict(
            models, views, rows, workspace.spec.tasks, draws=settings.draws, batch=BATCH
        ):
            parts[fit].setdefault(condition, []).append(columns)
    back = np.argsort(np.concatenate([np.flatnonzero(labels["partition"] == p) for p in there]), kind="stable")
    outcomes = {}
    for (system, seed), found in parts.items():
        joined = {condition: _joined(columns, back) for condition, columns in found.items()}
        draws = robustness.draws_of(seeds.index(seed), len(seeds), settings.draws)
        outcomes[system, seed] = _with_shares(joined, draws)
    return outcomes, left_out


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
