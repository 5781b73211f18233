"""Sixth stage: explain GEXSent's predictions on test rows, and test the explanations. All data sets in one run.

Leaves explanation/<name>.csv, means over test rows, one row a data set, seed and what the name says; and what is drawn
from them. No row of a data set is in either.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gexsent.explain import truth
from gexsent.explain.measure import measure, routing, sanity
from gexsent.model import ModelConfig, load_model
from gexsent.model.gexsent import GEXSent
from gexsent.report import faithfulness, style
from gexsent.stages import train
from gexsent.stages.prepare import read_table
from gexsent.training.data import Samples, in_order
from gexsent.workspace import Workspace, open_workspace

SYSTEM = "gexsent"
ROWS = 40  # test rows of a data set that each seed's explanations are tested on: they take dozens of passes a row
ROUTED = 400  # test rows whose gates and routes are read: one pass a row
CHECKED = 12  # rows of the test with random weights: every method once more for each of five depths
BATCH = 20
SEED = 0  # of the rows, the random orders and the random weights
LABELS = {-1: "negative", 0: "neutral", 1: "positive"}
KEYS = {  # what the means of each table are taken for
    "curves": ["method", "kind"],
    "areas": ["method"],
    "agreement": ["first", "second"],
    "modalities": [],
    "truth": ["method", "modality"],
    "gates": ["sarcasm"],
    "experts": ["group", "expert", "label"],
    "sanity": ["method", "part"],
}


@dataclass(frozen=True)
class Findings:
    """What the stage made.

    tables: by name, each with the columns dataset and seed before its own; empty where nothing was measured.
    verdicts: of each data set and method, see report.faithfulness.
    figures: PNGs by name. left_out: {data set: why}.
    """

    tables: dict[str, pd.DataFrame]
    verdicts: pd.DataFrame
    figures: dict[str, Path]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(self.tables["areas"]["dataset"])) if len(self.tables["areas"]) else []


@dataclass(frozen=True)
class Fit:
    """A trained model with the samples that it may be asked about."""

    folder: Path
    seed: int
    model: GEXSent
    config: ModelConfig
    samples: Samples
    test: pd.DataFrame  # ids and labels of its own test rows


def run(root: Path, edition: str) -> Findings:
    """Measure every data set of the edition that has models of GEXSent, and write the tables."""
    parts, left_out = defaultdict(list), {}
    for dataset in open_workspace(edition, root=root).params.datasets:
        workspace = open_workspace(edition, dataset, root)
        if not (workspace.models / SYSTEM).exists():
            left_out[dataset] = f"no trained {SYSTEM} in {workspace.models.relative_to(root)}"
            continue
        for name, frame in _measured(workspace).items():
            parts[name].append(frame)
    tables = {name: pd.concat(parts[name], ignore_index=True) if parts[name] else pd.DataFrame() for name in KEYS}
    verdicts = faithfulness.verdicts(tables)
    results = open_workspace(edition, root=root).results
    folder, drawings = results / "explanation", results / "figures" / "explain"
    for place in (folder, drawings):
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():  # what a data set that is left out now had once
            old.unlink()
    for name, frame in (tables | {"verdicts": verdicts}).items():
        if len(frame):
            frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g", lineterminator="\n")
    style.use_style()
    figures = {}
    for name, figure in faithfulness.draw(tables, edition):
        figures[name] = style.save(figure, drawings, name)
        plt.close(figure)
    return Findings(tables, verdicts, figures, left_out)


def _measured(workspace: Workspace) -> dict[str, pd.DataFrame]:
    """Means over the test rows of one data set, a row a seed and key; folds count as one set of rows."""
    rows = defaultdict(list)
    test = read_table(workspace.test_labels)
    groups, words = meaning(workspace, test), polar_words(workspace, test)
    for fit in fits(workspace):
        generator = torch.Generator().manual_seed(SEED)
        share = len(fit.test) / len(test)  # a fold has its part of the rows
        for batch_ids, batch in batches(fit, chosen(fit.test, round(ROUTED * share))):
            word = None if words is None else _stacked(words, batch_ids, batch.text_mask)
            for name, frame in routing(fit.model, batch, batch_ids, word).items():
                rows[name].append(frame.assign(seed=fit.seed).merge(groups, on="id"))
        asked = chosen(fit.test, round(ROWS * share))
        for batch_ids, batch in batches(fit, asked):
            right = None if words is None else {"text": _stacked(words, batch_ids, batch.text_mask)}
            if right is not None and not fit.config.temporal and batch.vision.shape[1] > 1:
                side = round((batch.vision.shape[1] - 1) ** 0.5)
                patches = torch.from_numpy(truth.face_patches(side)).expand(batch.vision_mask.shape)
                shown = groups.set_index("id").loc[batch_ids, "face"].to_numpy() != 0
                right["vision"] = patches & torch.from_numpy(shown)[:, None]
            for name, frame in measure(fit.model, batch, batch_ids, generator, right).items():
                rows[name].append(frame.assign(seed=fit.seed))
        if not rows["sanity"]:
            batch_ids, batch = next(batches(fit, asked[:CHECKED], size=CHECKED))
            rows["sanity"].append(sanity(fit.model, fit.config, batch, batch_ids, seed=SEED).assign(seed=fit.seed))
    return {name: _means(pd.concat(rows[name]), workspace.dataset, keys) for name, keys in KEYS.items()}


def _means(frame: pd.DataFrame, dataset: str, keys: list[str]) -> pd.DataFrame:
    if frame.empty or any(key not in frame for key in keys):
        return pd.DataFrame()
    values = [c for c in frame.select_dtypes(["number", "bool"]) if c not in ("seed", "face", "words", *keys)]
    groups = frame.groupby(["seed", *keys], sort=False)
    means = groups[values].mean().assign(rows=groups["id"].nunique()).reset_index()
    return means.assign(dataset=dataset)[["dataset", "seed", *keys, "rows", *values]]


def fits(workspace: Workspace, seeds: int | None = None) -> Iterator[Fit]:
    """Every trained GEXSent of a data set, seed by seed; `seeds` of them if given."""
    test = read_table(workspace.test_labels)
    samples = train.load_samples(workspace)
    partitions = test["partition"].unique().tolist()
    for seed in list(train.seed_range(workspace.params.train, len(partitions), SYSTEM))[:seeds]:
        for partition in partitions:
            folder = workspace.fit(SYSTEM, partition, seed)
            model, config = load_model(folder)
            model.requires_grad_(False)  # gradients are asked for tokens alone
            yield Fit(folder, seed, model, config, samples, test[test["partition"] == partition])


def chosen(test: pd.DataFrame, count: int) -> list[str]:
    """At most `count` test rows, drawn without a look at them; the same for each seed of training."""
    ids = sorted(test["id"])
    return sorted(np.random.default_rng(SEED).permutation(ids)[: max(1, count)].tolist())


def batches(fit: Fit, ids: list[str], size: int = BATCH) -> Iterator[tuple[list[str], object]]:
    """(ids, batch) of samples of similar length."""
    rows = fit.samples.rows(ids)
    for part in in_order(fit.samples.text.lengths[rows], size):
        yield [ids[place] for place in part.tolist()], fit.samples.batch(rows[part])


def meaning(workspace: Workspace, test: pd.DataFrame) -> pd.DataFrame:
    """id, label (of the sentiment), and where it is known sarcasm: "plain" or "sarcastic"; None for what is neither.

    In the generated sample both words and face must have a polarity, so that nothing but their agreement differs.
    """
    label = test["sentiment"].astype("Float64").map(LABELS, na_action="ignore")
    frame = pd.DataFrame({"id": test["id"], "label": label}).reset_index(drop=True)
    if workspace.generated:
        known = pd.read_csv(workspace.raw / "truth.csv", dtype={"id": "str"})
        frame = frame.merge(known, on="id", how="left", validate="one_to_one")
        sign = frame["words"] * frame["face"]
        frame["sarcasm"] = np.select([sign < 0, sign > 0], ["sarcastic", "plain"], None)
        return frame.drop(columns="sarcastic")
    if "sarcasm" in test:
        level = test["sarcasm"].astype("Float64").to_numpy(float, na_value=np.nan)
        frame["sarcasm"] = np.select([level > 0, level == 0], ["sarcastic", "plain"], None)
    return frame


def polar_words(workspace: Workspace, test: pd.DataFrame) -> dict[str, np.ndarray] | None:
    """{id: (L,) True at the adjective with a polarity}, of the generated sample alone."""
    if not workspace.generated:
        return None
    return {id_: truth.polar_words(tokens) for id_, tokens in spoken(workspace, test["id"].tolist()).items()}


def spoken(workspace: Workspace, ids: list[str]) -> dict[str, list[str]]:
    """{id: the tokens of its text}, as the encoder read it."""
    from gexsent.encoders.text import load_text_encoder  # seconds, where texts may not be shown and nobody needs them

    settings = workspace.params.encode
    texts = read_table(workspace.table).set_index("id").loc[ids, "text"]
    encoder = load_text_encoder(settings.text, max_tokens=settings.max_tokens)
    return {id_: encoder.tokens(text) if text.strip() else [] for id_, text in texts.items()}


def _stacked(marks: dict[str, np.ndarray], ids: list[str], mask: Tensor) -> Tensor:
    """Marks of some samples as (B, L), padded as the mask is."""
    result = torch.zeros_like(mask)
    for row, id_ in enumerate(ids):
        result[row, : len(marks[id_])] = torch.from_numpy(marks[id_])
    return result
