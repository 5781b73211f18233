"""How far can a prediction be trusted? Calibration, silence, intervals and subgroups, over all data sets of an edition."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from gexsent.evaluation import trust
from gexsent.evaluation.compare import REFERENCE
from gexsent.report import reliability, reliability_tables, render, style
from gexsent.report.reliability_tables import ReliabilityTable
from gexsent.stages import heldout
from gexsent.workspace import Workspace, open_workspace

POINTS = ("bins", "curves")  # what figures are drawn from; kept for GEXSent alone


@dataclass(frozen=True)
class Report:
    """What the stage made: numbers and tables by name, PNGs of figures by name, the data sets left out.

    All are empty where no data set was evaluated.
    """

    frames: dict[str, pd.DataFrame]
    tables: dict[str, ReliabilityTable]
    figures: dict[str, Path]
    left_out: list[str]


def run(root: Path, edition: str) -> Report:
    """Leave reliability/<table>.{csv,md,tex}, the points of the figures as CSV, and figures/reliability/ of one edition.

    Raises:
        DataError: a model is lacking, or is not the one whose test predictions are stored.
    """
    params = open_workspace(edition, root=root).params
    workspaces = [open_workspace(edition, dataset, root) for dataset in params.datasets]
    there = [workspace for workspace in workspaces if heldout.is_there(workspace)]
    results = workspaces[0].results
    tables_folder, figures_folder = results / "reliability", results / "figures" / "reliability"
    for folder in (tables_folder, figures_folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # what a data set that is left out now had once
            old.unlink()
    measured = [measure(workspace) for workspace in there]
    names = dict.fromkeys(name for frames in measured for name in frames)
    joined = {
        name: pd.concat([frames[name] for frames in measured if name in frames], ignore_index=True) for name in names
    }
    for name in POINTS:
        if name in joined:
            joined[name].round(6).to_csv(tables_folder / f"{name}.csv", index=False, lineterminator="\n")
    made = {
        name: reliability_tables.build(name, frame, edition) for name, frame in joined.items() if name not in POINTS
    }
    for table in made.values():
        render.write(table, tables_folder)
    style.use_style()
    drawn = {}
    for name, figure in reliability.draw(joined, edition):
        drawn[name] = style.save(figure, figures_folder, name)
        plt.close(figure)
    left_out = [workspace.dataset for workspace in workspaces if workspace not in there]
    return Report(joined, made, drawn, left_out)


def measure(workspace: Workspace) -> dict[str, pd.DataFrame]:
    """{table: its rows for one data set}, every system of params.train."""
    result: dict[str, list[pd.DataFrame]] = {}
    for system, parts in heldout.collect(workspace, workspace.params.train).items():
        for name, frame in trust.measure(parts).items():
            if name in POINTS and system != REFERENCE:
                continue
            frame.insert(0, "system", system)
            frame.insert(0, "dataset", workspace.dataset)
            result.setdefault(name, []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in result.items()}
