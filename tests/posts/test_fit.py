"""`gexsent.fit`, from a table to a model and back."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import gexsent
from gexsent.encoders.text import TextEncoder
from gexsent.errors import DataError
from gexsent.posts import fit as module
from gexsent.posts import learn
from gexsent.posts.features import FeatureCache
from gexsent.posts.report import Report

TINY = module.Choice("tiny-modernbert", "tiny-clip", None)
LABELS = ["sentiment", "stars", "liked"]


@pytest.fixture
def train(tmp_path, quickly):
    """gexsent.fit with tiny encoders, in a moment."""

    def run(table, **options):
        options = {"text": "text", "image": "image", "label": "sentiment", "seeds": 1, "encoders": TINY} | options
        return gexsent.fit(table, cache=None, progress=False, media_root=tmp_path, **options)

    return run


def test_three_labels_are_learned_at_once_and_the_model_comes_back_from_its_folder(make_posts, train, tmp_path):
    table = make_posts()
    table.to_csv(tmp_path / "posts.csv", index=False)
    model = train(tmp_path / "posts.csv", label=LABELS, group="user", seeds=2, out=tmp_path / "model")
    assert [task.kind for task in model.tasks] == ["classes", "regression", "binary"]
    again = gexsent.Predictor.from_pretrained(tmp_path / "model")
    post = {"text": "what a superb day", "image": tmp_path / "p3.png"}
    assert again(**post) == model(**post)
    assert set(again(**post)) == {"sentiment", "probabilities", "stars", "liked"}
    assert again.columns == model.columns
    assert str(again.report) == str(model.report)
    files = {
        "model.safetensors",
        "config.json",
        "tasks.json",
        "columns.json",
        "encoders.json",
        "report.json",
        "README.md",
    }
    assert {path.name for path in (tmp_path / "model").iterdir()} == files
    assert not (tmp_path / "model.partial").exists()


def test_a_word_and_a_colour_are_learned(make_posts, tmp_path):
    """With the sizes and epochs of a real run: both modalities beat one, and all beat a constant."""
    model = gexsent.fit(
        make_posts(240), text="text", image="image", label="stars", encoders=TINY, seeds=1, cache=None,
        media_root=tmp_path, progress=False,
    )  # fmt: skip
    scores = model.report.scores.set_index(["metric", "system"])["value"]
    assert scores["MAE", "gexsent"] < 0.7 * min(scores["MAE", "text_only"], scores["MAE", "vision_only"])
    assert max(scores["MAE", "text_only"], scores["MAE", "vision_only"]) < scores["MAE", "constant"]
    said = " ".join(model.report.verdicts())
    assert "What is seen helps" in said and "The text helps" in said and "has learned something" in said
    assert len(model.report.verdicts()) == 4 and "late fusion" in model.report.verdicts()[3]


def test_no_label_of_a_test_post_is_learned_from(make_posts, train, monkeypatch):
    seen = {}
    fit = learn.loop.fit

    def watched(job, params, folder, **options):
        seen[job.config.system] = job
        return fit(job, params, folder, **options)

    monkeypatch.setattr(learn.loop, "fit", watched)
    model = train(make_posts())
    for job in seen.values():
        rows = torch.cat([job.train_rows, job.valid_rows])
        others = torch.ones(60, dtype=torch.bool)
        others[rows] = False
        assert int(others.sum()) == model.report.posts["test"] > 0
        assert job.targets[others].isnan().all() and not job.targets[rows].isnan().any()
    assert set(seen) == {"gexsent", "text_only", "vision_only", "late_fusion"}


def test_posts_with_one_text_one_picture_or_one_owner_stay_together(make_posts, tmp_path):
    table = make_posts(12)
    table.loc[1, "text"] = table.loc[0, "text"].upper() + " "
    (tmp_path / "p3.png").write_bytes((tmp_path / "p2.png").read_bytes())
    found = module.posts(table, module.Columns(text="text", image="image"), tmp_path)
    owners = pd.Series([None] * 10 + ["u", "u"])
    groups = module.group_of(found, owners)
    assert groups[0] == groups[1] and groups[2] == groups[3] and groups[10] == groups[11]
    assert len(set(groups)) == 9


def test_a_split_column_is_used(make_posts, train):
    table = make_posts().assign(part=["test"] * 12 + ["dev"] * 8 + ["train"] * 40)
    assert train(table, split="part").report.posts == {"train": 40, "valid": 8, "test": 12}


@pytest.mark.parametrize("lacking", ["text", "image"])
def test_one_modality_is_enough(make_posts, train, lacking):
    model = train(make_posts(), **{lacking: None})
    kept = "vision_only" if lacking == "text" else "text_only"
    assert set(model.report.scores["system"]) == {"gexsent", kept, "constant"}
    assert not any("helps" in said for said in model.report.verdicts())


def test_rows_without_a_text_a_picture_or_a_label_are_normal(make_posts, train, tmp_path, capsys):
    table = make_posts().astype({"sentiment": object})
    table.loc[0, "text"] = None
    table.loc[1, "image"] = ""
    table.loc[2, ["text", "image"]] = ""
    table.loc[3, "sentiment"] = np.nan
    table.loc[4, "image"] = "gone.png"
    (tmp_path / "p5.png").write_bytes(b"no picture")
    model = gexsent.fit(
        table, text="text", image="image", label="sentiment", encoders=TINY, seeds=1, cache=None, media_root=tmp_path
    )
    said = capsys.readouterr().out
    assert sum(model.report.posts.values()) == 58
    assert "1 rows have no label and are left out" in said
    assert "1 rows have neither a text nor anything to see and are left out" in said
    assert "gone.png: there is no such file" in said
    assert "1 posts are used without their image, which cannot be read" in said
    assert "sentiment: 3 classes" in said and "posts in" in said


def test_features_brought_along_take_the_place_of_pictures(make_posts, train, tmp_path):
    table = make_posts()
    for number in range(60):
        np.save(tmp_path / f"f{number}.npy", np.full((3, 4), number, np.float32))
    table["seen"] = [f"f{number}.npy" for number in range(60)]
    model = train(table, image=None, vision="seen")
    assert model.config.vision_features == 4
    assert "sentiment" in model("so", vision=np.zeros((2, 4)))


def test_encoded_once_and_found_again_by_content(make_posts, quickly, tmp_path, monkeypatch):
    calls = []
    states = TextEncoder.states
    monkeypatch.setattr(
        TextEncoder, "states", lambda self, part, counts: calls.append(len(part)) or states(self, part, counts)
    )
    options = {"text": "text", "label": "sentiment", "encoders": TINY, "seeds": 1, "progress": False}
    first = gexsent.fit(make_posts(), cache=tmp_path / "cache", **options)
    assert sum(calls) == 60
    again = gexsent.fit(make_posts().iloc[::-1], cache=tmp_path / "cache", **options)
    assert sum(calls) == 60
    assert set(first.report.scores["system"]) == set(again.report.scores["system"])
    gexsent.fit(make_posts(), cache=None, **options)
    assert sum(calls) == 120


def test_a_cache_that_is_none_is_named(tmp_path):
    (tmp_path / "features.sqlite").write_bytes(b"not a data base" * 100)
    with pytest.raises(
        DataError, match=r"features\.sqlite: cannot keep features there: .* name another folder with cache="
    ):
        FeatureCache(tmp_path)


def test_a_fit_that_was_stopped_goes_on_where_it_was(make_posts, train, tmp_path, monkeypatch):
    table, fits = make_posts(), []
    fit = learn.loop.fit

    def stopped(job, params, folder, **options):
        if len(fits) == 2:
            raise KeyboardInterrupt
        fits.append(job.config.system)
        return fit(job, params, folder, **options)

    monkeypatch.setattr(learn.loop, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(table, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()
    weights = {p: p.stat().st_mtime_ns for p in (tmp_path / "model.partial").rglob("model.safetensors")}
    assert len(weights) == 2
    copied = []
    monkeypatch.setattr(learn.loop, "fit", fit)
    save = gexsent.Predictor.save

    def watched(predictor, folder):
        copied.append({p: p.stat().st_mtime_ns for p in (tmp_path / "model.partial").rglob("model.safetensors")})
        save(predictor, folder)

    monkeypatch.setattr(gexsent.Predictor, "save", watched)
    train(table, out=tmp_path / "model")
    assert weights.items() <= copied[0].items() and len(copied[0]) == 4


BAD = {
    "no such column": ({"label": "mood"}, "the table: no column 'mood'; its columns are text, image"),
    "no label": ({"label": []}, "label: name the column"),
    "a label that is an input": ({"label": "text"}, "label: the column 'text' is named twice"),
    "a label twice": ({"label": ["stars", "stars"]}, "the column 'stars' is named twice"),
    "neither text nor pictures": ({"text": None, "image": None}, "name the column of the texts"),
    "two kinds of pictures": ({"clip": "image"}, "image= and clip= were both given"),
    "another encoder": ({"encoders": "huge"}, "unknown choice 'huge'; choose from small, base, full"),
    "no seeds": ({"seeds": 0}, "seeds: expected 1 or more, found 0"),
    "a kind of no label": ({"kind": {"mood": "classes"}}, "kind: 'mood' is none of the labels sentiment"),
    "one group": ({"group": "same"}, "60 posts in 1 group: at least three groups"),
    "free text as label": ({"label": "id"}, "every label|different labels|only row"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_trained_is_said_before_any_work(make_posts, train, what, monkeypatch):
    options, message = BAD[what]
    monkeypatch.setattr(learn, "fit", None)
    with pytest.raises(DataError, match=message):
        train(make_posts().assign(same="x", id=[f"row {n}" for n in range(60)]), **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (0, "no rows|no row has a label"),
        (3, "only row|every label"),
        (12, "12 posts with a label, and 20 are the least"),
    ],
)
def test_a_handful_of_posts_is_refused(make_posts, train, rows, message):
    with pytest.raises(DataError, match=message):
        train(make_posts().head(rows))


def test_a_folder_that_is_used_is_left_alone(make_posts, train, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="model: is there already; name another folder"):
        train(make_posts(), out=tmp_path / "model")
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"


def test_names_of_columns_may_be_anything(make_posts, train):
    table = make_posts().rename(columns={"sentiment": "type.of", "stars": "index", "text": "id", "image": "group"})
    model = train(table, text="id", image="group", label=["type.of", "index"])
    assert set(model.report.scores["label"]) == {"type.of", "index"}


def test_a_report_comes_back_and_a_damaged_one_is_named(make_posts, train, tmp_path):
    report = train(make_posts(), label=LABELS).report
    report.save(tmp_path)
    again = Report.load(tmp_path)
    pd.testing.assert_frame_equal(again.scores, report.scores, rtol=1e-5)
    assert again.verdicts() == report.verdicts()
    assert len(report.figures()) == 2
    content = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**content, "tasks": 3}))
    with pytest.raises(DataError, match=r"report\.json: cannot be read as a report"):
        Report.load(tmp_path)
    assert Report.load(tmp_path / "nowhere") is None


def test_a_row_is_explained_by_the_columns_that_were_learned_from(make_posts, train, tmp_path):
    table = make_posts().rename(columns={"text": "words"})
    model = train(table, text="words", label="liked")
    post = model.explain(table.iloc[3], media_root=tmp_path)
    assert post.says in ("no", "yes") and post.score > 0 and post.kind == "image"
    assert len(post.text["gradients"]) == len(post.tokens) > 0
    with pytest.raises(DataError, match="the row: no column 'words'"):
        model.explain({"text": "so"}, media_root=tmp_path)
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        model.explain({"words": "so", "image": "gone.png"}, media_root=tmp_path)
    model.columns = None
    with pytest.raises(DataError, match="this model was not trained on a table"):
        model.explain(table.iloc[3])


def test_predictions_come_in_the_words_of_the_labels(make_posts, train, tmp_path):
    table = make_posts()
    scored = train(table, label=LABELS).predict(table.head(4), media_root=tmp_path, progress=False)
    assert set(scored["pred_sentiment"]) <= {"good", "bad", "neither"} and set(scored["pred_liked"]) <= {"no", "yes"}
    assert scored["pred_stars"].dtype.kind == "f" and scored["text"].tolist() == table["text"].tolist()[:4]
    np.testing.assert_allclose(
        scored[["p_sentiment_bad", "p_sentiment_good", "p_sentiment_neither"]].sum(axis=1), 1, atol=1e-5
    )
