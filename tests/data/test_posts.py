"""A table of one's own as a data set, well kept and badly kept."""

import json
import multiprocessing
import operator
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import pytest
import yaml
from PIL import Image

from gexsent import datasets, params
from gexsent.data import sources
from gexsent.errors import DataError
from gexsent.stages import prepare, source
from gexsent.workspace import open_workspace, project_root

ENTRY = {
    "title": "Reviews", "groups": "shops", "file": "reviews.csv", "id": "no", "text": "words", "image": "photo", "clip": None,
    "group": "shop", "split": None, "labels": {
        "intensity": {"column": "stars", "low": 1, "high": 5},
        "sentiment": {"column": "mood", "values": {":(": "negative", ":|": "neutral", ":)": "positive"}},
    },
}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write params.yaml with a table called reviews; keyword arguments change its entry. Returns the project's root."""

    def make(**changes):
        root = project_root()
        raw = yaml.safe_load((root / "params.yaml").read_text())
        raw["tables"] = {"reviews": ENTRY | changes}
        raw["datasets"] = ["reviews"]
        for edition in raw["editions"].values():
            edition["by_dataset"].pop("mvsa")
            edition["by_dataset"]["reviews"] = {}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        (tmp_path / "dvc.yaml").write_text("stages: {}\n")
        return tmp_path

    monkeypatch.delenv("GEXSENT_DATA", raising=False)
    yield make
    params.load(project_root() / "params.yaml")  # what this project knows, and no more


@pytest.fixture
def rows(tmp_path):
    """Forty rows and their photos, in the raw folder."""
    folder = tmp_path / "data" / "raw" / "reviews"
    (folder / "photos").mkdir(parents=True)
    lines = []
    for number in range(40):
        stars = 1 + number % 5
        Image.new("RGB", (20 + number, 20), "orange").save(folder / "photos" / f"{number}.jpg")
        mood = ":(" if stars < 3 else ":|" if stars == 3 else ":)"
        lines.append({"no": f"{number:03d}", "words": f"word{number}", "photo": f"photos/{number}.jpg", "stars": stars})
        lines[-1] |= {"mood": mood, "shop": f"s{number // 2}"}
    return pd.DataFrame(lines).astype(object)


def read(root, table, name="reviews.csv", max_bad=0.5):
    path = root / "data" / "raw" / "reviews" / name
    if path.suffix == ".parquet":
        table.astype({"stars": "Int64"}).to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    workspace = open_workspace("lite", "reviews", root)
    return sources.read("reviews", workspace.raw, seed=1, max_bad=max_bad, verify_media=True)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.tsv", "reviews.jsonl", "reviews.parquet"])
def test_every_format_gives_the_same_samples_and_labels(project, rows, name):
    found = read(project(file=name), rows, name)
    assert found.layout == "table" and len(found.samples) == 40
    first = found.samples.iloc[0].to_dict()
    assert (first["id"], first["text"], first["media"], first["kind"]) == ("000", "word0", "photos/0.jpg", "image")
    assert found.labels["intensity"].tolist()[:5] == [-3, -1.5, 0, 1.5, 3]
    assert found.labels["sentiment"].tolist()[:5] == [-1, -1, 0, 1, 1]
    assert found.samples.groupby("group").size().tolist() == [2] * 20
    assert found.samples.groupby("group")["split"].nunique().eq(1).all()
    assert len(set(found.samples["split"])) == 10


def test_repeated_texts_and_pictures_stay_together_whatever_the_group_says(project, rows):
    root = project(group=None)
    rows.loc[7, "words"] = " WORD3 "
    photos = root / "data" / "raw" / "reviews" / "photos"
    (photos / "20.jpg").write_bytes((photos / "9.jpg").read_bytes())
    groups = read(root, rows).samples["group"].tolist()
    assert groups[3] == groups[7] and groups[9] == groups[20] and len(set(groups)) == 38


def test_a_split_of_ones_own_is_taken(project, rows):
    rows["part"] = (["Train"] * 6 + ["dev"] * 2 + ["test"] * 2) * 4
    found = read(project(split="part"), rows)
    assert found.samples["split"].value_counts().to_dict() == {"train": 24, "valid": 8, "test": 8}


FAULTS = {
    "a blank id": ({"no": " "}, "no is blank", "left out"),
    "an id twice": ({"no": "003"}, "id occurs a second time", "left out"),
    "no label at all": ({"stars": None, "mood": ""}, "no label", "left out"),
    "a word for a number": ({"stars": "five"}, "stars is no number", "label dropped"),
    "0_1": ({"stars": "0_1"}, "stars is no number", "label dropped"),
    "a number beyond the scale": ({"stars": 6}, "stars is outside 1 to 5", "label dropped"),
    "an unknown mood": ({"mood": ":D"}, "mood is no known class", "label dropped"),
    "a photo that is gone": ({"photo": "photos/gone.jpg"}, "image cannot be found", "kept without image"),
    "a photo elsewhere": (
        {"photo": "../../../params.yaml"},
        "image lies outside the data set's folder",
        "kept without image",
    ),
    "a photo on the web": (
        {"photo": "https://example.org/1.jpg"},
        "image is on the web: download it",
        "kept without image",
    ),
    "nothing to read or see": ({"words": "", "photo": None}, "neither a text nor anything to see", "left out"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_row_is_a_line_in_the_report(project, rows, fault):
    changes, problem, action = FAULTS[fault]
    for column, cell in changes.items():
        rows.loc[1, column] = cell
    if fault == "an id twice":
        rows.loc[3, "no"] = "003"
    (line,) = read(project(), rows).quarantine.rows
    assert (line["problem"], line["action"]) == (problem, action)
    assert line["row"] == (5 if fault == "an id twice" else 3) and line["file"] == "reviews.csv"


def test_a_row_without_a_photo_or_without_words_is_normal(project, rows):
    rows.loc[0, "photo"] = ""
    rows.loc[1, "words"] = None
    found = read(project(), rows)
    assert not found.quarantine.rows
    assert found.samples["kind"].tolist()[:2] == ["none", "image"] and found.samples["text"].tolist()[1] == ""


def test_the_words_nan_and_none_are_words(project, rows):
    rows.loc[:3, "words"] = ["nan", "None", "NA", "null"]
    assert read(project(), rows).samples["text"].tolist()[:4] == ["nan", "None", "NA", "null"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "phrase"}, r"reviews\.csv: no column 'phrase'; its columns are no, words"),
        (
            {"file": "other.csv"},
            r"nothing found for reviews; it takes other\.csv with the columns no, words, photo, shop, stars",
        ),
    ],
)
def test_what_is_not_there_is_named(project, rows, change, message):
    root = project(**change)
    rows.to_csv(root / "data" / "raw" / "reviews" / "reviews.csv", index=False)
    with pytest.raises(DataError, match=message):
        sources.read("reviews", open_workspace("lite", "reviews", root).raw, seed=1)


WRONG = {
    "no such key": ({"txt": "a"}, r"tables\.reviews: expected the keys title, groups, file"),
    "no title": ({"title": ""}, r"tables\.reviews\.title: expected a text, found ''"),
    "a number for a column": ({"text": 3}, r"tables\.reviews\.text: expected the name of a column or null, found 3"),
    "picture and clip": ({"clip": "film"}, "image and clip are both named"),
    "nothing to learn from": ({"text": None, "image": None}, "name the column of the texts"),
    "no labels": ({"labels": {}}, "expected intensity, sentiment or both"),
    "another label": ({"labels": {"topic": {}}}, "expected intensity, sentiment or both"),
    "a label without a column": (
        {"labels": {"intensity": {"low": 1, "high": 5}}},
        "expected the keys column, high, low",
    ),
    "low above high": (
        {"labels": {"intensity": {"column": "a", "low": 5, "high": 1}}},
        "expected numbers low below high",
    ),
    "an unknown sentiment": (
        {"labels": {"sentiment": {"column": "a", "values": {"x": "good"}}}},
        "expected what a cell says",
    ),
    "one sentiment": (
        {"labels": {"sentiment": {"column": "a", "values": {"x": "neutral"}}}},
        "two different sentiments",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_entry_that_cannot_be_used_is_named_by_its_key(project, what):
    changes, message = WRONG[what]
    root = project(**changes)
    with pytest.raises(DataError, match=message):
        params.load(root / "params.yaml")


@pytest.mark.parametrize(
    ("name", "message"), [("mosi", "is a published data set"), ("my posts", "use letters, digits and _")]
)
def test_a_name_that_cannot_be_used_is_refused(project, name, message):
    path = project() / "params.yaml"
    path.write_text(path.read_text().replace("reviews:", f"{name}:", 1))
    with pytest.raises(DataError, match=message):
        params.load(path)


def test_another_process_knows_the_table_too(project):
    """As those that fit on each core do, which get a workspace and have read nothing."""
    workspace = open_workspace("lite", "reviews", project())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(operator.attrgetter("spec"), workspace).result() == workspace.spec


def test_a_table_of_another_file_is_forgotten(project):
    params.load(project() / "params.yaml")
    assert "reviews" in datasets.SPECS
    params.load(project_root() / "params.yaml")
    assert "reviews" not in datasets.SPECS and "mvsa" in datasets.SPECS


@pytest.mark.parametrize("file", ["reviews.csv", "reviews.tsv", "reviews.jsonl", "reviews.parquet"])
@pytest.mark.parametrize("clip", [None, "film"])
def test_the_sample_has_the_columns_of_the_entry(project, file, clip):
    root = project(file=file, clip=clip, image=None if clip else "photo", split="part")
    workspace = open_workspace("quick", "reviews", root)
    source.run(workspace)
    found = prepare.run(workspace)
    assert len(found.samples) == 60 and not found.quarantine.rows
    assert set(found.samples["kind"]) == {"clip" if clip else "image"}
    assert found.labels["intensity"].between(-3, 3).all() and set(found.labels["sentiment"]) <= {-1, 0, 1}
    truth = pd.read_csv(workspace.raw / "truth.csv", dtype={"id": str})
    assert truth["id"].tolist() == found.samples["id"].tolist()


def test_what_the_columns_mean_is_part_of_what_is_fingerprinted(project, rows):
    root = project()
    rows.to_csv(root / "data" / "raw" / "reviews" / "reviews.csv", index=False)
    before = source.run(open_workspace("lite", "reviews", root))
    project(labels={"intensity": ENTRY["labels"]["intensity"]})
    after = source.run(open_workspace("lite", "reviews", root))
    assert before["files"] == after["files"] and before != after
    assert json.loads(open_workspace("lite", "reviews", root).source.read_text())["table"]["labels"]
