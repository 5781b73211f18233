import numpy as np
import pytest

from gexsent.data.mmsa import intensity_labels, parse_intensity, read_labels


def test_reads_rows_with_ids_as_strings(tmp_path, label_csv, quarantine):
    label_csv()
    samples, labels, total = read_labels(tmp_path, quarantine)
    assert total == 6
    assert samples["id"].tolist() == ["-3g5yACwYnA$_$0", "-3g5yACwYnA$_$1", "8404$_$0", "8404$_$1", "zz$_$0", "zz$_$1"]
    assert samples["group"].tolist() == ["-3g5yACwYnA"] * 2 + ["8404"] * 2 + ["zz"] * 2
    assert samples["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert samples["text"][0] == "words of -3g5yACwYnA 0"
    np.testing.assert_allclose(labels["intensity"], [-2.4, 0, 1, 3, 1 / 3, -3], rtol=1e-6)
    assert labels["sentiment"].tolist() == [-1, 0, 1, 1, 1, -1]
    assert set(samples["kind"]) == {"none"}
    assert quarantine.rows == []


def test_clips_lie_under_raw(tmp_path, label_csv, quarantine):
    label_csv()
    (tmp_path / "Raw").mkdir()
    samples, _, _ = read_labels(tmp_path, quarantine)
    assert samples["media"][1] == "Raw/-3g5yACwYnA/1.mp4"
    assert set(samples["kind"]) == {"clip"}


def test_the_annotation_is_not_the_truth(tmp_path, label_csv, mmsa_rows, quarantine):
    mmsa_rows[0][4] = "Positive"  # beside the label -2.4
    label_csv(mmsa_rows)
    assert read_labels(tmp_path, quarantine)[1]["sentiment"][0] == -1


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        (3, "", "label is blank"),
        (3, "  ", "label is blank"),
        (3, "happy", "label is not a number"),
        (3, "3.01", "label outside [-3, 3]"),
        (3, "nan", "label outside [-3, 3]"),
        (3, "-inf", "label outside [-3, 3]"),
        (5, "dev", "unknown split 'dev'"),
        (5, "", "unknown split ''"),
        (1, "0", "id occurs a second time"),
        (0, " ", "no video or clip id"),
    ],
)
def test_a_faulty_row_is_left_out_with_its_number(tmp_path, label_csv, mmsa_rows, quarantine, column, value, problem):
    mmsa_rows[1][column] = value
    label_csv(mmsa_rows)
    samples, labels, total = read_labels(tmp_path, quarantine)
    assert (len(samples), len(labels), total) == (5, 5, 6)
    (row,) = quarantine.rows
    assert (row["file"], row["row"], row["problem"], row["action"]) == ("label.csv", 3, problem, "left out")


def test_a_blank_text_is_kept_and_noted(tmp_path, label_csv, mmsa_rows, quarantine):
    mmsa_rows[2][2] = " \t"
    label_csv(mmsa_rows)
    samples, _, _ = read_labels(tmp_path, quarantine)
    assert samples["text"][2] == ""
    assert quarantine.summary() == "1 x text is blank (kept without text)"


def test_the_ends_of_the_scale_belong_to_it():
    assert parse_intensity("-3") == (-3, "")
    assert parse_intensity(" 3.0 ") == (3, "")


@pytest.mark.parametrize(("value", "sign"), [(-0.1, -1), (0.0, 0), (-0.0, 0), (2.4, 1)])
def test_sentiment_is_the_sign(value, sign):
    assert intensity_labels(value) == {"intensity": value, "sentiment": sign}
