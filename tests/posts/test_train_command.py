"""`gexsent train`: the same as gexsent.fit, from the shell."""

import json

import pytest

from gexsent import cli
from gexsent.posts import fit as module

TINY = ["--text-encoder", "tiny-modernbert", "--vision-encoder", "tiny-clip"]


@pytest.fixture
def table(make_posts, tmp_path, monkeypatch):
    """The path of a table, with the cache of features beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "posts.csv"
    make_posts().to_csv(path, index=False)
    return path


def test_it_trains_says_how_good_the_model_is_and_saves_it(table, tmp_path, quickly, capsys):
    command = ["train", str(table), "--text", "text", "--image", "image", "--label", "sentiment", "--label", "stars"]
    cli.main([*command, *TINY, "--seeds", "1", "--group", "user", "--out", str(tmp_path / "model")])
    said = capsys.readouterr().out
    assert "sentiment: 3 classes" in said and "GEXSent" in said and f"Saved in {tmp_path / 'model'}" in said
    assert [task["label"] for task in json.loads((tmp_path / "model" / "tasks.json").read_text())] == [
        "sentiment",
        "stars",
    ]
    assert (tmp_path / "cache" / "gexsent" / "features.sqlite").exists()
    cli.main(["predict", "--model", str(tmp_path / "model"), "--text", "what a nice day"])
    assert set(json.loads(capsys.readouterr().out)) == {"sentiment", "probabilities", "stars"}


def test_every_option_reaches_the_fit(table, tmp_path, monkeypatch):
    seen = {}

    def watched(table, **options):
        seen.update(options, table=table)
        raise module.DataError("seen")

    monkeypatch.setattr(module, "fit", watched)
    options = {
        "--label": "a", "--text": "b", "--clip": "c", "--kind": "levels", "--group": "d", "--split": "e",
        "--media-root": str(tmp_path), "--max-tokens": "9", "--seeds": "4", "--out": str(tmp_path / "m"),
        "--encoders": "base", "--text-encoder": "own",
    }  # fmt: skip
    with pytest.raises(SystemExit):
        cli.main(["train", str(table), *(part for pair in options.items() for part in pair)])
    assert seen["encoders"] == module.CHOICES["base"]._replace(text="own")
    assert (seen["label"], seen["text"], seen["clip"], seen["image"], seen["vision"]) == (["a"], "b", "c", None, None)
    assert (seen["kind"], seen["group"], seen["split"], seen["max_tokens"], seen["seeds"]) == ("levels", "d", "e", 9, 4)
    assert (seen["media_root"], seen["out"]) == (tmp_path, tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "mood"], "gexsent: {table}: no column 'mood'; its columns are text, image"),
        (["--label", "stars", "--encoders", "huge"], "gexsent: --encoders: expected small, base, full, found 'huge'"),
        (["--label", "stars", "--image", "image", "--text", "words"], "gexsent: {table}: no column 'words'"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(table, tmp_path, capsys, options, message):
    given = options if "--text" in options else [*options, "--text", "text"]
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", str(table), *given, "--out", str(tmp_path / "model")])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message.format(table=table))
    assert not (tmp_path / "model").exists()
