import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from gexsent.evaluation.compare import OWN_COLUMNS, PAIR_COLUMNS
from gexsent.evaluation.score import summarise, write_metrics
from gexsent.report.scores import COST_COLUMNS
from gexsent.stages import audit, tables

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    """A project with its own params.yaml and published numbers, and no results yet."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / "data" / "published", tmp_path / "data" / "published")
    return tmp_path


def leave_scores(results: Path, dataset: str, metrics: dict[str, list[float]], more: tuple[str, ...] = ()) -> None:
    """Scores of GEXSent, text only and `more` systems, which get the same numbers."""
    systems = ("gexsent", "text_only", *more)
    seeds = pd.concat(pd.DataFrame({"system": s, "seed": [0, 1], **metrics}) for s in systems)
    seeds = seeds.assign(partitions=1, rows=80)
    write_metrics(results / "metrics" / f"{dataset}.json", summarise(seeds))
    seeds.to_csv(results / "metrics" / f"{dataset}_seeds.csv", index=False)
    metric = next(iter(metrics))
    pair = [metric, "text_only", "gexsent", 0.0, -0.1, 0.1, 1.0, 1.0, 14, 2]
    own = [[metric, system, 0.6, 0.5, 0.7, 14, 2, 0] for system in systems]
    costs = pd.DataFrame([[system, 10, 100, 13, 0] for system in systems], columns=COST_COLUMNS)
    costs.to_csv(results / "metrics" / f"{dataset}_cost.csv", index=False)
    (results / "comparisons").mkdir(exist_ok=True)
    pd.DataFrame([pair], columns=PAIR_COLUMNS).to_csv(results / "comparisons" / f"{dataset}.csv", index=False)
    pd.DataFrame(own, columns=OWN_COLUMNS).to_csv(results / "comparisons" / f"{dataset}_intervals.csv", index=False)


def leave_out(results: Path, dataset: str) -> None:
    """What the evaluate stage leaves for a data set that the user lacks."""
    (results / "metrics").mkdir(parents=True, exist_ok=True)
    (results / "metrics" / f"{dataset}.json").write_text("{}\n")
    (results / "metrics" / f"{dataset}_seeds.csv").write_bytes(b"")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_writes_tables_summary_and_figure(root):
    results = root / "results" / "sample"
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})
    leave_scores(results, "mosei", {"mae": [0.8, 0.8]})
    leave_scores(results, "memotion", {"macro_f1_a": [0.3, 0.4], "macro_f1_b_humour": [0.5, 0.6]})
    report = tables.run(root, "sample")
    main = ["mosi", "mosei", "memotion", "memotion_categories"]
    compared = [f"{name}_comparisons" for name in ("mosi", "mosei", "memotion")]
    assert list(report.others) == ["cost"]  # no ablation was trained, and nothing audited
    expected = {f"{name}.{suffix}" for name in (*main, *compared, "cost") for suffix in ("csv", "md", "tex")}
    assert names(results / "tables") == expected | {"summary.md"}
    assert names(results / "figures" / "all") == {"at_a_glance.png", "at_a_glance.pdf"}
    assert list(report.tables) == main
    assert [table.name for table in report.comparisons.values()] == compared
    assert pd.read_csv(results / "tables" / "mosi_comparisons.csv")["difference"].dropna().tolist() == [0.0]
    assert report.left_out == []
    assert pd.read_csv(results / "tables" / "mosi.csv")["mae_mean"].tolist() == [0.6, 0.6]
    assert (results / "tables" / "summary.md").read_text(encoding="utf-8") == report.at_a_glance
    assert report.figure.read_bytes().startswith(b"\x89PNG")


def test_a_data_set_left_out_has_no_table_and_the_summary_says_so(root):
    results = root / "results" / "lite"
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})
    leave_out(results, "mosei")
    report = tables.run(root, "lite")
    assert report.left_out == ["mosei", "memotion"]
    written = {f"{name}.{end}" for name in ("mosi", "mosi_comparisons", "cost") for end in ("csv", "md", "tex")}
    assert names(results / "tables") == written | {"summary.md"}
    for name in ("CMU-MOSEI", "Memotion"):
        assert f"{name} is left out" in (results / "tables" / "summary.md").read_text(encoding="utf-8")


def test_without_any_scores_there_is_a_message_and_no_figure(root):
    report = tables.run(root, "lite")
    assert report.tables == {}
    assert report.figure is None
    assert report.at_a_glance.count("is left out") == 3
    assert names(root / "results" / "lite" / "tables") == {"summary.md"}
    assert names(root / "results" / "lite" / "figures" / "all") == set()


def test_what_an_earlier_run_made_does_not_outlive_its_scores(root):
    results = root / "results" / "lite"
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})
    tables.run(root, "lite")
    assert (results / "tables" / "mosi.md").exists()
    leave_out(results, "mosi")
    tables.run(root, "lite")
    assert names(results / "tables") == {"summary.md"}
    assert names(results / "figures" / "all") == set()


@pytest.mark.parametrize(("edition", "quoted"), [("sample", False), ("lite", True), ("full", True)])
def test_quoted_numbers_stand_beside_real_data_only(root, edition, quoted):
    results = root / "results" / edition
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})
    tables.run(root, edition)
    for suffix in ("md", "tex"):
        assert ("Self-MM" in (results / "tables" / f"mosi.{suffix}").read_text(encoding="utf-8")) is quoted
    assert "Self-MM" not in (results / "tables" / "mosi.csv").read_text()
    assert "Self-MM" not in (results / "tables" / "summary.md").read_text(encoding="utf-8")


def test_quick_runs_stay_in_the_scratch_folder(root):
    leave_scores(root / ".scratch" / "results", "mosi", {"mae": [0.5, 0.7]})
    report = tables.run(root, "quick")
    assert report.folder == root / ".scratch" / "results" / "tables"
    assert (report.folder / "mosi.md").exists()
    assert not (root / "results").exists()


def test_two_runs_leave_the_same_bytes(root):
    results = root / "results" / "sample"
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})

    def bytes_of_run() -> dict[str, bytes]:
        tables.run(root, "sample")
        return {p.name: p.read_bytes() for f in ("tables", "figures/all") for p in (results / f).iterdir()}

    first = bytes_of_run()
    assert len(first) == 12
    assert bytes_of_run() == first


def test_only_the_data_sets_of_params_are_reported(root):
    text = (root / "params.yaml").read_text().replace("datasets: [mosi, mosei, memotion]", "datasets: [mosei]")
    (root / "params.yaml").write_text(text)
    results = root / "results" / "sample"
    for dataset in ("mosi", "mosei"):
        leave_scores(results, dataset, {"mae": [0.5, 0.7]})
    report = tables.run(root, "sample")
    assert list(report.tables) == ["mosei"]
    assert report.left_out == []
    assert json.loads((results / "metrics" / "mosi.json").read_text())  # scores are read, never touched


def test_ablations_and_mended_faults_stand_in_tables_of_their_own(root):
    results = root / "results" / "lite"
    more = ("flat_moe", "released", "released_masked", "gexsent+dropout")
    leave_scores(results, "mosi", {"mae": [0.5, 0.7], "macro_f1_3": [0.4, 0.5], "acc_3": [60.0, 70.0]}, more)
    seeds = pd.DataFrame([["official", "text_only", s, 80, 0.0, 0.6, 0.4] for s in range(2)])
    seeds.columns = [*audit.SEED_COLUMNS, "mae", "macro_f1_3"]
    effect = ["unknown_as_neutral", "released", "macro_f1_3", 0.0, None, None, None, None, 2, 0]
    (results / "audit").mkdir()
    pd.DataFrame([effect], columns=audit.COLUMNS).to_csv(results / "audit" / "mosi.csv", index=False)
    seeds.to_csv(results / "audit" / "mosi_seeds.csv", index=False)
    report = tables.run(root, "lite")
    assert list(report.others) == ["ablations", "audit", "cost"]
    main = pd.read_csv(results / "tables" / "mosi.csv")["system"].tolist()
    assert main == ["gexsent", "text_only", "released"]
    assert pd.read_csv(results / "tables" / "mosi_comparisons.csv")["system"].unique().tolist() == main
    for shown in ("Flat mixture", "padding masked", "dropout"):
        assert shown not in report.at_a_glance
        assert shown not in (results / "tables" / "mosi.md").read_text(encoding="utf-8")
    assert pd.read_csv(results / "tables" / "ablations.csv")["system"].unique().tolist() == ["gexsent", "flat_moe"]
    costs = pd.read_csv(results / "tables" / "cost.csv")["system"].tolist()
    assert costs == ["gexsent", "text_only", *more]
    leave_scores(results, "mosi", {"mae": [0.5, 0.7]})
    (results / "audit" / "mosi.csv").unlink()
    tables.run(root, "lite")
    assert not list((results / "tables").glob("ablations.*")) and not list((results / "tables").glob("audit.*"))


def test_a_table_of_ones_own_needs_no_published_numbers(root):
    """And its table is written on real data, with the columns that its labels have."""
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("datasets: [mosi, mosei, memotion]", "datasets: [mvsa]"))
    results = root / "results" / "lite"
    leave_scores(results, "mvsa", {"macro_f1_3": [0.6, 0.5], "acc_3": [70.0, 71.0]})
    report = tables.run(root, "lite")
    assert list(report.tables) == ["mvsa"] and "MVSA-Single" in report.at_a_glance
    written = (results / "tables" / "mvsa.md").read_text(encoding="utf-8")
    assert "Macro-F1 ↑" in written and "Accuracy ↑" in written and "Quoted" not in written
