from pathlib import Path

import pytest

from gexsent.errors import DataError
from gexsent.report import quoted

WIDE = (
    "system,year,text_encoder,seeds,mae,acc7,source,read\n"
    "One,2019,BERT,5,0.9500,35.10,paper A,own table\n"
    "Two,,BERT,,0.95,,paper B,quoted\n"
    "Three,2020,RoBERTa,3,0.9,40,paper A,own table\n"
)
LONG = (
    "system,year,task,metric,value,split,source,read\n"
    "One,2020,A,macro-F1,0.350,SemEval test,paper A,own table\n"
    "One,2020,C,mean,0.31,SemEval test,paper A,own table\n"
    "One,2020,B,mean,0.52,SemEval test,paper B,abstract\n"
)


def read(tmp_path: Path, text: str) -> quoted.Quoted:
    (tmp_path / "numbers.csv").write_text(text)
    return quoted.read(tmp_path / "numbers.csv")


def test_numbers_keep_the_digits_of_their_source(tmp_path):
    found = read(tmp_path, WIDE)
    assert found.rows["mae"].tolist() == ["0.9500", "0.95", "0.9"]
    assert found.rows["acc7"].tolist() == ["35.10", "", "40"]
    assert found.details == ("year", "text_encoder", "seeds")


def test_each_source_has_one_number_and_says_how_it_was_read(tmp_path):
    found = read(tmp_path, WIDE)
    assert found.sources == ("paper A (the source's own table)", "paper B (at second hand)")
    assert found.rows["source"].tolist() == ["1", "2", "1"]


def test_long_layout_becomes_a_row_a_system_and_source(tmp_path):
    found = read(tmp_path, LONG)
    assert found.rows[["system", "source", "macro_f1_a", "macro_f1_b", "macro_f1_c"]].to_numpy().tolist() == [
        ["One", "1", "0.350", "", "0.31"],
        ["One", "2", "", "0.52", ""],
    ]
    assert found.sources == ("paper A (the source's own table)", "paper B (its abstract alone)")
    assert found.details == ("year", "split")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WIDE.replace(",source,", ",origin,"), "no column 'source'"),
        (LONG.replace(",C,", ",D,"), "unknown task 'D'"),
        (LONG.replace(",C,", ",A,"), "two values for 'One', task A"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"numbers\.csv: not there"):
        quoted.read(tmp_path / "numbers.csv")


@pytest.mark.parametrize("dataset", ["mosi", "mosei", "memotion"])
def test_the_project_s_own_files_name_a_source_for_every_row(dataset):
    found = quoted.read(Path(__file__).parents[2] / "data" / "published" / f"{dataset}.csv")
    assert len(found.rows) > 5
    assert all(found.sources)
    assert (found.rows["system"] != "").all()
