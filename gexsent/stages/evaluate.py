"""Fifth stage: the first to read test labels."""

import pandas as pd
from tqdm import tqdm

from gexsent import tasks
from gexsent.evaluation import compare, score
from gexsent.model import fine_tuned
from gexsent.stages import train
from gexsent.stages.prepare import read_table
from gexsent.training import loop
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace


def run(workspace: Workspace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict the test rows of every fit and score them.

    Leaves predictions/<dataset>.parquet, metrics/<dataset>.json, metrics/<dataset>_seeds.csv, and what
    `write_comparisons` does.

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
    write_comparisons(workspace, predictions, test)
    return predictions, scores


def write_comparisons(workspace: Workspace, predictions: pd.DataFrame, test: pd.DataFrame) -> None:
    """Leave comparisons/<dataset>.csv, every system against GEXSent, and <dataset>_intervals.csv, each by itself."""
    groups = read_table(workspace.table)[["id", "group"]]
    labels = test.merge(groups, on="id", how="left", validate="many_to_one")
    boots = compare.bootstrap(predictions, labels, workspace.dataset)
    own = compare.intervals(boots)
    compare.say_undefined(own, workspace.dataset)
    folder = workspace.results / "comparisons"
    folder.mkdir(parents=True, exist_ok=True)
    compare.pairs(boots).to_csv(folder / f"{workspace.dataset}.csv", index=False)
    own.to_csv(folder / f"{workspace.dataset}_intervals.csv", index=False)


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
        columns = tasks.decode({name: value.numpy() for name, value in outputs.items()})
        frames.append(pd.DataFrame({"system": system, "seed": seed, "partition": partition, "id": ids, **columns}))
    return pd.concat(frames, ignore_index=True)
