"""Last stage: tables and figures over all data sets of an edition. Reads scores alone: no model, no label, no text."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from gexsent import datasets, systems
from gexsent.digest import write_atomically
from gexsent.report import ablations, audit, columns, comparisons, cost, quoted, render, scores, style, summary
from gexsent.report.comparisons import ComparisonTable
from gexsent.report.plain import PlainTable
from gexsent.report.scores import Scores
from gexsent.report.tables import Table, build
from gexsent.workspace import open_workspace

OTHERS = ("ablations", "audit", "cost")  # tables over all data sets


@dataclass(frozen=True)
class Report:
    """What the stage made: result tables by name, comparisons by data set, the tables over all data sets (ablations,
    audit, cost) by name, the scores of the main systems, the data sets left out, and where things lie.

    `figure` is the PNG of the figure at a glance, or None where no data set has scores.
    """

    tables: dict[str, Table]
    comparisons: dict[str, ComparisonTable]
    others: dict[str, PlainTable]
    found: list[Scores]
    left_out: list[str]
    at_a_glance: str
    folder: Path
    figure: Path | None


def run(root: Path, edition: str) -> Report:
    """Write tables/<name>.{csv,md,tex}, tables/summary.md and figures/all/ of one edition.

    A data set without scores is left out, and the summary says so. Quoted numbers stand beside real data only.

    Raises:
        DataError: a file of scores or of quoted numbers cannot be used.
    """
    workspace = open_workspace(edition, root=root)
    tables_folder, figures_folder = workspace.results / "tables", workspace.results / "figures" / "all"
    _clear(tables_folder, figures_folder)
    everything, audits, found, left_out, tables, compared = [], {}, [], [], {}, {}
    for dataset in workspace.params.datasets:
        known = scores.read(workspace.results, dataset)
        if known is None:
            left_out.append(dataset)
            continue
        everything.append(known)
        if (audited := audit.read(workspace.results, dataset)) is not None:
            audits[dataset] = audited
        known = known.only(systems.members("main", known.summary))
        path = root / "data" / "published" / f"{dataset}.csv"
        # Of a table of one's own there may be none.
        unpublished = datasets.spec(dataset).table is not None and not path.exists()
        published = None if workspace.generated or unpublished else quoted.read(path)
        found.append(known)
        tables |= {table.name: table for table in build(known, edition, published)}
        if (comparison := comparisons.build(known, edition)) is not None:
            compared[dataset] = comparison
    built = (
        ablations.build(everything, edition),
        audit.build(everything, audits, edition),
        cost.build(everything, edition),
    )
    others = {table.name: table for table in built if table is not None}
    for table in (*tables.values(), *compared.values(), *others.values()):
        render.write(table, tables_folder)
    text = summary.at_a_glance(found, left_out, edition)
    write_atomically(tables_folder / "summary.md", text.encode())
    figure = None
    if found:
        style.use_style()
        drawing = summary.glance_figure(found, edition)
        figure = style.save(drawing, figures_folder, "at_a_glance")
        plt.close(drawing)
    return Report(tables, compared, others, found, left_out, text, tables_folder, figure)


def _clear(tables_folder: Path, figures_folder: Path) -> None:
    """Remove what an earlier run made, so that a data set left out now does not keep its old table."""
    for folder in (tables_folder, figures_folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = [*OTHERS, "summary"]
    for dataset in datasets.SPECS:
        names += [*columns.tables(dataset), f"{dataset}_comparisons"]
    old = [tables_folder / f"{name}.{suffix}" for name in names for suffix in ("csv", "md", "tex")]
    for path in [*old, *(figures_folder / f"at_a_glance.{suffix}" for suffix in ("png", "pdf"))]:
        path.unlink(missing_ok=True)
