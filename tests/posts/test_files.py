"""Tables as people have them, read in pieces; and what is wrong with one, in a line that says where."""

import io
import json
import os

import numpy as np
import pandas as pd
import pytest

from gexsent.errors import DataError
from gexsent.posts import files


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(table):
    return files.read(table).to_dict("records")


ROWS = [{"id": "007", "text": "so nice"}, {"id": "008", "text": 'a "b", c\nd'}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text\n007,so nice\n008,"a ""b"", c\nd"\n'),
        ("a.CSV", '\ufeffid,text\r\n007,so nice\r\n\r\n008,"a ""b"", c\nd"\r\n'),
        ("a.tsv", 'id\ttext\n007\tso nice\n008\t"a ""b"", c\nd"'),
        ("a.csv", 'id, text\n007,so nice\n008,"a ""b"", c\nd"\n'.encode("utf-16")),
        ("a.jsonl", "".join(json.dumps(row) + "\n\n" for row in ROWS)),
        ("a.ndjson", "\ufeff" + "\r\n".join(json.dumps(row) for row in ROWS)),
    ],
)
def test_formats_give_the_same_rows(tmp_path, name, content):
    assert cells(write(tmp_path, name, content)) == ROWS


def test_words_that_look_like_nothing_are_words_and_numbers_keep_their_zeros(tmp_path):
    words = ["nan", "NA", "null", "None", "007", "1.50", ""]
    path = write(tmp_path, "a.csv", "n,text\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words)))
    assert files.read(path)["text"].tolist() == words
    path = write(tmp_path, "a.jsonl", "".join(json.dumps({"text": word}) + "\n" for word in words))
    assert files.read(path)["text"].tolist() == words


def test_numbers_of_json_and_parquet_stay_whole_beside_missing_ones(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"n": 7}\n{"n": null}\n{}\n')
    assert files.read(path)["n"].tolist() == [7, None, None]
    pd.DataFrame({"n": pd.array([7, None], "Int64")}).to_parquet(tmp_path / "a.parquet")
    found = files.read(tmp_path / "a.parquet")["n"]
    assert found.dtype == "Int64" and found.isna().tolist() == [False, True]


def test_an_index_that_pandas_saved_is_a_column(tmp_path):
    pd.DataFrame({"id": ["007"], "text": ["so"]}).set_index("id").to_parquet(tmp_path / "a.parquet")
    assert cells(tmp_path / "a.parquet") == [{"text": "so", "id": "007"}]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_pieces_are_of_so_many_rows_and_numbered_as_in_a_spreadsheet(tmp_path, ending):
    frame = pd.DataFrame({"text": [f"text {n}" for n in range(7)]})
    path = tmp_path / f"a{ending}"
    write_as = {".csv": frame.to_csv, ".parquet": frame.to_parquet}
    path.write_text(files.lines(frame)) if ending == ".jsonl" else write_as[ending](path, index=False)
    for table in (path, frame):
        pieces = list(files.frames(table, rows=3))
        assert [len(piece) for piece in pieces] == [3, 3, 1]
        assert pd.concat(pieces).index.tolist() == [2, 3, 4, 5, 6, 7, 8]
        assert pd.concat(pieces)["text"].tolist() == frame["text"].tolist()


def test_a_row_of_json_with_nothing_in_it_is_a_row(tmp_path):
    assert len(files.read(write(tmp_path, "a.jsonl", "{}\n{}\n"))) == 2


def test_half_an_emoji_in_json_does_not_stop_anything(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "so \\ud83d", "whole": "\\ud83d\\ude00"}\n')
    assert cells(path) == [{"text": "so \ufffd", "whole": "\U0001f600"}]


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text\nso\nlala\n")))
    contents, pieces = files.opened("-", rows=1)
    assert contents == files.Contents(None, ("text",))
    assert [piece["text"].tolist() for piece in pieces] == [["so"], ["lala"]]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text\n")))
    with pytest.raises(DataError, match="standard input: the table has no rows"):
        files.opened("-")


BAD = {
    "an unknown ending": ("a.xlsx", b"PK", r"a\.xlsx: \.xlsx ending; a table is one of \.csv, \.tsv"),
    "no ending": ("a", b"text", r"a: no ending"),
    "an empty file": ("a.csv", b"", r"a\.csv: the file is empty"),
    "blank lines alone": ("a.csv", b"\n\n", r"a\.csv: its first line names no columns"),
    "binary junk": ("a.csv", bytes(range(256)) * 9, r"a\.csv: line 2: not UTF-8; save the file as UTF-8"),
    "Latin-1": ("a.csv", "text\nok\nschön\n".encode("latin-1"), r"a\.csv: line 3: not UTF-8"),
    "Latin-1 in JSON": ("a.jsonl", '{"text": "schön"}'.encode("latin-1"), r"a\.jsonl: line 1: not UTF-8"),
    "half a letter at the end": ("a.csv", "text\nso ö".encode()[:-1], r"a\.csv: line 2: ends in the middle of a letter"),
    "UTF-16 cut short": ("a.csv", "text\nso".encode("utf-16")[:-1], r"a\.csv: cannot be decoded"),
    "UTF-16 JSON cut short": ("a.jsonl", '{"a": 1}\n'.encode("utf-16")[:-1], r"a\.jsonl: cannot be decoded"),
    "a ragged row": ("a.csv", b"id,text\n1,a\n2,b,c\n", r"a\.csv: line 3: 3 cells under 2 columns; put quotes around"),
    "a short row": ("a.csv", b"id,text\n1\n", r"a\.csv: line 2: 1 cells under 2 columns"),
    "a quote never closed": ("a.csv", b'id,text\n1,"a\n2,b\n', r"a\.csv: line 3: cannot be read as a table: .*the quotes"),
    "columns of one name": ("a.csv", b"text,id,text\na,b,c\n", r"a\.csv: two columns are called 'text'"),
    "JSON cut short": ("a.jsonl", b'{"text": "a"}\n{"text": "b', r"a\.jsonl: line 2: not JSON: .*each line is one object"),
    "JSON of a list": ("a.jsonl", b'["a"]\n', r"a\.jsonl: line 1: expected an object such as .* found '\[\"a\"\]"),
    "JSON too deep": ("a.jsonl", b'{"a":' + b"[" * 99_999, r"a\.jsonl: line 1: nested too deep"),
    "Parquet that is none": ("a.parquet", b"PAR1 but no", r"a\.parquet: cannot be read as Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, what):
    name, content, message = BAD[what]
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        files.read(path)
    assert "\n" not in str(caught.value)


def test_parquet_cut_short_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["so"] * 1000}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        files.read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_table_without_rows_is_named(tmp_path, name):
    path = write(tmp_path, name, "text,id\n" if name == "a.csv" else "\n")
    with pytest.raises(DataError, match="the table has no rows"):
        files.read(path)
    with pytest.raises(DataError, match="the table has no rows"):
        files.opened(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: there is no such file"):
        files.read(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="a folder, not a table"):
        files.read(tmp_path)


def test_a_data_frame_with_columns_of_one_name_is_refused():
    with pytest.raises(DataError, match="the table: two columns are called '1'"):
        files.read(pd.DataFrame([["a", "b"]], columns=[1, "1"]))


def test_a_fault_in_the_last_row_is_found_before_the_first_is_used(tmp_path):
    path = write(tmp_path, "a.csv", "text\n" + "so\n" * 2000 + "a,b\n")
    with pytest.raises(DataError, match="line 2002"):
        files.opened(path)


def test_columns_that_only_some_rows_have_are_columns_of_all_pieces(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "so"}\n{"lang": "en", "text": "lala"}\n')
    contents, pieces = files.opened(path, rows=1)
    assert contents.rows == 2 and contents.columns == ("text", "lang")
    assert [piece.to_dict("records") for piece in pieces] == [
        [{"text": "so", "lang": None}], [{"text": "lala", "lang": "en"}]
    ]  # fmt: skip


def test_the_digest_changes_with_the_table_and_not_with_its_date(tmp_path):
    path = write(tmp_path, "a.csv", "text\nso\n")
    first = files.digest(path)
    os.utime(path, (0, 0))
    assert files.digest(path) == first
    write(tmp_path, "a.csv", "text\nno\n")
    assert files.digest(path) != first
    frame = pd.DataFrame({"text": ["so"], "vision": [np.zeros((1, 2))]})
    assert files.digest(frame) == files.digest(frame.copy())
    assert files.digest(frame) != files.digest(frame.assign(text="no"))
    assert files.digest("-") != files.digest("-")


def test_lines_hold_what_json_does_not_know():
    frame = pd.DataFrame(
        {"t": ["שלום 😀"], "n": [np.nan], "a": [np.arange(2)], "d": [pd.Timestamp("2020-01-02")], "b": [np.True_]}
    )
    assert json.loads(files.lines(frame)) == {
        "t": "שלום 😀",
        "n": None,
        "a": [0, 1],
        "d": "2020-01-02 00:00:00",
        "b": True,
    }
    assert "שלום 😀" in files.lines(frame)


def test_a_folder_of_pictures_or_clips_is_a_table(tmp_path):
    for name in ("b.JPG", "under/a.png", ".hidden/c.png", ".d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    table, kind = files.listing(tmp_path)
    assert (table["file"].tolist(), kind) == (["b.JPG", "under/a.png"], "image")
    (tmp_path / "z.mp4").touch()
    with pytest.raises(DataError, match="holds pictures and clips"):
        files.listing(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no picture and no clip"):
        files.listing(tmp_path / "none")


@pytest.mark.parametrize("cell", [None, np.nan, pd.NA, pd.NaT, "", " \n\t", [], np.zeros((0, 3))])
def test_nothing(cell):
    assert files.missing(cell)


@pytest.mark.parametrize("cell", ["nan", "0", 0, False, [None], np.zeros((1, 3))])
def test_something(cell):
    assert not files.missing(cell)
