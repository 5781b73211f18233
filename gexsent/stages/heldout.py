"""What the seeds of each system say about validation and test rows, side by side, with signals from inside GEXSent.

Test predictions are those of the evaluate stage. Validation rows, which that stage does not predict, and the signals of
both go through the saved models here.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from gexsent.datasets import SENTIMENTS
from gexsent.errors import DataError
from gexsent.evaluation.compare import REFERENCE
from gexsent.evaluation.trust import Held
from gexsent.model import fine_tuned, load_model
from gexsent.params import TrainParams
from gexsent.stages import train
from gexsent.stages.prepare import read_table
from gexsent.systems import members
from gexsent.training.data import Samples, in_order
from gexsent.training.device import pick_device
from gexsent.workspace import Workspace

TOLERANCE = 0.01  # of a probability or an intensity, between the predictions stored and what the models say now


def is_there(workspace: Workspace) -> bool:
    """Whether the data set was evaluated; one that is left out has an empty file of predictions."""
    return workspace.predictions.exists() and workspace.predictions.stat().st_size > 0


def collect(workspace: Workspace, settings: TrainParams) -> dict[str, list[tuple[Held, Held]]]:
    """{system: [(validation, test) of each partition]}.

    Raises:
        DataError: a model is lacking, or is not the one whose test predictions are stored.
    """
    frozen = train.load_samples(workspace)
    systems = members("main", settings.systems)  # ablations answer another question
    tuned = train.load_tuned(workspace, frozen)[0] if any(map(fine_tuned, systems)) else frozen
    stored = read_table(workspace.predictions)
    fit, test = read_table(workspace.fit_labels), read_table(workspace.test_labels)
    about = _about(read_table(workspace.table), frozen)
    result: dict[str, list[tuple[Held, Held]]] = {system: [] for system in systems}
    plan = [(partition, system) for partition in test["partition"].unique() for system in systems]
    for partition, system in tqdm(plan, desc=f"validation rows {workspace.dataset}"):
        valid_rows = fit[(fit["partition"] == partition) & (fit["role"] == "valid")].merge(about, on="id", how="left")
        test_rows = test[test["partition"] == partition].merge(about, on="id", how="left")
        known = stored[(stored["partition"] == partition) & (stored["system"] == system)]
        ids = valid_rows["id"].tolist() + (test_rows["id"].tolist() if system == REFERENCE else [])
        samples = tuned if fine_tuned(system) else frozen
        valid, tested = [], []
        for seed in train.seed_range(settings, test["partition"].nunique(), system):
            model, _ = load_model(workspace.fit(system, partition, seed))
            outputs, signals = forward(model, samples, ids, batch=settings.batch, device=pick_device())
            before, after = ({k: v[part] for k, v in outputs.items()} for part in _cuts(len(valid_rows)))
            own = known[known["seed"] == seed].set_index("id")
            if set(own.index) != set(test_rows["id"]):
                raise DataError(f"{workspace.predictions}: {system}, seed {seed}: not its test rows; {_AGAIN}")
            there = _from_columns(own.loc[test_rows["id"]])
            if system != REFERENCE:
                signals = {}
            elif _apart(there, after) > TOLERANCE:
                raise DataError(f"{workspace.predictions}: not what {system}, seed {seed}, predicts now; {_AGAIN}")
            inside = [{k: v[part] for k, v in signals.items()} for part in _cuts(len(valid_rows))]
            valid.append((before, inside[0]))
            tested.append((there, inside[1]))
        result[system].append((_held(valid_rows, valid), _held(test_rows, tested)))
    return result


_AGAIN = "run the evaluate stage again"


def _cuts(valid: int) -> tuple[slice, slice]:
    return slice(None, valid), slice(valid, None)


def _apart(stored: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> float:
    """The largest difference of an intensity or a probability."""
    pairs = [(np.exp(stored[k]), np.exp(now[k])) if k == "sentiment" else (stored[k], now[k]) for k in now]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def _about(table: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    about = table[["id", "group"]].copy()
    about["words"] = table["text"].str.split().str.len().to_numpy()
    about["group_rows"] = about.groupby("group")["id"].transform("size")
    for modality in ("text", "vision"):
        lengths = dict(zip(samples.ids, getattr(samples, modality).lengths.tolist(), strict=True))
        about[modality] = about["id"].map(lengths) > 0
    return about


def _held(rows: pd.DataFrame, seeds: list[tuple[dict, dict]]) -> Held:
    outputs, signals = (
        {k: np.stack([part[k] for part in parts]) for k in parts[0]} for parts in zip(*seeds, strict=True)
    )
    return Held(rows, outputs, signals)


def _from_columns(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """As `forward` gives them, from the columns of a table of predictions."""
    outputs = {}
    if "pred_intensity" in predictions:
        outputs["intensity"] = predictions["pred_intensity"].to_numpy(np.float64)
    if "pred_sentiment" in predictions:
        probability = predictions[[f"p_sentiment_{name}" for name in SENTIMENTS]].to_numpy(np.float64)
        outputs["sentiment"] = np.log(np.maximum(probability, 1e-12))
    return outputs


@torch.inference_mode()
def forward(
    model: nn.Module, samples: Samples, ids: list[str], *, batch: int, device: str = "cpu"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs and signals of one model for N samples, in the order of `ids`.

    Returns:
        {"intensity": (N,), "sentiment": (N, 3) log-probabilities}, those of the two that the model has, and for a model
        whose experts stand in groups {"gate_text", "gate_vision", "share_entropy": (N,)}: the mean gate over the tokens
        of a modality, 0 where there is none, and the entropy of the shares of the groups in nats.
    """
    model = model.to(device).eval()
    rows = samples.rows(ids)
    lengths = samples.text.lengths.cpu()[rows]
    samples = samples.to(device)
    order, outputs, signals = [], [], []
    for picked in in_order(lengths, batch):
        inputs = samples.batch(rows[picked])
        result = model(inputs)
        order.append(picked)
        heads = {name: value.double().cpu() for name, value in result.heads.items()}
        found = {"intensity": heads["intensity"][:, 0]} if "intensity" in heads else {}
        outputs.append(found | ({"sentiment": heads["sentiment"].log_softmax(1)} if "sentiment" in heads else {}))
        signals.append({})
        if result.shares is not None:
            for name, mask in (("text", inputs.text_mask), ("vision", inputs.vision_mask)):
                mean = result.gates[name].sum(1) / mask.sum(1).clamp_min(1)
                signals[-1][f"gate_{name}"] = mean.double().cpu()
            shares = result.shares.double().cpu()
            signals[-1]["share_entropy"] = -torch.special.xlogy(shares, shares).sum(1)
    back = torch.cat(order).argsort(stable=True)
    outputs, signals = ({k: torch.cat([p[k] for p in ps])[back].numpy() for k in ps[0]} for ps in (outputs, signals))
    return outputs, signals
