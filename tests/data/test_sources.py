import shutil

import av
import numpy as np
import pytest
from PIL import Image

from gexsent.data import sources
from gexsent.data.arrays import Ragged
from gexsent.datasets import spec
from gexsent.errors import DataError


def bring(path, ids, width=4, dtype=np.float16):
    Ragged(list(ids), np.ones((2 * len(ids), width), dtype), np.full(len(ids), 2)).save_npz(path)
    return path


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (32, 32), "red"))))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("dataset", ["mosi", "mosei", "memotion"])
@pytest.mark.parametrize("exists", [True, False])
def test_absent_data_are_found_to_be_absent(tmp_path, dataset, exists):
    root = tmp_path if exists else tmp_path / "nowhere"
    found = sources.find(dataset, root)
    assert (found.layouts, found.files, found.features) == ((), (), {})
    assert sources.fingerprint(dataset, root)["layout"] is None
    report = sources.describe(found, None)
    assert f"{dataset}: nothing found" in report
    assert spec(dataset).where in report
    with pytest.raises(DataError, match=rf"nothing found for {dataset}; it takes .*(MMSA|SemEval)"):
        sources.read(dataset, root, seed=1)


def test_label_csv(tmp_path, label_csv):
    label_csv()
    found = sources.find("mosi", tmp_path)
    assert found.layouts == ("label.csv",)
    assert any("Raw/<video>/<clip>.mp4" in what for what in found.lacking)
    dataset = sources.read("mosi", tmp_path, seed=1)
    assert (dataset.name, dataset.layout, len(dataset.samples), dataset.features) == ("mosi", "label.csv", 6, {})


def test_label_csv_with_clips(tmp_path, label_csv, mmsa_rows):
    label_csv()
    for row in mmsa_rows:
        clip(tmp_path / "Raw" / row[0] / f"{row[1]}.mp4")
    assert sources.find("mosi", tmp_path).lacking == ()
    dataset = sources.read("mosi", tmp_path, seed=1, verify_media=True)
    assert set(dataset.samples["kind"]) == {"clip"}
    assert dataset.quarantine.rows == []
    assert sources.fingerprint("mosi", tmp_path)["media"]["count"] == 6


def test_feature_pickle(tmp_path, mmsa_pickle):
    mmsa_pickle(name="aligned_50.pkl", unaligned=False, width=35)
    mmsa_pickle(name="unaligned_50.pkl", width=20)
    found = sources.find("mosei", tmp_path)
    assert (found.layouts, [path.name for path in found.files]) == (("feature pickle",), ["unaligned_50.pkl"])
    dataset = sources.read("mosei", tmp_path, seed=1)
    assert {m: f.values.shape[1] for m, f in dataset.features.items()} == {"text": 8, "vision": 20}
    (tmp_path / "unaligned_50.pkl").unlink()
    assert sources.read("mosei", tmp_path, seed=1).features["vision"].values.shape[1] == 35


def test_label_csv_takes_the_features_of_a_pickle_beside_it(tmp_path, label_csv, mmsa_pickle):
    rows = [
        [f"{split}-video", str(number), f"from the table {number}", "1.0", "", split, "0"]
        for split in ("train", "valid", "test")
        for number in range(2)
    ]
    label_csv(rows)

    def spoil(content):
        content["test"]["vision"][0, 0, 0] = -np.inf
        content["test"]["regression_labels"][1] = 9  # leaves the pickle's row out, and with it its features

    mmsa_pickle(spoil)
    dataset = sources.read("mosi", tmp_path, seed=1, max_bad=0.2)
    assert dataset.layout == "label.csv"
    assert dataset.samples["text"][0] == "from the table 0"
    assert dataset.labels["intensity"].tolist() == [1.0] * 6
    assert dataset.features["vision"].lengths.tolist() == [3, 2, 3, 2, 3, 0]
    assert dataset.quarantine.summary() == (
        "1 x infinity in vision (set to 0); 1 x no text features (kept without text features); "
        "1 x no vision features (kept without vision features)"
    )


def test_csd(csd_folder):
    found = sources.find("mosei", csd_folder)
    assert (found.layouts, len(found.files), found.lacking) == (("csd",), 4, ())
    assert len(sources.read("mosei", csd_folder, seed=1).samples) == 6
    (csd_folder / "split.csv").unlink()
    assert "split.csv with columns video_id,mode" in sources.find("mosei", csd_folder).lacking[0]


def test_facet(facet_folder):
    found = sources.find("mosei", facet_folder)
    assert (found.layouts, len(found.files), found.lacking) == (("facet",), 2, ())
    dataset = sources.read("mosei", facet_folder, seed=1)
    assert dataset.features["vision"].values.shape == (120, 35)
    assert dataset.samples["split"].nunique() == 10
    (facet_folder / "df_MOSEI_combined_train.tsv").unlink()
    found = sources.find("mosei", facet_folder)
    assert "df_MOSEI_combined_train.tsv" in found.lacking[0]
    assert "df_MOSEI_combined_train.tsv\n" not in sources.describe(found, None).replace("lacking", "")


@pytest.mark.parametrize("folder", ["", "memotion_dataset_7k"])
def test_memotion(tmp_path, memes, many_memes, meme, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    memes(tmp_path / folder, many_memes)
    found = sources.find("memotion", tmp_path)
    assert found.layouts == ("memotion",)
    assert "labels_test.csv and images_test/" in found.lacking[0]
    dataset = sources.read("memotion", tmp_path, seed=1, verify_media=True)
    assert dataset.samples["split"].nunique() == 10
    assert sources.fingerprint("memotion", tmp_path)["media"]["count"] == 60
    tests = [meme(number) for number in range(100, 104)]
    memes(tmp_path / folder, tests, table="labels_test.csv", images="images_test", shade=200)
    assert sources.find("memotion", tmp_path).lacking == ()
    assert set(sources.read("memotion", tmp_path, seed=1).samples["split"]) == {"train", "valid", "test"}
    assert sources.fingerprint("memotion", tmp_path)["media"]["count"] == 64
    shutil.rmtree(tmp_path / folder / "images")
    assert any("text only" in what for what in sources.find("memotion", tmp_path).lacking)


@pytest.mark.parametrize("name", ["vision.npz", "vision_mobilenet_v1.npz"])
def test_features_of_ones_own_by_the_beginning_of_their_name(tmp_path, label_csv, name):
    label_csv()
    ids = sources.read("mosi", tmp_path, seed=1).samples["id"].tolist()
    bring(tmp_path / name, ids[::-1])
    bring(tmp_path / "text-minilm.npz", ids, width=7)
    bring(tmp_path / "my_vision.npz", ["nobody"])  # another beginning: not taken
    dataset = sources.read("mosi", tmp_path, seed=1)
    assert dataset.features["vision"].ids == dataset.features["text"].ids == ids
    assert (dataset.features["vision"].values.shape, dataset.features["text"].values.shape) == ((12, 4), (12, 7))


def test_features_lie_beside_the_labels_or_above_them(tmp_path, memes, many_memes):
    inner = tmp_path / "memotion_dataset_7k"
    inner.mkdir()
    memes(inner, many_memes)
    ids = [row[1] for row in many_memes]
    bring(inner / "vision_a.npz", ids, width=3)
    assert sources.find("memotion", tmp_path).features == {"vision": inner / "vision_a.npz"}
    bring(tmp_path / "vision_b.npz", ids, width=5)  # of several, the last by name
    assert sources.read("memotion", tmp_path, seed=1).features["vision"].values.shape == (120, 5)


def test_ones_own_features_win_over_those_of_a_pickle(tmp_path, mmsa_pickle):
    mmsa_pickle()
    ids = sources.read("mosi", tmp_path, seed=1).samples["id"].tolist()
    bring(tmp_path / "vision.npz", ids, width=4)
    features = sources.read("mosi", tmp_path, seed=1).features
    assert (features["vision"].values.shape[1], features["text"].values.shape[1]) == (4, 8)


def test_missing_ids_are_counted_and_extra_ones_noted(tmp_path, label_csv):
    label_csv()
    ids = sources.read("mosi", tmp_path, seed=1).samples["id"].tolist()
    bring(tmp_path / "vision.npz", [*ids[:5], "stranger"])
    dataset = sources.read("mosi", tmp_path, seed=1, max_bad=0.2)
    assert dataset.features["vision"].lengths.tolist() == [2, 2, 2, 2, 2, 0]
    assert [(row["file"], row["id"], row["action"]) for row in dataset.quarantine.rows] == [
        ("vision.npz", ids[5], "kept without vision features"),
        ("vision.npz", "stranger", "ignored"),
    ]
    with pytest.raises(DataError, match=r"vision\.npz: 1 of 6 rows lack something, more than 10%"):
        sources.read("mosi", tmp_path, seed=1, max_bad=0.1)


def test_features_of_rows_left_out_are_no_surprise(tmp_path, label_csv, mmsa_rows):
    label_csv()
    bring(tmp_path / "vision.npz", sources.read("mosi", tmp_path, seed=1).samples["id"])
    mmsa_rows[0][3] = ""
    label_csv(mmsa_rows)
    dataset = sources.read("mosi", tmp_path, seed=1, max_bad=0.2)
    assert dataset.quarantine.summary() == "1 x label is blank (left out)"


def test_features_of_other_ids_altogether_are_an_error(tmp_path, label_csv):
    label_csv()
    bring(tmp_path / "vision.npz", ["0", "1"])
    with pytest.raises(DataError, match=r"vision\.npz: none of its ids .*such as '-3g5yACwYnA\$_\$0'"):
        sources.read("mosi", tmp_path, seed=1)


def test_features_with_nan_are_an_error_that_names_the_id(tmp_path, label_csv):
    label_csv()
    np.savez(tmp_path / "text.npz", ids=["zz$_$0"], values=np.full((1, 2), np.nan), lengths=[1])
    with pytest.raises(DataError, match=r"text\.npz: NaN or infinity in the features of 'zz\$_\$0'"):
        sources.read("mosi", tmp_path, seed=1)


def many_rows(bad: int) -> list[list[str]]:
    rows = [
        [f"v{number}", "0", "text", "x" if number < bad else "1.0", "", ("train", "valid", "test")[number % 3], "0"]
        for number in range(40)
    ]
    return rows


def test_reading_goes_on_up_to_the_limit_and_stops_above_it(tmp_path, label_csv):
    label_csv(many_rows(bad=2))
    dataset = sources.read("mosi", tmp_path, seed=1)  # 2 of 40 is 5 %
    assert len(dataset.samples) == 38
    assert dataset.quarantine.summary() == "2 x label is not a number (left out)"
    label_csv(many_rows(bad=3))
    with pytest.raises(
        DataError, match=r"label\.csv: 3 of 40 rows cannot be used, more than 5%: 3 x label is not a num"
    ):
        sources.read("mosi", tmp_path, seed=1)
    assert len(sources.read("mosi", tmp_path, seed=1, max_bad=0.1).samples) == 37


def test_a_video_in_two_splits_is_refused(tmp_path, label_csv, mmsa_rows):
    mmsa_rows[1][5] = "test"
    label_csv(mmsa_rows)
    with pytest.raises(DataError, match="mosi: 1 groups lie in more than one split, such as -3g5yACwYnA"):
        sources.read("mosi", tmp_path, seed=1)


def test_too_few_memes_for_folds_are_refused(tmp_path, memes, meme):
    memes(tmp_path, [meme(number) for number in range(6)])
    with pytest.raises(DataError, match="memotion: 6 rows in 6 groups are too few"):
        sources.read("memotion", tmp_path, seed=1)


@pytest.fixture
def broken_memes(tmp_path, memes, many_memes):
    """Sixty memes, of which one picture is cut short, one is a web page, one is empty and one is 20,000 pixels wide."""
    memes(tmp_path, many_memes)
    images = tmp_path / "images"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(images / "image_0.png")
    (images / "image_0.png").write_bytes((images / "image_0.png").read_bytes()[:5000])
    (images / "image_1.png").write_text("<html>")
    (images / "image_2.png").write_bytes(b"")
    Image.new("1", (20_000, 1)).save(images / "image_3.png")
    return tmp_path


def test_pictures_that_cannot_be_decoded_are_noted_and_their_rows_kept(broken_memes):
    dataset = sources.read("memotion", broken_memes, seed=1, max_bad=0.1, verify_media=True)
    assert len(dataset.samples) == 60
    lost = dataset.samples["kind"] == "none"
    assert dataset.samples.loc[lost, "id"].tolist() == [f"image_{n}.png" for n in range(4)]
    assert (dataset.samples.loc[lost, "media"] == "").all()
    report = dataset.quarantine.frame().set_index("id")
    assert set(report["action"]) == {"kept without image"}
    assert report.loc["image_0.png", "problem"].startswith("damaged picture: ")
    assert report.loc["image_1.png", "problem"].startswith("not a picture")
    assert report.loc["image_2.png", "problem"] == "image is an empty file"
    assert report.loc["image_3.png", "problem"] == "20000x1 pixels is too large; scale it down first"
    assert not report["problem"].str.contains(str(broken_memes)).any()


def test_too_many_broken_pictures_stop_the_run(broken_memes):
    with pytest.raises(
        DataError, match=r"image_0\.png, .* and 1 more files: 4 of 60 rows lack something, more than 5%"
    ):
        sources.read("memotion", broken_memes, seed=1, verify_media=True)


def test_without_verifying_only_missing_and_empty_files_are_seen(broken_memes):
    dataset = sources.read("memotion", broken_memes, seed=1, verify_media=False)
    assert dataset.quarantine.summary() == "1 x image is an empty file (kept without image)"


def test_broken_clips_are_noted(tmp_path, label_csv, mmsa_rows):
    label_csv()
    for row in mmsa_rows[:5]:
        clip(tmp_path / "Raw" / row[0] / f"{row[1]}.mp4")
    (tmp_path / "Raw/8404/0.mp4").write_bytes(b"")
    (tmp_path / "Raw/8404/1.mp4").write_text("<html>")
    dataset = sources.read("mosi", tmp_path, seed=1, max_bad=0.5, verify_media=True)
    problems = dataset.quarantine.frame().set_index("id")["problem"]
    assert problems["8404$_$0"] == "clip is an empty file"
    assert problems["8404$_$1"].startswith("not a video that can be decoded")
    assert problems["zz$_$1"] == "clip is missing"
    assert dataset.samples["kind"].value_counts().to_dict() == {"clip": 3, "none": 3}


def test_the_fingerprint_follows_every_file_and_no_absolute_path(tmp_path, label_csv, mmsa_rows):
    root = tmp_path / "one"
    label_csv(root=root)
    clip(root / "Raw/zz/0.mp4")
    first = sources.fingerprint("mosi", root)
    shutil.copytree(root, tmp_path / "two")
    assert sources.fingerprint("mosi", tmp_path / "two") == first
    seen = [first]
    label_csv([*mmsa_rows, ["n", "0", "t", "1", "", "train", "0"]], root=root)
    seen.append(sources.fingerprint("mosi", root))
    (root / "Raw/zz/1.mp4").write_bytes(b"x")
    seen.append(sources.fingerprint("mosi", root))
    (root / "Raw/zz/1.mp4").write_bytes(b"xx")
    seen.append(sources.fingerprint("mosi", root))
    bring(root / "vision.npz", ["zz$_$0"])
    seen.append(sources.fingerprint("mosi", root))
    assert all(one != other for place, one in enumerate(seen) for other in seen[:place])


def test_large_files_are_known_by_their_size(tmp_path, label_csv, monkeypatch):
    label_csv()
    assert sources.fingerprint("mosi", tmp_path)["files"]["label.csv"]["sha256"] is not None
    monkeypatch.setattr(sources, "DIGEST_LIMIT", 10)
    size = (tmp_path / "label.csv").stat().st_size
    assert sources.fingerprint("mosi", tmp_path)["files"] == {"label.csv": {"bytes": size, "sha256": None}}


def test_summary_and_report_tell_counts_splits_labels_and_problems(tmp_path, label_csv, mmsa_rows):
    mmsa_rows[0][2] = ""
    label_csv(mmsa_rows)
    bring(tmp_path / "vision.npz", sources.read("mosi", tmp_path, seed=1, max_bad=1).samples["id"])
    dataset = sources.read("mosi", tmp_path, seed=1, max_bad=0.5)
    assert sources.summary(dataset) == {
        "dataset": "mosi",
        "layout": "label.csv",
        "rows": 6,
        "groups": 3,
        "splits": {split: {"rows": 2, "groups": 1} for split in ("test", "train", "valid")},
        "labels": {
            "intensity": {"-3": 1, "-2": 1, "0": 2, "1": 1, "3": 1},
            "sentiment": {"-1": 2, "0": 1, "1": 3},
        },
        "media": {"none": 6},
        "without_text": 1,
        "features": {"vision": {"width": 4, "samples": 6}},
        "quarantine": "1 x text is blank (kept without text)",
    }
    report = sources.describe(sources.find("mosi", tmp_path), dataset)
    for line in (
        "mosi: label.csv",
        "  file      vision.npz",
        "  rows      6 in 3 groups; reads as 'label.csv'",
        "  split     train         2 rows,     1 groups",
        "  label     sentiment    -1: 2  0: 1  1: 3",
        "  media     none: 6",
        "  features  vision: width 4, 6 samples",
        "  problems  1 x text is blank (kept without text)",
    ):
        assert line in report.splitlines()
    assert "  lacking   Raw/" in report
