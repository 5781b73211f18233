"""Fifth stage: the first to read test labels."""

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from gexsent.decode import decode
from gexsent.evaluation import compare, score
from gexsent.model import cost, fine_tuned, load_model
from gexsent.stages import train
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace


def run(workspace: Workspace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict the test rows of every fit and score them.

    Leaves predictions/<dataset>.parquet, metrics/<dataset>.json, metrics/<dataset>_seeds.csv, metrics/<dataset>_cost.csv,
    and what `write_comparisons` does.

    Returns:
        Predictions, one row a system, seed and sample; and scores, one row a system and seed.
    """
    test = read_table(workspace.test_labels)
    predictions = predict(workspace, test)
    workspace.predictions.parent.mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(workspace.predictions, index=False, compression="zstd")
    scores = score.seed_scores(predictions, test, workspace.dataset)
    workspace.metrics.parent.mkdir(parents=True, exist_ok=True)
    scores.to_csv(workspace.seeds, index=False)
    score.write_metrics(workspace.metrics, score.summarise(scores))
    costs(workspace, test["partition"].iloc[0]).to_csv(workspace.costs, index=False)
    write_comparisons(workspace, predictions, test)
    return predictions, scores


def write_comparisons(workspace: Workspace, predictions: pd.DataFrame, test: pd.DataFrame) -> None:
    """Leave comparisons/<dataset>.csv, every system against the reference of its family, and <dataset>_intervals.csv,
    each by itself."""
    groups = read_table(workspace.table)[["id", "group"]]
    labels = test.merge(groups, on="id", how="left", validate="many_to_one")
    boots = compare.bootstrap(predictions, labels, workspace.dataset)
    own = compare.intervals(boots)
    compare.say_undefined(own, workspace.dataset)
    folder = workspace.results / "comparisons"
    folder.mkdir(parents=True, exist_ok=True)
    compare.families(boots).to_csv(folder / f"{workspace.dataset}.csv", index=False)
    own.to_csv(folder / f"{workspace.dataset}_intervals.csv", index=False)


def costs(workspace: Workspace, partition: str) -> pd.DataFrame:
    """One row a system, of its first fit in this partition: system, parameters, multiply_adds (of one typical sample),
    text_tokens, vision_tokens (what is typical: the median over the samples that have the modality, 0 if none has)."""
    samples = train.load_samples(workspace)
    typical = {m: _median_length(getattr(samples, m).lengths) for m in ("text", "vision")}
    batch = cost.typical_batch(*((tokens, getattr(samples, m).values.shape[1]) for m, tokens in typical.items()))
    rows = []
    for system in workspace.params.train.systems:
        model, _ = load_model(workspace.fit(system, partition, 0))
        counts = {"parameters": cost.parameters(model), "multiply_adds": cost.multiply_adds(model, batch)}
        rows.append({"system": system, **counts, **{f"{m}_tokens": tokens for m, tokens in typical.items()}})
    return pd.DataFrame(rows)


def _median_length(lengths: Tensor) -> int:
    there = lengths[lengths > 0]
    return int(there.median()) if len(there) else 0


def predict(workspace: Workspace, test: pd.DataFrame) -> pd.DataFrame:
    """Predictions of every fit for the test rows of its partition; `test` gives partition and id."""
    frozen = train.load_samples(workspace)
    settings = workspace.params.train
    tuned = train.load_tuned(workspace, frozen)[0] if any(map(fine_tuned, settings.systems)) else None
    device = pick_device()
    frames = []
    partitions = test["partition"].unique()
    plan = [
        (p, s, seed)
        for p in partitions
        for s in settings.systems
        for seed in train.seed_range(settings, len(partitions), s)
    ]
    for partition, system, seed in tqdm(plan, desc="predict"):
        ids = test.loc[test["partition"] == partition, "id"].tolist()
        samples = tuned if fine_tuned(system) else frozen
        outputs = loop.predict(
            workspace.fit(system, partition, seed), samples, samples.rows(ids), batch=settings.batch, device=device
        )
        columns = decode({name: value.numpy() for name, value in outputs.items()}, workspace.spec.tasks)
        frames.append(pd.DataFrame({"system": system, "seed": seed, "partition": partition, "id": ids, **columns}))
    return pd.concat(frames, ignore_index=True)
