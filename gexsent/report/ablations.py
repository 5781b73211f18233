"""The table of ablations: what GEXSent loses when one part of it is taken away or replaced."""

from collections.abc import Sequence

import pandas as pd

from gexsent import datasets
from gexsent.evaluation.compare import DRAWS
from gexsent.report.columns import Column, tables
from gexsent.report.comparisons import ONE_SEED, WHAT_VARIES, interval
from gexsent.report.plain import PlainTable
from gexsent.report.scores import ALPHA, Scores
from gexsent.report.style import EDITION_NOTES, system_name
from gexsent.report.tables import DIRECTION, NOTHING, format_cell
from gexsent.systems import REFERENCES, family, members

REFERENCE = REFERENCES["ablations"]
HOW = (
    f"Difference: the row's mean minus GEXSent's, with its 95 % percentile interval from {DRAWS:,} paired draws of whole "
    "groups of test rows; p is two-sided, after Holm's correction over the ablations and metrics of the data set, a family "
    "of its own beside the comparison with the baselines."
)
BOLD = (
    f"Bold: the best mean of its block, where p < {ALPHA} bears it out: GEXSent beats every ablation, or the one in bold "
    "beats GEXSent."
)
WEIGHTS = (
    "Weights: parameters of the whole model. Flat mixture and dense network have those of all experts of GEXSent in one "
    "group or one layer, and the flat mixture gives a token as many experts as GEXSent does; the others have fewer weights "
    "where a part is gone. Where one modality is absent, GEXSent's experts for it are idle, and those of the flat mixture "
    "are not."
)


def build(found: Sequence[Scores], edition: str) -> PlainTable | None:
    """A row a data set and system; None where no data set has both GEXSent and an ablation of it."""
    blocks = [scores for scores in found if REFERENCE in scores.summary]
    blocks = [scores for scores in blocks if any(family(system) == "ablations" for system in scores.summary)]
    if not blocks:
        return None
    columns = list(dict.fromkeys(column for scores in blocks for column in tested(scores)))
    body, bold, records, seeds = [], set(), [], []
    for whole in blocks:
        scores = whole.only(members("ablations", whole.summary))
        weights = scores.costs.set_index("system")["parameters"]
        winners = {column.metric: scores.winner(column) for column in columns}
        seeds.append(f"{datasets.title(scores.dataset)} {scores.count('seeds')}")
        for system in scores.summary:
            row = [datasets.title(scores.dataset), system_name(system)]
            row.append(f"{weights[system]:,}" if system in weights else NOTHING)
            for column in columns:
                if winners[column.metric] == system:
                    bold.add((len(body), len(row)))
                row += _cells(scores, column, system)
                records.append(_record(scores, column, system, weights.get(system)))
            body.append(row)
    one_seed = any((whole.seeds.groupby("system").size() == 1).any() for whole in blocks)
    heading = ("Data set", "System", "Weights")
    heading += tuple(text for column in columns for text in (column.heading, "Difference [95 %]", "p (Holm)"))
    return PlainTable(
        name="ablations",
        caption=f"Ablations of GEXSent: mean ± standard deviation over seeds (n: {'; '.join(seeds)}), and the difference "
        f"from GEXSent. {EDITION_NOTES.get(edition, f'Edition {edition}.')} {BOLD}",
        heading=heading,
        body=body,
        data=pd.DataFrame(records).dropna(subset="mean"),
        notes=(
            DIRECTION,
            HOW,
            WHAT_VARIES + (ONE_SEED if one_seed else "how much training varies is what ± says."),
            WEIGHTS,
        ),
        left=2,
        bold=frozenset(bold),
    )


def tested(scores: Scores) -> list[Column]:
    """Columns of the main table of a data set that a paired test was made for, in its order."""
    metrics = set(scores.intervals["metric"])
    return [column for column in tables(scores.dataset)[scores.dataset] if column.metric in metrics]


def _pair(scores: Scores, metric: str, system: str) -> dict | None:
    pairs = scores.pairs
    found = pairs[(pairs["metric"] == metric) & (pairs["system"] == system)].to_dict("records")
    return found[0] if found else None


def _cells(scores: Scores, column: Column, system: str) -> list[str]:
    mean = format_cell(scores.cell(system, column.metric), column.decimals)
    pair = _pair(scores, column.metric, system)
    if pair is None:
        return [mean, NOTHING, NOTHING]
    difference = interval(pair["difference"], pair["low"], pair["high"], f"+.{column.decimals}f")
    return [mean, difference, NOTHING if pd.isna(pair["p_holm"]) else f"{pair['p_holm']:.4f}"]


def _record(scores: Scores, column: Column, system: str, weights: int | None) -> dict:
    pair = _pair(scores, column.metric, system) or {}
    named = {"dataset": scores.dataset, "system": system, "parameters": weights, "metric": column.metric}
    return (
        named
        | scores.cell(system, column.metric)
        | {key: pair.get(key) for key in ("difference", "low", "high", "p", "p_holm")}
    )
