"""The command `gexsent`: what it prints, and one clear line with status 2 for a fault in the user's input."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from gexsent import __version__, cli, notebooks, params, tasks
from gexsent.datasets import SPOKEN
from gexsent.encoders.record import EncoderRecord
from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder
from gexsent.model import ModelConfig, build, save_model
from gexsent.predictor import Predictor
from gexsent.sample import generate

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """The folder of an untrained model of images with the tiny encoders."""
    folder = tmp_path_factory.mktemp("fit")
    encode = params.load(PROJECT / "params.yaml", "sample").encode
    text = load_text_encoder(encode.text, max_tokens=encode.max_tokens)
    vision = load_vision_encoder(encode.vision)
    config = ModelConfig(
        system="gexsent",
        text_features=text.width,
        vision_features=vision.image_width,
        outputs={"intensity": 1, "sentiment": 3},
        temporal=False,
        frames=1,
        **asdict(params.load(PROJECT / "params.yaml", "quick").model),
    )
    torch.manual_seed(0)
    save_model(build(config), config, folder)
    tasks.save(SPOKEN, folder)
    EncoderRecord.of(encode, text.fingerprint, vision.fingerprint).write(folder)
    return folder


def fails(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return caught.value.code


def one_line(capsys):
    """The only line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_predict_prints_json_as_the_predictor_gives_it(fit, tmp_path, capsys):
    picture = tmp_path / "a picture.png"
    Image.new("RGB", (80, 60), "orange").save(picture)
    cli.main(["predict", "--model", str(fit), "--text", "what a nice hotel", "--image", str(picture)])
    shown = json.loads(capsys.readouterr().out)
    assert shown == Predictor.from_pretrained(fit)("what a nice hotel", image=picture)
    assert shown.keys() == {"intensity", "sentiment", "probabilities"}


def test_a_text_that_begins_with_a_dash_is_a_text(fit, capsys):
    cli.main(["predict", "--model", str(fit), "--text=--what a mess"])
    assert json.loads(capsys.readouterr().out) == Predictor.from_pretrained(fit)("--what a mess")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "gexsent: nothing to score: give a text, an image or a clip"),
        (("--image", "gone.png"), "gexsent: gone.png: there is no such file"),
        (("--image", "a.png", "--clip", "b.mp4"), "gexsent: image and clip were both given: choose one visual input"),
        (("--text", "so", "--clip", "b.mp4"), "gexsent: this model was trained on images"),
    ],
)
def test_predict_says_in_one_line_what_is_wrong_with_the_input(fit, capsys, arguments, message):
    assert fails("predict", "--model", fit, *arguments) == 2
    assert one_line(capsys).startswith(message)


def test_predict_says_in_one_line_what_is_wrong_with_the_model(tmp_path, capsys):
    assert fails("predict", "--model", tmp_path, "--text", "so") == 2
    assert "encoders.json: cannot be read" in one_line(capsys)


@pytest.fixture
def table(tmp_path):
    """Three posts, the second with a picture that is not there, and the third empty."""
    Image.new("RGB", (80, 60), "orange").save(tmp_path / "a.png")
    path = tmp_path / "posts.csv"
    path.write_text("id,caption,photo\n007,what a nice hotel,a.png\n008,NA,gone.png\n009,,\n")
    return path


NAMED = ("--text", "caption", "--image", "photo")


def test_predict_scores_a_table_as_the_predictor_does(fit, table, tmp_path, capsys):
    out = tmp_path / "scored.csv"
    cli.main(["predict", str(table), "--model", str(fit), *NAMED, "--out", str(out)])
    assert capsys.readouterr().err.endswith("2 of 3 rows have something in the column `error`\n")
    found = pd.read_csv(out, dtype=str, keep_default_na=False)
    wanted = Predictor.from_pretrained(fit).predict(table, text="caption", image="photo", progress=False)
    assert list(found) == list(wanted)
    assert found["id"].tolist() == ["007", "008", "009"] and found["caption"].tolist() == [
        "what a nice hotel",
        "NA",
        "",
    ]
    assert found["pred_intensity"].tolist()[:2] == [str(value) for value in wanted["pred_intensity"][:2]]
    assert found["error"].tolist() == wanted["error"].tolist()


def test_predict_writes_to_standard_output_unless_told_otherwise(fit, table, capfdbinary):
    cli.main(["predict", str(table), "--model", str(fit), "--text", "caption"])
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines[0].startswith(b"id,caption,photo,pred_intensity,pred_sentiment,p_sentiment_negative,")
    assert [line.split(b",")[0] for line in lines[1:]] == [b"007", b"008", b"009"]


def test_predict_replaces_a_file_only_when_told_to(fit, table, tmp_path, capsys):
    out = tmp_path / "scored.jsonl"
    out.write_text("mine")
    arguments = ["predict", str(table), "--model", str(fit), "--text", "caption", "--out", str(out)]
    assert fails(*arguments) == 2
    assert "scored.jsonl: exists" in one_line(capsys) and out.read_text() == "mine"
    cli.main([*arguments, "--overwrite"])
    assert json.loads(out.read_text().splitlines()[0])["id"] == "007"


def test_predict_looks_for_pictures_where_it_is_told_to(fit, table, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "a.png").rename(other / "a.png")
    for root, problem in (((), True), (("--media-root", str(other)), False)):
        out = tmp_path / f"{problem}.jsonl"
        cli.main(["predict", str(table), "--model", str(fit), *NAMED, "--out", str(out), *root])
        assert ("no such file" in json.loads(out.read_text().splitlines()[0])["error"]) == problem


def test_predict_draws_cards_of_the_first_rows(fit, table, tmp_path, capsys):
    arguments = ["predict", str(table), "--model", str(fit), *NAMED, "--explain", str(tmp_path / "cards")]
    cli.main([*arguments, "--out", str(tmp_path / "a.csv"), "--most", "1"])
    assert sorted(path.name for path in (tmp_path / "cards").glob("*.png")) == ["row_0002.png"]
    cli.main([*arguments, "--out", str(tmp_path / "b.csv")])
    assert sorted(path.name for path in (tmp_path / "cards").glob("*.png")) == ["row_0002.png", "row_0003.png"]
    assert capsys.readouterr().err.endswith(f"2 cards in {tmp_path / 'cards'}\n")
    arguments[1] = "-"
    assert fails(*arguments) == 2
    assert "--explain: standard input can be read but once" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.csv",), "gexsent: gone.csv: there is no such file"),
        (("posts.csv",), "gexsent: posts.csv: no column is called text or image or vision; name the one to score"),
        (("posts.csv", "--text", "words"), "gexsent: posts.csv: no column 'words'; its columns are id, caption, photo"),
        (
            ("posts.csv", "--text", "caption", "--clip", "photo"),
            "gexsent: posts.csv: column 'photo': this model was trained",
        ),
        (("posts.csv", "--image", "photo", "--vision", "photo"), "gexsent: image= and vision= were both given"),
        (("posts.csv", "--text", "caption", "--out", "gone/a.csv"), "gexsent: gone/a.csv: there is no folder gone"),
        (("posts.csv", "--text", "caption", "--media-root", "gone"), "gexsent: gone: there is no such folder"),
        (("posts.csv", "--text", "caption", "--explain", "cards", "--most", "0"), "gexsent: --most 0: at least 1"),
        ((".",), "gexsent: .: holds no picture and no clip"),
        (("--out", "a.csv"), "gexsent: --out goes with a TABLE"),
        (("--media-root", "."), "gexsent: --media-root goes with a TABLE"),
    ],
)
def test_predict_says_in_one_line_what_is_wrong_with_a_table(fit, table, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(table.parent)
    (table.parent / "a.png").unlink()
    assert fails("predict", *arguments, "--model", fit) == 2
    assert one_line(capsys).startswith(message)


def test_predict_stops_quietly_when_nobody_reads_on(fit, tmp_path):
    table = tmp_path / "posts.csv"
    table.write_text("text\n" + "so nice\n" * 2000)
    command = [sys.executable, "-m", "gexsent", "predict", str(table), "--model", str(fit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 1 and "Traceback" not in said and "Exception ignored" not in said


def test_version(capsys):
    assert fails("--version") == 0
    assert capsys.readouterr().out == f"gexsent {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("predict", "--text", "so"), ("unknown",), ("data",), ("source",)])
def test_what_is_lacking_on_the_command_line_ends_with_usage(arguments, capsys):
    assert fails(*arguments) == 2
    assert capsys.readouterr().err.startswith("usage: gexsent")


def test_source_names_the_layout_or_says_that_a_data_set_is_left_out(project, capsys):
    generate.generate(project / "data" / "raw" / "mosi", "mosi", rows=11, seed=1)
    cli.main(["source", "--edition", "lite"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["mosi", "mosei", "memotion"]
    assert "left out" not in lines[0]
    assert lines[1:] == ["mosei: not found; it will be left out", "memotion: not found; it will be left out"]


def test_data_check_describes_what_was_found_and_what_is_lacking(project, capsys):
    generate.generate(project / "data" / "raw" / "mosi", "mosi", rows=20, seed=1)
    cli.main(["data", "check", "mosi", "memotion"])
    shown = capsys.readouterr().out
    assert str(project / "data" / "raw") in shown
    assert "mosi" in shown and "20" in shown
    assert "memotion" in shown
    assert "mosei" not in shown


def test_data_check_of_faulty_data_ends_with_status_2_and_names_the_file(project, capsys):
    generate.generate(project / "data" / "raw" / "mosi", "mosi", rows=11, seed=1)
    (project / "data" / "raw" / "mosi" / "label.csv").write_bytes(b"")
    assert fails("data", "check", "mosi") == 2
    assert "label.csv" in capsys.readouterr().err


def test_outside_a_project_it_says_where_to_go(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fails("source", "--edition", "lite") == 2
    assert one_line(capsys).endswith("cd into the project")


def test_notebook_passes_name_edition_and_data_set(project, monkeypatch):
    calls = []

    def execute(name, workspace, per_dataset):
        calls.append((name, workspace.edition, workspace.dataset, per_dataset))

    monkeypatch.setattr(notebooks, "execute", execute)
    cli.main(["notebook", "03_train", "--edition", "lite", "--dataset", "mosei"])
    cli.main(["notebook", "05_tables", "--edition", "sample"])
    assert calls[0] == ("03_train", "lite", "mosei", True)
    assert (calls[1][0], calls[1][1], calls[1][3]) == ("05_tables", "sample", False)


def test_an_unknown_data_set_or_edition_is_named(project, capsys):
    assert fails("notebook", "03_train", "--edition", "lite", "--dataset", "sst") == 2
    assert "unknown data set 'sst'" in one_line(capsys)
    assert fails("notebook", "03_train", "--edition", "huge", "--dataset", "mosi") == 2
    assert "edition 'huge' is not under editions" in one_line(capsys)


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import gexsent.cli, gexsent.reproduce", "numpy torch pandas sklearn dvc nbformat matplotlib"),
        ("import gexsent.stages.source", "numpy torch pandas"),
        ("import gexsent.stages.prepare", "torch sklearn matplotlib"),
        ("import gexsent.stages.train", "sklearn transformers open_clip matplotlib"),
    ],
)
def test_what_a_command_does_not_need_is_not_imported(code, unwanted):
    check = f"import sys; {code}; print(*[name for name in {unwanted.split()} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_notebook_starts_without_compiling_a_grammar_that_it_does_not_need(project):
    check = (
        "import sys; from gexsent import cli\n"
        "try: cli.main(['notebook', '08_gone', '--edition', 'sample'])\n"
        "except SystemExit: print(*[name for name in ('nbformat', 'lark') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["nbformat"]


def test_audit_opens_the_workspace_of_its_edition_and_data_set(project, monkeypatch):
    from gexsent.stages import audit

    seen = []
    monkeypatch.setattr(audit, "run", lambda workspace: seen.append((workspace.edition, workspace.dataset)))
    cli.main(["audit", "--edition", "lite", "--dataset", "mosei"])
    assert seen == [("lite", "mosei")]
    with pytest.raises(SystemExit):
        cli.main(["audit", "--edition", "lite"])
