import pytest

from gexsent.data.csvfile import read_csv
from gexsent.errors import DataError

NEEDED = ["id", "text"]


@pytest.mark.parametrize(
    "content",
    [
        b"id,text\n8404,caf\xc3\xa9\n-3g5,two\n",
        b"\xef\xbb\xbfid,text\n8404,caf\xc3\xa9\n-3g5,two\n",
        b"id,text\r\n8404,caf\xc3\xa9\r\n-3g5,two\r\n",
        "id,text\n8404,café\n-3g5,two\n".encode("utf-16"),
        b' id , text \n8404,caf\xc3\xa9\n\n-3g5,"two"\n',
    ],
    ids=["plain", "byte-order mark", "Windows line ends", "UTF-16", "spaces and a blank line"],
)
def test_reads_text_as_it_is(tmp_path, quarantine, content):
    (tmp_path / "t.csv").write_bytes(content)
    frame = read_csv(tmp_path / "t.csv", NEEDED, quarantine)
    assert frame.to_numpy().tolist() == [["8404", "café"], ["-3g5", "two"]]
    assert quarantine.rows == []


def test_other_encoding_is_read_and_noted(tmp_path, quarantine):
    (tmp_path / "t.csv").write_bytes("id,text\n1,“café”\n".encode("cp1252"))
    frame = read_csv(tmp_path / "t.csv", NEEDED, quarantine)
    assert frame["text"].tolist() == ["“café”"]
    assert quarantine.summary() == "1 x not UTF-8; read as Windows-1252 (noted)"
    quarantine.enforce(total=1, limit=0.0)  # a note is no lost row


def test_cells_that_look_missing_or_numeric_stay_text(tmp_path, quarantine):
    (tmp_path / "t.csv").write_text("id,text\n007,NA\n1e3,null\n")
    frame = read_csv(tmp_path / "t.csv", NEEDED, quarantine)
    assert frame.to_numpy().tolist() == [["007", "NA"], ["1e3", "null"]]


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(tmp_path, quarantine):
    (tmp_path / "t.csv").write_bytes(b'id,text\r\n1,"a, ""b""\r\nc"\r\n2,d\r\n')
    frame = read_csv(tmp_path / "t.csv", NEEDED, quarantine)
    assert frame["text"].tolist() == ['a, "b"\r\nc', "d"]
    assert frame.index.tolist() == [2, 3]


def test_separator(tmp_path, quarantine):
    (tmp_path / "t.tsv").write_text("id\ttext\n1\ta, b\n")
    assert read_csv(tmp_path / "t.tsv", NEEDED, quarantine, separator="\t")["text"].tolist() == ["a, b"]
    with pytest.raises(DataError, match="no column 'id', 'text'"):
        read_csv(tmp_path / "t.tsv", NEEDED, quarantine)


def test_rows_of_another_length_are_quarantined_with_their_number(tmp_path, quarantine):
    (tmp_path / "t.csv").write_text("id,text\n1,an unquoted, comma\n2,good\n3")
    frame = read_csv(tmp_path / "t.csv", NEEDED, quarantine)
    assert frame["id"].tolist() == ["2"]
    assert frame.index.tolist() == [3]
    assert [(row["row"], row["problem"]) for row in quarantine.rows] == [
        (2, "3 cells under 2 columns"),
        (4, "1 cells under 2 columns"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n", "the file is empty"),
        (b"id,text\n", "a header and no rows"),
        (b"id,words\n1,a\n", "no column 'text'; its columns are id, words"),
        (b'id,text\n1,"never closed\n2,b\n', "line 3: cannot be read as a table.*mend the quotes"),
    ],
)
def test_faulty_files_are_named_with_the_fault(tmp_path, quarantine, content, message):
    path = tmp_path / "label.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"label\.csv: .*{message}"):
        read_csv(path, NEEDED, quarantine)
