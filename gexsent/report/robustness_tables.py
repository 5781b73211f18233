"""Tables of what damage does: areas under the curves, rows in conflict, and who holds up better than whom."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from gexsent import datasets
from gexsent.evaluation.compare import DRAWS
from gexsent.evaluation.robustness import LEVELS, WHOLE
from gexsent.report.columns import Column, headlines
from gexsent.report.comparisons import FEW, TOO_NARROW, difference_cells, interval
from gexsent.report.plain import PlainTable
from gexsent.report.scores import ALPHA
from gexsent.report.style import EDITION_NOTES, system_name
from gexsent.report.tables import DIRECTION, NOTHING
from gexsent.systems import family

PROTOCOLS = {
    "tokens": "Tokens hidden",
    "words": "Words masked",
    "typos": "Letters mistyped",
    "noise": "Noise on vision",
    "no_text": "Text missing",
    "no_vision": "Vision missing",
}
REFERENCES = (
    "Each baseline and each ablation is set against GEXSent, and a system with modality dropout against the same system "
    f"without; these are three families of tests, each with Holm's correction of its own. Better, worse: p (Holm) < {ALPHA}."
)
BRACKETS = (
    f"In brackets 95 % percentile intervals from {DRAWS:,} draws of whole groups, the same draws for all systems."
)


def protocols(frame: pd.DataFrame) -> list[str]:
    """Those that a frame has rows of, in the order of all figures and tables."""
    return [name for name in LEVELS if (frame["protocol"] == name).any()]


def means(frame: pd.DataFrame, system: str, protocol: str, metric: str) -> pd.DataFrame:
    """Index level, columns mean and sd over the runs of one system; level 0 is the undamaged input."""
    # In numpy, for hundreds of lines: to compare pandas' strings and to take rows of a whole frame takes longer than this.
    known, systems = frame["protocol"].to_numpy(object), frame["system"].to_numpy(object)
    asked = (systems == system) & ((known == protocol) | (known == WHOLE))
    levels = pd.Index(frame["level"].to_numpy()[asked], name="level")
    runs = pd.Series(frame[metric].to_numpy()[asked], levels).groupby(level=0)
    return pd.DataFrame({"mean": runs.mean(), "sd": runs.std()})


def tested(rows: tuple[int, int]) -> str:
    """How many test rows of how many met damage."""
    used, there = rows
    return (
        f"all {there:,} test rows"
        if used == there
        else f"{used:,} of {there:,} test rows, whole groups drawn at random"
    )


def areas(
    table: pd.DataFrame,
    curves: pd.DataFrame,
    dataset: str,
    edition: str,
    rows: tuple[int, int],
    metric: str | None = None,
) -> PlainTable:
    """A row a metric and system, a column a protocol; of one metric alone if it is given.

    Args:
        table, curves: see evaluation.areas.
        rows: test rows that met damage, and all.
    """
    names = protocols(table)
    body = []
    columns = [c for c in headlines(dataset) if metric in (None, c.metric) and (table["metric"] == c.metric).any()]
    for column in columns:
        part = table[table["metric"] == column.metric]
        clean = curves[curves["protocol"] == WHOLE].groupby("system")[column.metric].mean()
        for system in dict.fromkeys(part["system"]):
            found = part[part["system"] == system].set_index("protocol")
            cells = [_area(found.loc[name], column) if name in found.index else NOTHING for name in names]
            body.append([column.heading, system_name(system), f"{clean[system]:.{column.decimals}f}", *cells])
    groups = int(table["n_groups"].iloc[0])
    return PlainTable(
        name=f"{dataset}_areas",
        caption=f"{datasets.title(dataset)}: score under damage, as the mean height of the curve over its levels; "
        f"{tested(rows)}. {EDITION_NOTES.get(edition, f'Edition {edition}.')}",
        heading=("Metric", "System", "Undamaged", *(PROTOCOLS[name] for name in names)),
        body=body,
        data=table,
        notes=(
            f"{DIRECTION} Undamaged: the mean over seeds on these rows. {BRACKETS} They are about other test rows "
            f"({groups:,} {datasets.spec(dataset).groups}), for the models as trained and the damage as drawn. {REFERENCES} "
            "Differences and p stand in the CSV.",
            *((TOO_NARROW,) if groups < FEW else ()),
        ),
        left=2,
    )


def _area(row: pd.Series, column: Column) -> str:
    said = verdict(column, row["difference"], row["p_holm"])
    return interval(row["value"], row["low"], row["high"], f".{column.decimals}f") + (f" ({said})" if said else "")


def verdict(column: Column, difference: float, p: float) -> str:
    """ "better" or "worse" than the reference where the test tells them apart, else nothing."""
    if not p < ALPHA:
        return ""
    return "better" if (difference < 0) == column.lower_is_better else "worse"


def conflict(
    scores: pd.DataFrame, dataset: str, edition: str, rows: tuple[int, int], metric: str | None = None
) -> PlainTable:
    """A row a metric and system, where the modalities disagree and elsewhere; of one metric alone if it is given."""
    columns = {column.metric: column for column in headlines(dataset) if metric in (None, column.metric)}
    body = []
    for record in scores[scores["metric"].isin(list(columns))].to_dict("records"):
        column = columns[record["metric"]]
        score = interval(record["value"], record["low"], record["high"], f".{column.decimals}f")
        where = f"{record['where']} ({record['rows']:,})"
        body.append([where, column.heading, system_name(record["system"]), score, *difference_cells(column, record)])
    what = "class of sentiment" if datasets.spec(dataset).main.kind == "classes" else "sign of the intensity"
    return PlainTable(
        name=f"{dataset}_conflict",
        caption=f"{datasets.title(dataset)}: rows for which text alone and vision alone predict another {what}, and all "
        f"others; {tested(rows)}. {EDITION_NOTES.get(edition, f'Edition {edition}.')}",
        heading=("Rows", "Metric", "System", "Score [95 %]", "Difference [95 %]", "p", "p (Holm)", "Verdict"),
        body=body,
        data=scores,
        notes=(
            f"{DIRECTION} In brackets behind the kind of rows their number. {BRACKETS} {REFERENCES} Rows of either kind are "
            "corrected by themselves. In conflict at least one of the two systems of a single modality is wrong: their own "
            "scores there are low by the choice of the rows.",
        ),
        left=3,
    )


def verdicts(tables: Sequence[tuple[str, pd.DataFrame]], edition: str) -> PlainTable:
    """A row a data set, metric, protocol and question: the systems that are told from their reference.

    Args:
        tables: (data set, its table of areas).
    """
    records = []
    for dataset, table in tables:
        for column in headlines(dataset):
            for protocol in protocols(table):
                part = table[(table["metric"] == column.metric) & (table["protocol"] == protocol)]
                records += [
                    {"dataset": dataset, "metric": column.name, "protocol": protocol} | r for r in _judged(part, column)
                ]
    frame = pd.DataFrame(records)
    counted = ["better", "worse", "not told apart"]
    body = [
        [
            datasets.title(r["dataset"]),
            r["question"],
            r["metric"],
            PROTOCOLS[r["protocol"]],
            *(r[name] or NOTHING for name in counted),
        ]
        for r in records
    ]
    return PlainTable(
        name="verdicts",
        caption="Which systems are told from their reference by the area under the curve. "
        f"{EDITION_NOTES.get(edition, f'Edition {edition}.')}",
        heading=("Data set", "Question", "Metric", "Protocol", "Better", "Worse", "Not told apart"),
        body=body,
        data=frame,
        notes=(REFERENCES,),
        left=7,
    )


QUESTIONS = {
    "main": "baseline against GEXSent",
    "ablations": "ablation against GEXSent",
    "variants": "with modality dropout against without",
}


def _judged(part: pd.DataFrame, column: Column) -> list[dict[str, str]]:
    part = part[part["reference"].notna()]
    found = []
    for name, question in QUESTIONS.items():
        rows = part[part["system"].map(family) == name]
        said = [verdict(column, row.difference, row.p_holm) or "not told apart" for row in rows.itertuples()]
        if said:
            shown = [system_name(system.partition("+")[0]) for system in rows["system"]]
            judged = list(zip(shown, said, strict=True))
            lists = {
                v: ", ".join(s for s, given in judged if given == v) for v in ("better", "worse", "not told apart")
            }
            found.append({"question": question} | lists)
    return found


def told(table: PlainTable) -> PlainTable:
    """The rows of `verdicts` in which some system is told from its reference."""
    return replace(table, body=[row for row in table.body if set(row[4:6]) != {NOTHING}])


def loss(frame: pd.DataFrame, column: Column) -> pd.DataFrame:
    """How far the worst level moves each system: a row a system, a column a protocol, in the metric's own units; more than
    0 is worse."""
    sign = 1 if column.lower_is_better else -1
    moved: dict[str, dict[str, float]] = {}
    for protocol in protocols(frame):
        for system in dict.fromkeys(frame["system"]):
            mean = means(frame, system, protocol, column.metric)["mean"]
            moved.setdefault(PROTOCOLS[protocol], {})[system_name(system)] = sign * (mean.iloc[-1] - mean.iloc[0])
    return pd.DataFrame(moved).round(column.decimals).replace({-0.0: 0.0})
