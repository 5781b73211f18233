"""The table of the audit: what each fault of the released code, and each fault of its protocol, is worth, one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gexsent import datasets
from gexsent.errors import DataError
from gexsent.report.columns import INTENSITY, Column
from gexsent.report.comparisons import interval
from gexsent.report.plain import PlainTable
from gexsent.report.scores import ALPHA, Scores
from gexsent.report.style import EDITION_NOTES, system_name
from gexsent.report.tables import DIRECTION, NOTHING, format_cell
from gexsent.systems import REFERENCES, family, members

RELEASED, OFFICIAL = REFERENCES["mended"], "official"
MACRO = "macro_f1_3"
COLUMNS = tuple(column for column in INTENSITY if column.metric in ("mae", "corr", MACRO))
NAMES = {
    "released_live_gate": "gate that is not always 0.1",
    "released_masked": "padding masked",
    "released_renormalised": "expert weights sum to 1",
    "released_masked_whole_text": "padding masked, and text not cut at 24 tokens",
    "micro_f1": "F1 averaged over rows (accuracy), not over classes",
    "unknown_as_neutral": "unknown labels taken as neutral",
    "unknown_as_neutral_b": "task B: unknown categories taken as absent",
    "unknown_as_neutral_c": "task C: unknown categories taken as level 0",
    ("test_selected", OFFICIAL): "epoch chosen on the test rows",
    ("random_clips", OFFICIAL): "clips dealt out at random",
    ("random_videos", OFFICIAL): "videos dealt out at random (control)",
    ("random_clips", "random_videos"): "clips at random minus videos at random: the leak",
}
NUMBERS = ("mean", "sd", "difference", "low", "high", "p", "p_holm")
HOW = (
    "A row that names a system gives scores: mean ± standard deviation over n seeds. The rows below it are differences "
    "from it, made by one change each, with a 95 % interval in brackets: one fault of the code mended, or one fault of "
    "protocol made."
)
TESTS = (
    f"Bold: p < {ALPHA} after Holm's correction, over the mended faults of a data set as one family and over its changes of "
    "protocol as another. Where the test rows are the same, intervals come from 10,000 paired draws of whole groups of "
    "them. The leak compares runs on other random splits (Welch's interval over seeds; such splits share rows, so that it is "
    "narrower than one over fresh data would be). A random split against the "
    "official one has no interval: one official test part does not say how such parts vary."
)
WHAT_VARIES = (
    "Paired intervals and p are about other test rows, for the models as trained; how much training varies is what ± says, "
    "where n is more than 1."
)
SHARED = "Of the test clips dealt out at random, {share:.0f} % come from videos that are also trained on ({name})."
FREE = (
    "Micro-averaged F1 over all classes is the accuracy; its row gives accuracy minus macro-F1, ± its deviation over seeds. "
    "Unknown labels: rows of any split where one is not known, in brackets; on Memotion the column's score is task A's, "
    "unless the row says otherwise. As in the released code, text is padded to 24 tokens and frames to the longest sample's, "
    "but padded text is zeros here, not what an encoder makes of padding."
)


@dataclass(frozen=True)
class Audit:
    """What the audit stage left for one data set: a row a change and metric; a row a protocol and seed, perhaps none."""

    effects: pd.DataFrame
    seeds: pd.DataFrame


def read(results: Path, dataset: str) -> Audit | None:
    """audit/<dataset>.csv and <dataset>_seeds.csv; None where the stage has not run, or the data set was left out.

    Raises:
        DataError: a file cannot be read.
    """
    path = results / "audit" / f"{dataset}.csv"
    if not path.exists():
        return None
    frames = []
    for file in (path, path.with_name(f"{dataset}_seeds.csv")):
        try:
            frames.append(pd.read_csv(file))
        except (OSError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
            raise DataError(f"{file}: cannot be read: {error}; run `gexsent audit` again") from error
    return Audit(*frames) if len(frames[0]) else None


def build(found: Sequence[Scores], audits: dict[str, Audit], edition: str) -> PlainTable | None:
    """A block a data set and reference; None where no fault was mended and no protocol audited."""
    records = []
    for scores in found:
        audit = audits.get(scores.dataset)
        is_mended = RELEASED in scores.summary and any(family(system) == "mended" for system in scores.summary)
        if is_mended or (audit is not None and RELEASED in scores.summary):
            records += _code(scores, audit)
        if audit is not None and len(audit.seeds):
            records += _protocol(scores.dataset, audit)
    if not records:
        return None
    data = pd.DataFrame(records).astype(dict.fromkeys(NUMBERS, float) | {"n": "Int64", "rows": "Int64"})
    body, bold = [], set()
    for (dataset, _, change, against), part in data.groupby(["dataset", "block", "change", "against"], sort=False):
        cells = {record["metric"]: record for record in part.to_dict("records")}
        row = [datasets.title(dataset), _name(change, against, part), str(int(part["n"].max()))]
        for place, column in enumerate(COLUMNS, len(row)):
            record = cells.get(column.metric)
            row.append(_cell(record, column) if record else NOTHING)
            if record and record["p_holm"] < ALPHA:
                bold.add((len(body), place))
        body.append(row)
    shares = [_shared(name, audit.seeds) for name, audit in audits.items() if len(audit.seeds)]
    return PlainTable(
        name="audit",
        caption="Audit of the released code: what each fault of it and of its protocol is worth, one at a time. "
        f"{EDITION_NOTES.get(edition, f'Edition {edition}.')}",
        heading=("Data set", "System, and what is changed", "n", *(column.heading for column in COLUMNS)),
        body=body,
        data=data,
        notes=(DIRECTION, HOW, TESTS, WHAT_VARIES, FREE, *shares),
        left=2,
        bold=frozenset(bold),
    )


def _shared(dataset: str, seeds: pd.DataFrame) -> str:
    share = 100 * seeds.loc[seeds["protocol"] == "random_clips", "shared"].mean()
    return SHARED.format(share=share, name=datasets.title(dataset))


def _metric(dataset: str, column: Column) -> str:
    """Where SemEval's tasks are scored, the sentiment is task A."""
    return "macro_f1_a" if column.metric == MACRO and datasets.spec(dataset).has_categories else column.metric


def _code(whole: Scores, audit: Audit | None) -> list[dict]:
    """The released system, each mended fault against it, and the two faults that cost no fit."""
    scores = whole.only(members("mended", whole.summary))
    named = {"dataset": scores.dataset, "block": "code"}
    records = []
    for system in [RELEASED, *(name for name in scores.summary if name != RELEASED)]:
        for column in COLUMNS:
            metric = _metric(scores.dataset, column)
            pairs = scores.pairs[(scores.pairs["metric"] == metric) & (scores.pairs["system"] == system)]
            pair = pairs[["difference", "low", "high", "p", "p_holm"]].to_dict("records")
            cell = scores.cell(system, metric)
            if cell["mean"] is not None:
                against = RELEASED if system != RELEASED else ""
                record = {**named, "change": system, "against": against, "metric": column.metric, **cell}
                records.append(_whole(record | (pair[0] if pair else {})))
    metric = _metric(scores.dataset, COLUMNS[-1])
    own = scores.seeds[scores.seeds["system"] == RELEASED]
    gap = own[metric.replace("macro_f1", "acc")] / 100 - own[metric]
    record = {**named, "change": "micro_f1", "against": RELEASED, "metric": MACRO, "n": len(gap)}
    records.append(_whole(record | {"difference": gap.mean(), "sd": gap.std(ddof=1)}))
    if audit is not None:
        unknown = audit.effects[audit.effects["change"] == "unknown_as_neutral"]
        for effect in unknown.to_dict("records"):
            # Tasks B and C have no column of their own: their rows say in words which task they are about.
            change = effect["change"] if effect["metric"] == metric else f"{effect['change']}_{effect['metric'][-1]}"
            record = {**named, "change": change, "against": effect["against"], "metric": MACRO}
            counts = {"difference": effect["difference"], "n": effect["seeds"], "rows": effect["rows"]}
            records.append(_whole(record | counts))
    return records


def _protocol(dataset: str, audit: Audit) -> list[dict]:
    """The audited system under the official protocol, and each change of protocol against it."""
    official = audit.seeds[audit.seeds["protocol"] == OFFICIAL]
    system, named = official["system"].iloc[0], {"dataset": dataset, "block": "protocol"}
    records = []
    for column in COLUMNS:
        metric = _metric(dataset, column)
        if metric in official:
            values = official[metric]
            cell = {"mean": values.mean(), "sd": values.std(ddof=1), "n": len(values)}
            records.append(_whole({**named, "change": system, "against": "", "metric": column.metric, **cell}))
    columns = {_metric(dataset, column): column.metric for column in COLUMNS}
    for effect in audit.effects[audit.effects["change"].isin(set(audit.seeds["protocol"]))].to_dict("records"):
        metric = columns.get(effect["metric"], effect["metric"])
        records.append(_whole({**named, **effect, "metric": metric, "n": effect["seeds"]}))
    return records


def _whole(record: dict) -> dict:
    """Every key of the CSV, in one order."""
    return {key: record.get(key) for key in ("dataset", "block", "change", "against", "metric", "n", "rows", *NUMBERS)}


def _name(change: str, against: str, part: pd.DataFrame) -> str:
    if not against:
        return system_name(change) + (" as it is" if change == RELEASED else ", official protocol")
    rows = f" ({int(part['rows'].iloc[0]):,} rows)" if change.startswith("unknown_as_neutral") else ""
    return f"… {NAMES.get(change) or NAMES[change, against]}{rows}"


def _cell(record: dict, column: Column) -> str:
    form = f"+.{column.decimals}f"
    if not record["against"]:
        return format_cell(
            {key: None if pd.isna(record[key]) else record[key] for key in ("mean", "sd", "n")}, column.decimals
        )
    if pd.notna(record["low"]):
        return interval(record["difference"], record["low"], record["high"], form)
    text = NOTHING if pd.isna(record["difference"]) else f"{record['difference']:{form}}"
    return (
        text
        if pd.isna(record["sd"]) or record["change"] != "micro_f1"
        else f"{text} ± {record['sd']:.{column.decimals}f}"
    )
