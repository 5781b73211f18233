import json

import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.report import scores

SUMMARY = {"gexsent": {"mae": {"mean": 0.5, "sd": 0.1, "n": 2}}, "text_only": {"mae": {"mean": 0.7, "sd": 0.2, "n": 2}}}


def leave(folder, summary=SUMMARY, rows=(1200, 1200)):
    (folder / "mosi.json").write_text(json.dumps(summary))
    records = [
        {"system": system, "seed": seed, "partitions": 1, "rows": count, "mae": 0.5}
        for system, count in zip(("gexsent", "text_only"), rows, strict=True)
        for seed in (0, 1)
    ]
    pd.DataFrame(records).to_csv(folder / "mosi_seeds.csv", index=False)


def test_reads_means_and_seeds(tmp_path):
    leave(tmp_path)
    found = scores.read(tmp_path, "mosi")
    assert found.dataset == "mosi"
    assert found.cell("text_only", "mae") == {"mean": 0.7, "sd": 0.2, "n": 2}
    assert found.cell("text_only", "corr") == found.cell("nobody", "mae") == {"mean": None, "sd": None, "n": 0}
    assert found.seeds["seed"].tolist() == [0, 1, 0, 1]
    assert [found.count(name) for name in ("seeds", "partitions", "rows")] == ["2", "1", "1,200"]


def test_counts_that_differ_between_systems_are_a_range(tmp_path):
    leave(tmp_path, rows=(1190, 1200))
    assert scores.read(tmp_path, "mosi").count("rows") == "1,190–1,200"


def test_a_data_set_that_is_left_out_has_no_scores(tmp_path):
    assert scores.read(tmp_path, "mosi") is None
    (tmp_path / "mosi.json").write_text("{}\n")
    (tmp_path / "mosi_seeds.csv").write_bytes(b"")
    assert scores.read(tmp_path, "mosi") is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "mosi.json").write_text('{"gexsent": '), r"mosi\.json: cannot be read as JSON"),
        (lambda folder: (folder / "mosi_seeds.csv").write_bytes(b""), r"mosi_seeds\.csv: cannot be read"),
        (lambda folder: (folder / "mosi_seeds.csv").unlink(), r"mosi_seeds\.csv: cannot be read"),
        (lambda folder: leave(folder, {"gexsent": SUMMARY["gexsent"]}), "name different systems"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, spoil, message):
    leave(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        scores.read(tmp_path, "mosi")
