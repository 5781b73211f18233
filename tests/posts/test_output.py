"""A scored file is whole or not there, and a run that was interrupted goes on where it stopped."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from gexsent import cli
from gexsent.errors import DataError
from gexsent.model import load_model, save_model
from gexsent.posts import files, output
from gexsent.posts.score import Job
from gexsent.predictor import Predictor

ROWS = 21  # three pieces of eight, the last of five


@pytest.fixture
def table(tmp_path):
    texts = [f"what a {'glorious' if n % 3 else 'terrible'} soup {n}" for n in range(ROWS)]
    texts[4], texts[5], texts[6] = "", 'said "so", then\nleft', "שלום 😀"
    path = tmp_path / "posts.csv"
    pd.DataFrame({"id": [f"{n:03}" for n in range(ROWS)], "text": texts}).to_csv(path, index=False)
    return path


def score(model, table, out, **options):
    model.predict(table, out=out, progress=False, **options)
    return out.read_bytes()


@pytest.fixture
def stop(monkeypatch):
    """Break off after so many finished pieces."""

    def after(count, error=KeyboardInterrupt):
        left = [count]
        add = output.Output.add

        def counted(self, *given):
            if not left[0]:
                raise error
            left[0] -= 1
            add(self, *given)

        monkeypatch.setattr(output.Output, "add", counted)
        return lambda: monkeypatch.setattr(output.Output, "add", add)

    return after


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype={"id": str}, keep_default_na=False)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_file_holds_what_is_returned(model, table, tmp_path, small_pieces, ending, capsys):
    wanted = model.predict(table, progress=False)
    assert model.predict(table, out=tmp_path / f"scored{ending}", progress=False) is None
    assert capsys.readouterr().err == f"1 of {ROWS} rows have something in the column `error`\n" * 2
    found = read(tmp_path / f"scored{ending}")
    assert list(found) == list(wanted)
    for name in ("id", "text", "error", "cut"):
        assert found[name].tolist() == wanted[name].tolist()
    scored = wanted["pred_intensity"].notna()
    for name in ("pred_intensity", "p_sentiment_positive"):
        assert pd.to_numeric(found[name][scored]).tolist() == wanted[name][scored].tolist()
    assert found["pred_sentiment"][scored].tolist() == wanted["pred_sentiment"][scored].tolist()
    assert files.missing(found["pred_sentiment"][~scored].item())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["posts.csv", f"scored{ending}"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(
    model, table, tmp_path, small_pieces, stop, capsys, ending, pieces
):
    wanted = score(model, table, tmp_path / f"whole{ending}")
    out = tmp_path / f"scored{ending}"
    go_on = stop(pieces)
    with pytest.raises(KeyboardInterrupt):
        score(model, table, out)
    assert not out.exists()
    go_on()
    capsys.readouterr()
    encode, texts = type(model.text).encode_batch, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.text), "encode_batch", lambda self, some: texts.extend(some) or encode(self, some))
        assert score(model, table, out) == wanted
    assert len(texts) == ROWS - 1 - (8 * pieces - (pieces > 0))  # one text of the first piece is empty
    said = f"{out}.partial: going on after {8 * pieces} rows\n" if pieces else ""
    assert capsys.readouterr().err == said + f"1 of {ROWS} rows have something in the column `error`\n"
    assert not out.with_name(out.name + ".partial").exists()


def other_table(folder, table):
    table.write_text(table.read_text().replace("glorious", "lovely"))
    return folder, {}


def other_model(folder, table):
    model, config = load_model(folder)
    model.text_in.mean += 0.5
    save_model(model, config, folder)
    return folder, {}


@pytest.mark.parametrize("change", [other_table, other_model, lambda folder, table: (folder, {"text": "id"})])
def test_another_table_model_or_choice_of_columns_starts_over(
    folder, table, tmp_path, small_pieces, stop, capsys, change
):
    own = shutil.copytree(folder, tmp_path / "model")
    out = tmp_path / "scored.csv"
    go_on = stop(2)
    with pytest.raises(KeyboardInterrupt):
        score(Predictor.from_pretrained(own), table, out)
    go_on()
    own, options = change(own, table)
    model = Predictor.from_pretrained(own)
    wanted = score(model, table, tmp_path / "whole.csv", **options)
    capsys.readouterr()
    assert score(model, table, out, **options) == wanted
    assert capsys.readouterr().err.startswith(
        f"{out}.partial: was begun with another table, model or choice of columns; starting over\n"
    )


@pytest.mark.parametrize("damage", ["journal", "piece"])
def test_what_is_damaged_is_made_again(model, table, tmp_path, small_pieces, stop, damage):
    wanted = score(model, table, tmp_path / "whole.csv")
    out = tmp_path / "scored.csv"
    go_on = stop(2)
    with pytest.raises(KeyboardInterrupt):
        score(model, table, out)
    go_on()
    name = {"journal": "journal.json", "piece": "000001.csv"}[damage]
    (tmp_path / "scored.csv.partial" / name).write_text("{")
    assert score(model, table, out) == wanted


def refuse(count, kind):
    """In place of a function that writes: the disk is full at its call number `count`."""
    calls = []

    def write(function):
        def wrapped(*given):
            calls.append(given)
            if len(calls) > count:
                raise OSError(kind, os.strerror(kind))
            return function(*given)

        return wrapped

    return write


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_full_disk_is_explained_and_what_is_scored_is_kept(model, table, tmp_path, small_pieces, monkeypatch, ending):
    wanted = score(model, table, tmp_path / f"whole{ending}")
    out = tmp_path / f"scored{ending}"
    with monkeypatch.context() as patch:
        patch.setattr(output, "write_atomically", refuse(4, errno.ENOSPC)(output.write_atomically))
        with pytest.raises(
            DataError, match=f"scored{ending}: cannot be written: No space left on device; .* after 16 rows"
        ):
            score(model, table, out)
    with monkeypatch.context() as patch:
        patch.setattr(output.Output, "_join", refuse(0, errno.ENOSPC)(None))
        with pytest.raises(DataError, match=f"scored{ending}: cannot be written: No space left .* after 21 rows"):
            score(model, table, out)
    assert not out.exists()
    assert not any(path.name.startswith("whole") for path in (tmp_path / f"scored{ending}.partial").iterdir())
    assert score(model, table, out) == wanted


def test_an_output_that_exists_is_kept_unless_it_may_be_replaced(model, table, tmp_path):
    out = tmp_path / "scored.csv"
    out.write_text("mine")
    with pytest.raises(DataError, match=r"scored\.csv: exists; name another file, or replace it with --overwrite"):
        score(model, table, out)
    assert out.read_text() == "mine"
    assert score(model, table, out, overwrite=True).startswith(b"id,text,pred_intensity,")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone/scored.csv", r"scored\.csv: there is no folder .*gone; make it first"),
        ("scored.xlsx", r"scored\.xlsx: \.xlsx ending; the output is one of \.csv"),
        ("scored", "scored: no ending"),
        ("folder.csv", r"folder\.csv: is a folder; name a file"),
        ("posts.csv", r"posts\.csv: is the table that is read; name another file"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(model, table, tmp_path, monkeypatch, name, message):
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr(Job, "scored", None)
    with pytest.raises(DataError, match=message):
        model.predict(table, out=tmp_path / name, overwrite=True)


def test_texts_come_back_from_csv_as_they_were(model, tmp_path):
    texts = ["a\rb", "a\r\nb", 'q"q', " so ", "NA", "=1+1", "half \ud83d", "tab\tso", "שלום"]
    score(model, pd.DataFrame({"text": texts}, dtype=object), tmp_path / "scored.csv")
    texts[6] = "half ?"
    assert files.read(tmp_path / "scored.csv")["text"].tolist() == texts


def test_a_column_of_several_kinds_is_refused_by_parquet_before_any_work(model, tmp_path, small_pieces, monkeypatch):
    rows = [{"text": "so", "n": n} for n in range(20)] + [{"text": "so", "n": "twenty"}, {"text": "so"}]
    table = tmp_path / "posts.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(score(model, table, tmp_path / "scored.jsonl").splitlines()) == 22
    monkeypatch.setattr(Job, "scored", None)
    with pytest.raises(
        DataError, match=r"posts\.jsonl: column 'n' holds values of several kinds, which Parquet does not"
    ):
        model.predict(table, out=tmp_path / "scored.parquet")


def test_columns_that_only_some_rows_have_fit_into_parquet(model, tmp_path, small_pieces):
    rows = [{"text": "so"}] * 9 + [{"text": "so", "n": 1.5, "v": [1, 2]}]
    table = tmp_path / "posts.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score(model, table, tmp_path / "scored.parquet")
    found = pd.read_parquet(tmp_path / "scored.parquet")
    assert found["n"].isna().tolist() == [True] * 9 + [False]
    assert found["v"].iloc[-1].tolist() == [1, 2]


def test_standard_input_to_standard_output(model, table, tmp_path, monkeypatch, small_pieces):
    wanted = score(model, table, tmp_path / "whole.csv")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(table.read_bytes())))
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written))
    model.predict("-", out="-", progress=False)
    assert written.getvalue() == wanted


@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet"])
def test_standard_input_to_a_file(model, table, tmp_path, monkeypatch, small_pieces, stop, name):
    wanted = score(model, table, tmp_path / name.replace("scored", "whole"))
    go_on = stop(1)
    for count in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(table.read_bytes())))
        if count:
            assert score(model, "-", tmp_path / name) == wanted
        else:
            with pytest.raises(KeyboardInterrupt):
                score(model, "-", tmp_path / name)
            go_on()


def test_memory_stays_flat(model, tmp_path, small_pieces, monkeypatch):
    """Of a long table no more than a piece is held: nothing keeps one that has been written."""
    import gc
    import weakref

    table = tmp_path / "posts.csv"
    table.write_text("text\n" + "so\n" * 40)
    pieces, alive = [], []
    add = output.Output.add

    def watched(self, piece, errors):
        gc.collect()
        alive.append(sum(old() is not None for old in pieces))
        pieces.append(weakref.ref(piece))
        add(self, piece, errors)

    monkeypatch.setattr(output.Output, "add", watched)
    score(model, table, tmp_path / "scored.csv")
    assert len(pieces) == 5 and max(alive) <= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_half_way_goes_on(folder, tmp_path, monkeypatch, capsys, number):
    lots = np.random.default_rng(0)
    words = ["what", "a", "glorious", "soup", "terrible"]
    table = tmp_path / "posts.csv"
    table.write_text("text\n" + "".join(" ".join(lots.choice(words, 40)) + "\n" for _ in range(1000)))
    arguments = ["predict", str(table), "--model", str(folder), "--out"]
    few = (
        "from gexsent.posts import files; files.opened.__kwdefaults__['rows'] = 32; from gexsent import cli; cli.main()"
    )
    journal = tmp_path / "scored.csv.partial" / "journal.json"
    process = subprocess.Popen(
        [sys.executable, "-c", few, *arguments, str(tmp_path / "scored.csv")], stderr=subprocess.PIPE, text=True
    )
    while not journal.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "Traceback" not in said and "gexsent: interrupted; a run with --out goes on when" in said
    assert not (tmp_path / "scored.csv").exists()
    monkeypatch.setattr(files.opened, "__kwdefaults__", {"rows": 32})
    cli.main([*arguments, str(tmp_path / "scored.csv")])
    assert "scored.csv.partial: going on after" in capsys.readouterr().err
    cli.main([*arguments, str(tmp_path / "whole.csv")])
    assert "going on" not in capsys.readouterr().err
    assert (tmp_path / "scored.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
