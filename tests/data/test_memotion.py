import shutil

import pytest

from gexsent.data.memotion import read
from gexsent.errors import DataError


@pytest.mark.parametrize("folder", ["", "memotion_dataset_7k"])
def test_reads_the_folder_bare_or_as_it_is_unpacked(tmp_path, memes, many_memes, quarantine, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    memes(tmp_path / folder, many_memes)
    samples, labels, total = read(tmp_path, quarantine, seed=1)
    assert total == len(samples) == 60
    assert samples["id"][0] == "image_0.png"
    assert samples["text"][0] == "meme 0"
    assert (tmp_path / samples["media"][0]).is_file()
    assert set(samples["kind"]) == {"image"}
    assert samples["split"].nunique() == 10
    assert labels["sentiment"].tolist()[:5] == [-1, -1, 0, 1, 1]
    assert labels.drop(columns=["id", "sentiment"]).iloc[0].to_dict() == {
        "humour": 1,
        "sarcasm": 0,
        "offensive": 1,
        "motivational": 1,
    }
    assert quarantine.rows == []


def test_levels_of_every_category(tmp_path, memes, meme, quarantine):
    names = {
        "humour": ("not_funny", "funny", "very_funny", "hilarious"),
        "sarcasm": ("not_sarcastic", "general", "twisted_meaning", "very_twisted"),
        "offensive": ("not_offensive", "slight", "very_offensive", "hateful_offensive"),
        "motivational": ("not_motivational", "motivational", "NOT_MOTIVATIONAL", " motivational "),
    }
    rows = [meme(level, **{category: levels[level] for category, levels in names.items()}) for level in range(4)]
    labels = read(memes(tmp_path, rows), quarantine, seed=1)[1]
    for category in ("humour", "sarcasm", "offensive"):
        assert labels[category].tolist() == [0, 1, 2, 3]
    assert labels["motivational"].tolist() == [0, 1, 0, 1]


def test_blank_levels_are_missing_and_unknown_ones_are_noted(tmp_path, memes, meme, quarantine):
    labels = read(memes(tmp_path, [meme(0, humour=""), meme(1, sarcasm="maybe")]), quarantine, seed=1)[1]
    assert labels["humour"].isna().tolist() == [True, False]
    assert labels["sarcasm"].isna().tolist() == [False, True]
    assert [(row["row"], row["problem"]) for row in quarantine.rows] == [(3, "sarcasm is no known level")]


def test_text_falls_back_to_ocr_and_then_to_nothing(tmp_path, memes, meme, quarantine):
    rows = [meme(0), meme(1, text_corrected=" "), meme(2, text_corrected="", text_ocr="")]
    samples = read(memes(tmp_path, rows), quarantine, seed=1)[0]
    assert samples["text"].tolist() == ["meme 0", "OCR 1", ""]
    assert [(row["row"], row["action"]) for row in quarantine.rows] == [(4, "kept without text")]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"overall_sentiment": ""}, "overall_sentiment is blank"),
        ({"overall_sentiment": "meh"}, "overall_sentiment is no known class"),
        ({"image_name": "image_0.png"}, "id occurs a second time"),
        ({"image_name": " "}, "image_name is blank"),
        ({"image_name": "../image_0.png"}, "image_name is not the bare name of a file"),
        ({"image_name": "/etc/hostname"}, "image_name is not the bare name of a file"),
    ],
)
def test_faulty_rows_are_left_out(tmp_path, memes, meme, tabulate, quarantine, cells, problem):
    from_default = [meme(0), meme(1)]
    memes(tmp_path, from_default)
    header = ["", "image_name", "text_ocr", "text_corrected", "humour", "sarcasm", "offensive", "motivational"]
    tabulate(tmp_path / "labels.csv", [*header, "overall_sentiment"], [meme(0), meme(1, **cells)])
    samples = read(tmp_path, quarantine, seed=1)[0]
    assert samples["id"].tolist() == ["image_0.png"]
    assert [(row["row"], row["problem"], row["action"]) for row in quarantine.rows] == [(3, problem, "left out")]


def test_missing_and_empty_pictures_are_noted_row_by_row(tmp_path, memes, many_memes, quarantine):
    memes(tmp_path, many_memes)
    (tmp_path / "images/image_3.png").unlink()
    (tmp_path / "images/image_4.png").write_bytes(b"")
    samples = read(tmp_path, quarantine, seed=1)[0].set_index("id")
    assert samples["kind"].value_counts().to_dict() == {"image": 58, "none": 2}
    assert samples.loc["image_3.png", "media"] == ""
    assert [(row["id"], row["problem"]) for row in quarantine.rows] == [
        ("image_3.png", "image is missing"),
        ("image_4.png", "image is an empty file"),
    ]


def test_without_the_folder_of_images_memes_are_text_and_no_row_is_at_fault(tmp_path, memes, many_memes, quarantine):
    shutil.rmtree(memes(tmp_path, many_memes) / "images")
    samples = read(tmp_path, quarantine, seed=1)[0]
    assert set(samples["kind"]) == {"none"}
    assert quarantine.rows == []


def test_memes_with_the_same_picture_or_text_stay_together(tmp_path, memes, many_memes, quarantine):
    many_memes[7][3] = "MEME  3"
    memes(tmp_path, many_memes)
    shutil.copy(tmp_path / "images/image_20.png", tmp_path / "images/image_50.png")
    samples = read(tmp_path, quarantine, seed=1)[0].set_index("id")
    for one, other in (("image_3.png", "image_7.png"), ("image_20.png", "image_50.png")):
        assert samples.loc[one, "group"] == samples.loc[other, "group"]
        assert samples.loc[one, "split"] == samples.loc[other, "split"]
    assert samples["group"].nunique() == 58


def test_the_seed_decides_the_blocks(tmp_path, memes, many_memes, quarantine):
    memes(tmp_path, many_memes)
    first, again, other = (read(tmp_path, quarantine, seed=seed)[0]["split"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_with_the_organisers_test_set_the_split_is_official(tmp_path, memes, many_memes, meme, quarantine):
    memes(tmp_path, many_memes)
    tests = [meme(number) for number in range(100, 112)]
    tests[0][3] = "meme 5"  # repeats the text of a training meme
    memes(tmp_path, tests, table="labels_test.csv", images="images_test", shade=200)
    samples, labels, total = read(tmp_path, quarantine, seed=1)
    assert total == 72
    assert samples["id"].tolist() == labels["id"].tolist()
    assert samples.loc[samples["split"] == "test", "id"].tolist() == [f"image_{n}.png" for n in range(100, 112)]
    assert samples.loc[samples["split"] == "test", "media"].str.startswith("images_test/").all()
    assert set(samples["split"]) == {"train", "valid", "test"}
    assert 4 <= (samples["split"] == "valid").sum() <= 8
    assert "image_5.png" not in set(samples["id"])
    assert [(row["id"], row["action"]) for row in quarantine.rows] == [("image_5.png", "not trained on")]
    assert quarantine.enforce(total=72, limit=0.0) is None


def test_test_labels_without_their_images_are_an_error(tmp_path, memes, many_memes, meme, quarantine):
    memes(tmp_path, many_memes)
    shutil.rmtree(memes(tmp_path, [meme(100)], table="labels_test.csv", images="images_test") / "images_test")
    with pytest.raises(DataError, match=r"images_test: labels_test\.csv is here and its images are not"):
        read(tmp_path, quarantine, seed=1)
