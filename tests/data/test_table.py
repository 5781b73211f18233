import pandas as pd
import pytest

from gexsent.data.table import WITHOUT, Dataset, Quarantine, check, make
from gexsent.errors import DataError


def dataset(tmp_path, splits=("train", "valid", "test"), groups=None, ids=None, intensity=None):
    size = len(splits)
    ids, groups = ids or [f"i{n}" for n in range(size)], groups or [f"g{n}" for n in range(size)]
    samples = [
        {"id": i, "group": g, "split": s, "text": "t", "media": "", "kind": "none"}
        for i, g, s in zip(ids, groups, splits, strict=True)
    ]
    labels = [{"id": i, "intensity": v} for i, v in zip(ids, intensity or [0.0] * size, strict=True)]
    return Dataset("mosi", "label.csv", tmp_path, *make(samples, labels), {}, Quarantine())


def test_a_sound_table_passes(tmp_path):
    assert check(dataset(tmp_path)) is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"splits": ()}, "no usable row"),
        ({"ids": ["a", "b", "a"]}, "id 'a' occurs twice"),
        ({"splits": ("train", "valid", "dev")}, r"unknown split \['dev'\]"),
        ({"splits": ("train", "block1", "test")}, "unknown split"),
        ({"splits": ("train", "train", "test")}, "no row in split valid"),
        ({"splits": ("block0", "block0")}, "2 rows in 2 groups are too few"),
        ({"groups": ["v1", "v2", "v1"]}, "1 groups lie in more than one split, such as v1"),
        ({"intensity": [0.0, 3.5, 0.0]}, r"intensity outside \[-3.0, 3.0\]"),
    ],
)
def test_faults_are_named(tmp_path, fault, message):
    with pytest.raises(DataError, match=f"mosi: .*{message}"):
        check(dataset(tmp_path, **fault))


def test_samples_and_labels_must_tell_of_the_same_rows(tmp_path):
    whole = dataset(tmp_path)
    other = Dataset("mosi", "", tmp_path, whole.samples, whole.labels[::-1], {}, Quarantine())
    with pytest.raises(DataError, match="same ids in the same order"):
        check(other)


def test_make_gives_fixed_types_and_keeps_blanks_blank():
    samples, labels = make(
        [{"id": "8404", "group": "g", "split": "train", "text": "", "media": "", "kind": "none"}],
        [{"id": "8404", "intensity": 0.1, "humour": None}],
    )
    assert samples["id"].tolist() == ["8404"]
    assert labels.dtypes.astype(str).to_dict() == {"id": "str", "intensity": "float32", "humour": "Int8"}
    assert labels["humour"].isna().all()
    assert make([], [])[1].columns.tolist() == ["id"]


def test_limit_counts_rows_left_out():
    quarantine = Quarantine()
    for row in (2, 3):
        quarantine.add("/somewhere/label.csv", row, "", "label is blank")
    quarantine.add("label.csv", None, "", "anything", "noted")
    assert quarantine.enforce(total=40, limit=0.05) is None  # 2 of 40 is the limit itself
    with pytest.raises(DataError, match=r"label\.csv: 2 of 39 rows cannot be used, more than 5%: 2 x label is blank"):
        quarantine.enforce(total=39, limit=0.05)


def test_limit_counts_rows_that_lack_something_once_each():
    quarantine = Quarantine()
    for id_ in ("a", "a", "b"):
        quarantine.add("x.png", None, id_, "image is missing", f"{WITHOUT} image")
    assert quarantine.enforce(total=4, limit=0.5) is None
    with pytest.raises(DataError, match=r"2 of 4 rows lack something.*raise data\.max_bad_rows"):
        quarantine.enforce(total=4, limit=0.4)


def test_summary_puts_the_commonest_first_and_stays_short():
    quarantine = Quarantine()
    assert quarantine.summary() == "none"
    for number in range(5):
        quarantine.add("a", number, "", f"kind {number}")
    quarantine.add("a", 9, "", "kind 4")
    assert quarantine.summary(kinds=2) == ("2 x kind 4 (left out); 1 x kind 0 (left out); 3 more kinds of problem")


def test_report_names_files_without_their_folders_and_counts_in_whole_rows():
    quarantine = Quarantine()
    quarantine.add("/home/someone/label.csv", 7, "a", "label is blank")
    quarantine.add("/home/someone/1.mp4", None, "b", "clip is missing", f"{WITHOUT} clip")
    report = pd.DataFrame(quarantine.frame())
    assert report.to_csv(index=False).splitlines() == [
        "file,row,id,problem,action",
        "label.csv,7,a,label is blank,left out",
        "1.mp4,,b,clip is missing,kept without clip",
    ]
