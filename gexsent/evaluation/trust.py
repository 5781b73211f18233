"""All measures of how far one system's predictions can be trusted, from its validation and test rows.

Whatever is fitted or chosen is fitted and chosen on validation rows, for each partition and seed by itself; test rows
are only counted.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gexsent.datasets import SENTIMENT, SENTIMENTS
from gexsent.evaluation import calibration, conformal, selective, subgroups
from gexsent.evaluation.calibration import Scaling
from gexsent.evaluation.compare import count_groups
from gexsent.evaluation.conformal import Intervals, Scores, Sets
from gexsent.evaluation.metrics import confusion, f1_by_class

DRAWS = 1000  # of groups, for intervals
CURVE_DRAWS = 500  # for those of areas, which need every row of every draw
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
CHOSEN = 0.9  # the level whose coverage is looked at by subgroup
LIMITS = (-3.0, 3.0)  # of the intensity
STORED, TEMPERATURE, BIAS = "as stored", "temperature", "temperature and bias"
GRID = np.linspace(0.02, 1, 50)  # coverages at which curves are kept
# High values of these mean trust; whether those of another signal do is for validation rows to say.
DIRECTED = ("confidence", "agreement")
SENTIMENT_NAMES = dict(enumerate(SENTIMENTS, SENTIMENT.first))


@dataclass(frozen=True)
class Held:
    """Rows of one role (validation or test) in one partition, as the S seeds of one system see them.

    rows: N rows: id, group, group_rows, words, text and vision (whether there is any), and the labels.
    outputs: {"intensity": (S, N), "sentiment": (S, N, 3) log-probabilities}, or one of the two.
    signals: {name: (S, N)} from inside the model; may be empty.
    """

    rows: pd.DataFrame
    outputs: dict[str, np.ndarray]
    signals: dict[str, np.ndarray]

    def known(self, column: str) -> "Held":
        """The rows that have this label."""
        keep = self.rows[column].notna().to_numpy()
        outputs, signals = ({k: v[:, keep] for k, v in part.items()} for part in (self.outputs, self.signals))
        return Held(self.rows[keep].reset_index(drop=True), outputs, signals)

    @property
    def groups(self) -> np.ndarray:
        return self.rows["group"].to_numpy(str)

    @property
    def intensity(self) -> np.ndarray:
        return self.rows["intensity"].to_numpy(float)

    @property
    def classes(self) -> np.ndarray:
        """Class indices (N,): 0 negative, 1 neutral, 2 positive."""
        return self.rows["sentiment"].to_numpy(int) + 1


# Validation and test of each partition: of rows, or of arrays that belong to them.
Parts = list[tuple[Held, Held]]
Pairs = list[tuple[np.ndarray, np.ndarray]]


def measure(parts: Parts) -> dict[str, pd.DataFrame]:
    """{table: rows}: calibration, bins, selective, curves, conformal and subgroups of one system."""
    frames: dict[str, list[pd.DataFrame]] = {}

    def keep(name: str, frame: pd.DataFrame, **columns: str) -> None:
        frames.setdefault(name, []).append(frame.assign(**columns))

    if "sentiment" in parts[0][0].outputs:
        known = [(valid.known("sentiment"), test.known("sentiment")) for valid, test in parts]
        for scaling in (STORED, TEMPERATURE, BIAS):
            fits = fit_scalings(known, scaling)
            probabilities = scale(known, fits)
            keep("calibration", calibrate(known, fits, probabilities), scaling=scaling)
            keep("bins", diagram(known, probabilities), scaling=scaling)
        # Errors and confidence after the last of these: what the model would say if asked for the likeliest class.
        losses = [
            tuple((p.argmax(-1) != side.classes).astype(float) for p, side in zip(ps, pair, strict=True))
            for ps, pair in zip(probabilities, known, strict=True)
        ]
        stated = [tuple(p.max(-1) for p in ps) for ps in probabilities]
        _trust(keep, known, "sentiment", losses, {"confidence": stated}, {"sets": [sets(*pair) for pair in known]})
    if "intensity" in parts[0][0].outputs:
        known = [(valid.known("intensity"), test.known("intensity")) for valid, test in parts]
        losses = [tuple(np.abs(side.outputs["intensity"] - side.intensity) for side in pair) for pair in known]
        methods = {"plain": [intervals(*pair) for pair in known]}
        if len(known[0][0].outputs["intensity"]) > 1:
            methods["normalised"] = [intervals(*pair, by_spread=True) for pair in known]
        _trust(keep, known, "intensity", losses, {}, methods)
    return {name: pd.concat(parts_, ignore_index=True) for name, parts_ in frames.items()}


def _trust(keep, parts: Parts, task: str, losses: Pairs, stated: dict[str, Pairs], methods: dict[str, list]) -> None:
    table, curves = select(losses, stated | signals(parts, task), np.concatenate([test.groups for _, test in parts]))
    keep("selective", table, task=task)
    keep("curves", curves, task=task)
    for method, sides in methods.items():
        keep("conformal", cover(sides), task=task, method=method)
    loss = np.concatenate([test.mean(0) for _, test in losses])
    keep("subgroups", fail(parts, loss, higher_is_worse=True), task=task, measure=LOSS_NAMES[task])
    inside = covered(next(iter(methods.values())), CHOSEN)
    keep("subgroups", fail(parts, inside, higher_is_worse=False), task=task, measure="coverage")


LOSS_NAMES = {"intensity": "MAE", "sentiment": "error rate"}


def fit_scalings(parts: Parts, scaling: str) -> list[list[Scaling]]:
    """A scaling for each partition and seed: each fit has decision shifts of its own."""
    if scaling == STORED:
        return [[Scaling(1.0, np.zeros(3)) for _ in valid.outputs["sentiment"]] for valid, _ in parts]
    return [
        [calibration.fit(logits, valid.classes, bias=scaling == BIAS) for logits in valid.outputs["sentiment"]]
        for valid, _ in parts
    ]


def scale(parts: Parts, fits: list[list[Scaling]]) -> Pairs:
    """Class probabilities (S, N, 3)."""
    return [
        tuple(np.stack([f(one) for f, one in zip(seeds, side.outputs["sentiment"], strict=True)]) for side in pair)
        for seeds, pair in zip(fits, parts, strict=True)
    ]


def calibrate(parts: Parts, fits: list[list[Scaling]], probabilities: Pairs) -> pd.DataFrame:
    """One row: mean and deviation over seeds of each score on the test rows of all partitions.

    `reference_*` are the scores of always giving the class frequencies of the validation rows, with one added to each
    count.
    """
    truth, pooled = _truth(parts), _pooled(probabilities)
    seeds = []
    for seed, probability in enumerate(pooled):
        confidence, chosen = probability.max(1), probability.argmax(1)
        scores = {
            "ece": calibration.error(calibration.bins(confidence, chosen == truth)),
            "ece_floor": calibration.error_floor(confidence),
            "ece_width": calibration.error(calibration.bins(confidence, chosen == truth, equal="width")),
            "ece_class": calibration.class_error(probability, truth),
            "brier": calibration.brier(probability, truth),
            "nll": calibration.nll(probability, truth),
            "accuracy": (chosen == truth).mean(),
            "macro_f1": f1_by_class(confusion(chosen, truth, [0, 1, 2])).mean(),
            "temperature": np.mean([partition[seed].temperature for partition in fits]),
        }
        seeds.append(scores)
    frame = pd.DataFrame(seeds)
    row = {}
    for name in frame:
        row |= {f"{name}_mean": frame[name].mean(), f"{name}_sd": frame[name].std()}
    constant = np.concatenate([np.tile(_frequencies(valid.classes), (len(test.rows), 1)) for valid, test in parts])
    row |= {"reference_brier": calibration.brier(constant, truth), "reference_nll": calibration.nll(constant, truth)}
    return pd.DataFrame([row | {"seeds": len(pooled), "rows": len(truth)}])


def _frequencies(classes: np.ndarray) -> np.ndarray:
    counts = np.bincount(classes, minlength=3) + 1  # a class that validation rows lack is not impossible
    return counts / counts.sum()


def diagram(parts: Parts, probabilities: Pairs) -> pd.DataFrame:
    """Bins of the reliability diagram, the predictions of all seeds together."""
    pooled = _pooled(probabilities)
    return calibration.bins(pooled.max(-1).ravel(), (pooled.argmax(-1) == _truth(parts)).ravel())


def _truth(parts: Parts) -> np.ndarray:
    return np.concatenate([test.classes for _, test in parts])


def _pooled(pairs: Pairs) -> np.ndarray:
    return np.concatenate([test for _, test in pairs], axis=1)


def signals(parts: Parts, task: str) -> dict[str, Pairs]:
    """{name: validation and test (S, N) of each partition}, those left out that are the same for all test rows.

    agreement: of the seeds, where there are several. words: length of the text, which any signal should beat.
    """
    found: dict[str, Pairs] = {}
    seeds = len(parts[0][0].outputs[task])
    if seeds > 1:
        found["agreement"] = [tuple(np.tile(-spread(side, task), (seeds, 1)) for side in pair) for pair in parts]
    for name in parts[0][0].signals:
        found[name] = [tuple(side.signals[name] for side in pair) for pair in parts]
    found["words"] = [tuple(np.tile(side.rows["words"].to_numpy(float), (seeds, 1)) for side in pair) for pair in parts]
    return {name: pairs for name, pairs in found.items() if any(np.ptp(test, axis=1).any() for _, test in pairs)}


def spread(side: Held, task: str) -> np.ndarray:
    """(N,) how far the seeds are apart: the deviation of their intensities, or the mean divergence of their class
    probabilities from the mean of them all, in nats (as of deep ensembles: Lakshminarayanan et al. 2017)."""
    values = side.outputs[task]
    if task == "intensity":
        return values.std(0, ddof=1)
    return (np.exp(values) * (values - np.log(np.exp(values).mean(0)))).sum(-1).mean(0)


def select(losses: Pairs, found: dict[str, Pairs], groups: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a signal, means over seeds: areas (see `selective`), gain and its 95 % interval over groups of test rows.

    And a row a signal, seed and coverage of GRID: the risk. In every partition the same share of rows is answered.
    """
    loss = _pooled(losses)  # (S, N)
    _, index = np.unique(groups, return_inverse=True)
    counts = np.concatenate(list(count_groups(index.max() + 1, CURVE_DRAWS, 0))).T[index]  # (N, draws)
    blocks = [np.ascontiguousarray(block) for block in np.array_split(counts, CURVE_DRAWS // 50, axis=1)]  # fit a cache
    # On the rows as they are, and in every draw: (S,) and (S, draws).
    random = loss.mean(1), loss @ counts / counts.sum(0)
    oracle = _areas(loss, -loss, blocks)
    curves, rows = [_curves("oracle", loss, -loss)], []
    for name, pairs in found.items():
        order = np.concatenate(
            [_directed(name, *pair, known) for pair, (known, _) in zip(pairs, losses, strict=True)], axis=1
        )
        area, drawn = _areas(loss, order, blocks)
        gains = selective.gain(drawn, random[1], oracle[1]).mean(0)
        row = {"signal": name, "aurc_mean": area.mean(), "aurc_sd": pd.Series(area).std()}
        row |= {"random": random[0].mean(), "oracle": oracle[0].mean(), "excess": (area - oracle[0]).mean()}
        row |= {"gain": selective.gain(area, random[0], oracle[0]).mean()}
        row["low"], row["high"] = np.nanpercentile(gains, (2.5, 97.5))
        rows.append(row | {"groups": int(index.max() + 1), "seeds": len(loss)})
        curves.append(_curves(name, loss, order))
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


def _areas(loss: np.ndarray, order: np.ndarray, blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(S,) and, for the draws of all blocks (N, draws of the block), (S, draws)."""
    both = list(zip(loss, order, strict=True))
    drawn = [np.concatenate([selective.area(*seed, block) for block in blocks]) for seed in both]
    return np.array([selective.area(*seed) for seed in both]), np.array(drawn)


def _directed(name: str, valid: np.ndarray, test: np.ndarray, known_losses: np.ndarray) -> np.ndarray:
    """Test signals (S, N) of one partition as ranks; each seed's turned as its validation rows say, if need be."""
    signs = [1 if name in DIRECTED else selective.direction(*seed) for seed in zip(known_losses, valid, strict=True)]
    return np.stack([selective.ranks(sign * one) for sign, one in zip(signs, test, strict=True)])


def _curves(name: str, loss: np.ndarray, order: np.ndarray) -> pd.DataFrame:
    risks = [np.interp(GRID, *selective.curve(*seed)) for seed in zip(loss, order, strict=True)]
    frames = [{"signal": name, "seed": seed, "coverage": GRID, "risk": risk} for seed, risk in enumerate(risks)]
    return pd.concat(map(pd.DataFrame, frames), ignore_index=True)


def intervals(valid: Held, test: Held, *, by_spread: bool = False) -> Intervals:
    """Around the mean of the seeds; `by_spread`: wider where the seeds are apart."""
    means = [side.outputs["intensity"].mean(0) for side in (valid, test)]
    scales = [np.ones(len(side.rows)) for side in (valid, test)]
    if by_spread:
        apart = [spread(side, "intensity") for side in (valid, test)]
        scales = [one + apart[0].mean() for one in apart]  # seeds that happen to agree must not claim certainty
    scores = [
        Scores(np.abs(side.intensity - mean) / by, side.groups)
        for side, mean, by in zip((valid, test), means, scales, strict=True)
    ]
    return Intervals(*scores, means[1], scales[1], LIMITS)


def sets(valid: Held, test: Held) -> Sets:
    """From the mean of the seeds' probabilities, as stored: scaling would use the validation labels twice."""
    means = [np.exp(side.outputs["sentiment"]).mean(0) for side in (valid, test)]
    scores = [
        Scores(conformal.surprise(mean, side.classes), side.groups)
        for side, mean in zip((valid, test), means, strict=True)
    ]
    return Sets(*scores, means[1])


def covered(sides: list[Intervals] | list[Sets], level: float) -> np.ndarray:
    """(N,) whether each test row of all partitions is covered."""
    return np.concatenate([side.test.values <= conformal.quantile(side.valid.values, level) for side in sides])


def cover(sides: list[Intervals] | list[Sets]) -> pd.DataFrame:
    """A row a level: coverage with its 95 % interval, and the mean size of what is given."""
    drawn = [
        conformal.drawn_coverage(side.valid, side.test, LEVELS, draws=DRAWS, seed=2 * place)
        for place, side in enumerate(sides)
    ]
    shares = sum(inside for inside, _ in drawn) / sum(count for _, count in drawn)  # (levels, draws)
    rows = []
    for level, share in zip(LEVELS, shares, strict=True):
        sizes = [side.sizes(conformal.quantile(side.valid.values, level)) for side in sides]
        low, high = np.percentile(share, (2.5, 97.5))
        row = {"level": level, "coverage": covered(sides, level).mean(), "low": low, "high": high}
        row |= {"size": np.concatenate(sizes).mean(), "partitions": len(sides)}
        row |= {
            f"{name}_groups": sum(len(np.unique(getattr(s, name).groups)) for s in sides) for name in ("valid", "test")
        }
        rows.append(row | {"valid_rows": sum(len(side.valid.values) for side in sides)})
    return pd.DataFrame(rows)


def fail(parts: Parts, values: np.ndarray, *, higher_is_worse: bool) -> pd.DataFrame:
    """`subgroups.by_subgroup` of values (N,) by length of the text, size of the group, label and modalities."""
    rows = pd.concat([test.rows for _, test in parts], ignore_index=True)
    modalities = {(True, True): "text and vision", (True, False): "text alone", (False, True): "vision alone"}
    families = {
        "text length": subgroups.thirds(rows["words"].to_numpy(int), "words"),
        "group size": subgroups.thirds(rows["group_rows"].to_numpy(int), "in the group"),
        "modalities": [modalities.get(pair, "neither") for pair in zip(rows["text"], rows["vision"], strict=True)],
    }
    if "sentiment" in rows:
        families["true sentiment"] = [SENTIMENT_NAMES.get(value, "unknown") for value in rows["sentiment"]]
    return subgroups.by_subgroup(
        values.astype(float), families, rows["group"].to_numpy(str), higher_is_worse=higher_is_worse, draws=DRAWS
    )
