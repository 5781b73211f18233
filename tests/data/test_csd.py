import numpy as np
import pytest

from gexsent.data.csd import classify, read, sequences
from gexsent.errors import DataError

SPANS = [[0, 1], [1, 2]]


def test_words_and_frames_fall_into_their_segment_by_the_middle_of_their_interval(csd_folder, quarantine):
    samples, labels, features, total = read(csd_folder, quarantine)
    assert total == 6
    assert samples["id"].tolist() == ["-a_b$_$0", "-a_b$_$1", "8404$_$0", "8404$_$1", "c$_$0", "c$_$1"]
    assert samples["group"].tolist() == ["-a_b"] * 2 + ["8404"] * 2 + ["c"] * 2
    assert samples["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert samples["text"].tolist() == ["so bad", "good"] * 3  # `sp` is a pause
    assert labels["intensity"].tolist() == [-1.5, 2.0] * 3
    assert features["vision"].lengths.tolist() == [2] * 6
    np.testing.assert_array_equal(features["vision"].values[:4], np.arange(12).reshape(4, 3))
    assert quarantine.rows == []


def test_aligned_files_have_one_entry_a_segment(csd_folder, csd_file, quarantine):
    videos = ("-a_b", "8404", "c")
    labels = {f"{v}[{n}]": (np.array([[n + 1.0]]), [SPANS[n]]) for v in videos for n in (0, 1)}
    words = {f"{v}[{n}]": (np.array([[f"w{n}".encode()]]), [SPANS[n]]) for v in videos for n in (0, 1)}
    csd_file(csd_folder / "CMU_MOSEI_LabelsSentiment.csd", "labels", labels)
    csd_file(csd_folder / "CMU_MOSEI_TimestampedWords.csd", "words", words)
    samples, labels, _, _ = read(csd_folder, quarantine)
    assert samples["id"].tolist()[2:4] == ["8404$_$0", "8404$_$1"]
    assert samples["group"].tolist()[2:4] == ["8404", "8404"]
    assert samples["text"].tolist() == ["w0", "w1"] * 3
    assert labels["intensity"].tolist() == [1, 2] * 3


def test_vision_may_be_lacking(csd_folder, quarantine):
    (csd_folder / "CMU_MOSEI_VisualFacet42.csd").unlink()
    assert read(csd_folder, quarantine)[2] == {}


def test_files_are_known_by_the_names_that_the_sdk_gives_them():
    names = [
        "CMU_MOSEI_LabelsEmotions.csd",
        "CMU_MOSEI_LabelsSentiment.csd",
        "CMU_MOSEI_TimestampedWordVectors.csd",
        "CMU_MOSEI_TimestampedWords.csd",
        "CMU_MOSEI_TimestampedPhones.csd",
        "CMU_MOSEI_VisualFacet42.csd",
        "CMU_MOSEI_VisualOpenFace2.csd",
        "CMU_MOSEI_COVAREP.csd",
    ]
    expected = {"labels": names[1], "words": names[3], "vision": names[5]}
    assert classify(names) == classify(names[::-1]) == expected


def test_a_video_in_two_splits_is_refused(csd_folder, quarantine):
    with (csd_folder / "split.csv").open("a") as file:
        file.write("8404,test\n")
    with pytest.raises(DataError, match=r"split\.csv: row 5: video '8404' is in two splits, valid and test"):
        read(csd_folder, quarantine)


@pytest.mark.parametrize(("line", "problem"), [("", r"video is not in split.csv"), ("c,dev\n", "unknown split 'dev'")])
def test_segments_without_a_split_are_left_out(csd_folder, quarantine, line, problem):
    (csd_folder / "split.csv").write_text("video_id,mode\n-a_b,train\n8404,valid\n" + line)
    samples = read(csd_folder, quarantine)[0]
    assert len(samples) == 4
    assert [(row["id"], row["problem"], row["action"]) for row in quarantine.rows] == [
        ("c$_$0", problem, "left out"),
        ("c$_$1", problem, "left out"),
    ]


def test_faulty_segments_are_noted(csd_folder, csd_file, quarantine):
    times = [[0, 0.4], [0.5, 0.9], [1.1, 1.4], [1.5, 1.9]]
    frames = np.ones((4, 3), np.float32)
    frames[0, 0], frames[3, 1] = np.nan, -np.inf
    csd_file(
        csd_folder / "CMU_MOSEI_VisualFacet42.csd", "v", {"-a_b": (frames, times), "8404": (frames[1:3], times[1:3])}
    )
    labels = {v: (np.array([[first], [1.0]]), SPANS) for v, first in (("-a_b", 0), ("8404", 9), ("c", np.nan))}
    csd_file(csd_folder / "CMU_MOSEI_LabelsSentiment.csd", "labels", labels)
    csd_file(csd_folder / "CMU_MOSEI_TimestampedWords.csd", "w", {"-a_b": (np.array([[b"x"]]), [[0, 1]])})
    samples, _, features, _ = read(csd_folder, quarantine)
    assert samples["id"].tolist() == ["-a_b$_$0", "-a_b$_$1", "8404$_$1", "c$_$1"]
    np.testing.assert_array_equal(features["vision"].lengths, [2, 2, 1, 0])
    np.testing.assert_array_equal(features["vision"].values[[0, 3]], [[0, 1, 1], [1, 0, 1]])
    counts = quarantine.frame().groupby(["problem", "action"]).size().to_dict()
    assert counts == {
        ("label outside [-3, 3]", "left out"): 2,
        ("NaN or infinity in vision", "set to 0"): 2,
        ("no vision features", "kept without vision features"): 1,
        ("text is blank", "kept without text"): 3,
    }


def test_faulty_files_are_named(csd_folder, csd_file, quarantine):
    words = csd_folder / "CMU_MOSEI_TimestampedWords.csd"
    content = words.read_bytes()
    for damaged in (b"", b"no HDF5", content[: len(content) // 2]):
        words.write_bytes(damaged)
        with pytest.raises(DataError, match=r"TimestampedWords\.csd: cannot be read as a \.csd file"):
            read(csd_folder, quarantine)
    words.unlink()
    with pytest.raises(DataError, match=r"no \.csd file of words; found CMU_MOSEI_LabelsSentiment"):
        read(csd_folder, quarantine)


def test_files_of_another_layout_are_named(csd_folder, csd_file, quarantine):
    import h5py

    path = csd_folder / "other.csd"
    for build in (lambda file: None, lambda file: file.update(a=[1]), lambda file: file.update({"a/data/v": [1]})):
        with h5py.File(path, "w") as file:
            if (made := build(file)) is not None:
                raise AssertionError(made)
        with pytest.raises(DataError, match=r"other\.csd: cannot be read as a \.csd file"):
            sequences(path)


def test_widths_and_counts_that_disagree_are_named(csd_folder, csd_file, quarantine):
    vision = {"-a_b": (np.ones((1, 3)), [[0, 1]]), "c": (np.ones((1, 4)), [[0, 1]])}
    path = csd_file(csd_folder / "CMU_MOSEI_VisualFacet42.csd", "v", vision)
    with pytest.raises(DataError, match=rf"{path.name}: features of 'c\$_\$0' have shape \(1, 4\)"):
        read(csd_folder, quarantine)
    path = csd_file(csd_folder / "CMU_MOSEI_LabelsSentiment.csd", "l", {"c": (np.ones((1, 1)), SPANS)})
    with pytest.raises(DataError, match=rf"{path.name}: c: 1 labels and 2 intervals"):
        read(csd_folder, quarantine)


def test_the_split_file_must_be_there(csd_folder, quarantine):
    (csd_folder / "split.csv").unlink()
    with pytest.raises(DataError, match=r"split\.csv: there is no such file"):
        read(csd_folder, quarantine)
