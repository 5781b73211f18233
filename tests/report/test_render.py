import csv
import dataclasses
import io
import re

import pandas as pd

from gexsent.evaluation.score import summarise
from gexsent.report.quoted import Quoted
from gexsent.report.render import escape, grid, latex, markdown, write
from gexsent.report.scores import Scores
from gexsent.report.tables import Table, build

QUOTED = Quoted(
    pd.DataFrame(
        [
            {"system": "A & B", "year": "2019", "seeds": "5", "mae": "0.90", "corr": "", "source": "1"},
            {"system": "C_1", "year": "", "seeds": "", "mae": "0.8", "corr": "", "source": "2"},
        ]
    ),
    ("year", "seeds"),
    ("paper | one (own)", "paper two (quoted)"),
)


def table(quoted: Quoted | None) -> Table:
    seeds = pd.DataFrame(
        {
            "system": ["gexsent", "gexsent", "my_50%", "my_50%"],
            "seed": [0, 1, 0, 1],
            "partitions": 1,
            "rows": 80,
            "mae": [0.5, 0.6, 0.123456, 0.123456],
            "corr": [0.8, 0.8, 0.1, 0.3],
        }
    )
    return build(Scores("mosi", summarise(seeds), seeds), "lite", quoted)[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_markdown_rows():
    lines = markdown(table(None)).splitlines()
    assert lines[0].startswith("**CMU-MOSI")
    assert cells(lines[2]) == ["System", "n", "MAE ↓", "Corr ↑"]
    assert cells(lines[3]) == [":" + "-" * 8, "--:", "-" * 16 + ":", "-" * 16 + ":"]
    assert cells(lines[4]) == ["GEXSent", "2", "0.5500 ± 0.0707", "0.8000 ± 0.0000"]
    assert cells(lines[5]) == ["My 50%", "2", "0.1235 ± 0.0000", "0.2000 ± 0.1414"]


def test_markdown_sets_quoted_rows_apart_with_their_sources():
    measured, quoted = markdown(table(QUOTED)).split("### Quoted from publications, not measured here")
    assert "A & B" not in measured
    assert "GEXSent" not in quoted
    lines = [cells(line) for line in quoted.splitlines() if line.startswith("|")]
    assert lines[0] == ["System", "Year", "Seeds", "MAE ↓", "Source"]  # nobody reports Corr: no column
    assert lines[2:] == [["A & B", "2019", "5", "0.90", "[1]"], ["C_1", "–", "–", "0.8", "[2]"]]
    assert quoted.endswith("1. paper | one (own)\n2. paper two (quoted)\n")
    assert "Quoted" not in markdown(table(None))


def test_bold_cells_are_marked_in_each_format_and_not_in_the_csv(tmp_path):
    marked = dataclasses.replace(table(None), bold=frozenset({(1, 2)}))
    rows = [cells(line) for line in markdown(marked).splitlines() if line.startswith("|")]
    assert rows[3] == ["My 50%", "2", "**0.1235 ± 0.0000**", "0.2000 ± 0.1414"]
    assert rows[2] == ["GEXSent", "2", "0.5500 ± 0.0707", "0.8000 ± 0.0000"]
    assert r"My 50\% & 2 & \textbf{0.1235 $\pm$ 0.0000} & 0.2000 $\pm$ 0.1414 \\" in latex(marked).splitlines()
    assert latex(marked).count("textbf") == 1
    write(marked, tmp_path)
    assert "*" not in (tmp_path / "mosi.csv").read_text()


def test_grid_is_aligned_and_keeps_bars_inside_cells():
    lines = grid([["a", "b"], ["x|y", "10.00"]], left=1)
    assert lines == ["| a    |     b |", "|:-----|------:|", r"| x\|y | 10.00 |"]


def test_latex_rows_have_as_many_cells_as_the_table_has_columns():
    text = latex(table(QUOTED))
    assert r"\begin{tabular}{lrrr}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(rows) == 1 + 2 + 2
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3}
    assert r"\multicolumn{4}{l}" in text


def test_latex_sets_quoted_rows_apart_by_a_rule():
    rules = [r"\toprule", r"\midrule", r"\bottomrule"]
    lines = latex(table(QUOTED)).splitlines()
    assert [line for line in lines if line in rules] == [rules[0], rules[1], rules[1], rules[2]]
    second = len(lines) - 1 - lines[::-1].index(r"\midrule")
    assert lines[second - 1].startswith(r"My 50\%")
    assert lines[second + 2] == r"A \& B (2019) {[}1] & 5 & 0.90 & -- \\"
    assert lines[second + 3] == r"C\_1 {[}2] & -- & 0.8 & -- \\"
    assert latex(table(None)).count(r"\midrule") == 1


def test_latex_is_plain_ascii_with_balanced_braces():
    text = latex(table(QUOTED))
    assert text.isascii()
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count(r"\begin{") == bare.count(r"\end{") == 2


def test_escape():
    assert escape(r"a_b & 5% of {x} \ $1 #2 ~ ^") == (
        r"a\_b \& 5\% of \{x\} \textbackslash{} \$1 \#2 \textasciitilde{} \textasciicircum{}"
    )
    assert escape("p < 0.05 > 0") == "p $<$ 0.05 $>$ 0"
    assert escape("1 ± 2 – ↑↓") == r"1 $\pm$ 2 -- $\uparrow$$\downarrow$"


def test_write_leaves_three_files_that_agree(tmp_path):
    write(table(QUOTED), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mosi.csv", "mosi.md", "mosi.tex"]
    records = list(csv.DictReader(io.StringIO((tmp_path / "mosi.csv").read_text())))
    assert [record["system"] for record in records] == ["gexsent", "my_50%"]  # measured rows alone
    assert records[1]["mae_mean"] == "0.123456"
    assert "0.1235 ± 0.0000" in (tmp_path / "mosi.md").read_text(encoding="utf-8")
    assert r"0.1235 $\pm$ 0.0000" in (tmp_path / "mosi.tex").read_text()
