"""A table as Markdown, as LaTeX (booktabs) and as CSV."""

from collections.abc import Callable, Iterator
from pathlib import Path

from gexsent.digest import write_atomically
from gexsent.report.columns import Column
from gexsent.report.comparisons import ComparisonTable
from gexsent.report.plain import PlainTable
from gexsent.report.quoted import DETAILS, Quoted
from gexsent.report.tables import NOTHING, QUOTED_HEADING, Table

# One pass over the characters, so that the backslashes of one replacement are not escaped by the next.
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "[": "{[}",  # at the start of a row it would be read as an argument of the line break before it
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "−": r"$-$",
        "–": "--",
        "…": r"\ldots{}",
        "<": "$<$",  # bare, the default font encoding prints another sign
        ">": "$>$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
)


def write(table: Table | ComparisonTable | PlainTable, folder: Path) -> None:
    """Leave <name>.csv, <name>.md and <name>.tex in `folder`. Numbers in the CSV have all their digits."""
    csv = table.frame().to_csv(index=False, lineterminator="\n")
    for suffix, content in (("csv", csv), ("md", markdown(table)), ("tex", latex(table))):
        write_atomically(folder / f"{table.name}.{suffix}", content.encode())


def markdown(table: Table | ComparisonTable | PlainTable) -> str:
    """Caption, measured rows, notes; then, under their own heading, quoted rows and their numbered sources."""
    rows = [[*table.heading], *_body(table, str, "**{}**".format)]
    lines = [f"**{table.caption}**", "", *grid(rows, left=table.left), "", " ".join(table.notes)]
    if table.quoted is not None:
        lines += ["", f"### {QUOTED_HEADING}", "", *_quoted_grid(table), "", " ".join(table.quoted_notes), ""]
        lines += [f"{number}. {source}" for number, source in enumerate(table.quoted.sources, 1)]
    return "\n".join(lines) + "\n"


def _body(
    table: Table | ComparisonTable | PlainTable, plain: Callable[[str], str], strong: Callable[[str], str]
) -> Iterator[list[str]]:
    """Measured rows: each cell through `plain`, a bold one through `strong` after it."""
    for place, row in enumerate(table.rows()):
        texts = map(plain, row)
        yield [strong(text) if (place, column) in table.bold else text for column, text in enumerate(texts)]


def grid(rows: list[list[str]], *, left: int) -> list[str]:
    """Lines of a Markdown table whose source is aligned too; the first row is the heading, the first `left` columns are
    set flush left."""
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: list[str]) -> str:
        cells = [
            text.ljust(width) if index < left else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [":" + "-" * (width + 1) if index < left else "-" * (width + 1) + ":" for index, width in enumerate(widths)]
    return [line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])]


def _quoted_grid(table: Table) -> list[str]:
    quoted, columns = table.quoted, _reported(table)
    heading = ["System", *(DETAILS[name] for name in quoted.details), *(c.heading for c in columns), "Source"]
    names = ["system", *quoted.details, *(c.metric for c in columns)]
    rows = [[row[name] or NOTHING for name in names] + [f"[{row['source']}]"] for row in quoted.rows.to_dict("records")]
    return grid([heading, *rows], left=1 + len(quoted.details))


def _reported(table: Table) -> list[Column]:
    """Columns for which any quoted row has a value."""
    rows = table.quoted.rows
    return [column for column in table.columns if column.metric in rows and (rows[column.metric] != "").any()]


def latex(table: Table | ComparisonTable | PlainTable) -> str:
    """A `table*` as wide as the text: measured rows, a rule, quoted rows. Needs the packages booktabs and graphicx."""
    heading = [f"${text}$" if text in ("n", "p") else escape(text) for text in table.heading]
    body = [" & ".join(row) + r" \\" for row in _body(table, escape, r"\textbf{{{}}}".format)]
    notes = [*table.notes]
    if table.quoted is not None:
        body += [r"\midrule", rf"\multicolumn{{{len(heading)}}}{{l}}{{\emph{{{QUOTED_HEADING}}}}} \\"]
        body += [" & ".join(map(escape, row)) + r" \\" for row in _quoted_rows(table, table.quoted)]
        notes += table.quoted_notes
        notes += [f"[{number}] {source}." for number, source in enumerate(table.quoted.sources, 1)]
    lines = [
        "% Needs \\usepackage{booktabs,graphicx}.",
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * table.left + 'r' * (len(heading) - table.left)}}}",
        r"\toprule",
        " & ".join(heading) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip\raggedright\footnotesize",
        *map(escape, notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _quoted_rows(table: Table, quoted: Quoted) -> list[list[str]]:
    """Quoted rows in the measured rows' columns; what has no column there stands behind the system's name."""
    rows = []
    for row in quoted.rows.to_dict("records"):
        details = [row[name] for name in quoted.details if name not in ("seeds", "split") and row[name]]
        name = row["system"] + (f" ({'; '.join(details)})" if details else "") + f" [{row['source']}]"
        values = [row.get(column.metric) or NOTHING for column in table.columns]
        rows.append([name, row.get("seeds") or NOTHING, *values])
    return rows


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return text.translate(LATEX)
