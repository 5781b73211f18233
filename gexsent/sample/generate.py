"""Write the sample as a user's own files: label.csv with clips for MOSI and MOSEI, labels.csv, labels_test.csv and images
for Memotion.

Only the standard library is imported at the top: `is_current` runs on every `dvc repro`.
"""

import csv
import hashlib
import json
import random
import shutil
from pathlib import Path

from gexsent import datasets
from gexsent.errors import DataError
from gexsent.sample.scripts import Script, write

VERSION = 3  # raise it when the drawing changes
MANIFEST = "manifest.json"
TRUTH = "truth.csv"
CLIPS_PER_VIDEO = 5
# Something to train on, to validate on and to test on: three videos, or memes enough for two blocks beside a test set.
LEAST = {"clips": 2 * CLIPS_PER_VIDEO + 1, "memes": 5, "table": 10}
FRAMES, RATE, SIDE = 10, 10, 96
MEME_SIDE = 160
SENTIMENTS = ("very_negative", "negative", "neutral", "positive", "very_positive")
NAMES = {
    "humour": ("not_funny", "funny", "very_funny", "hilarious"),
    "sarcasm": ("not_sarcastic", "general", "twisted_meaning", "very_twisted"),
    "offensive": ("not_offensive", "slight", "very_offensive", "hateful_offensive"),
    "motivational": ("not_motivational", "motivational"),
}


def is_current(root: Path, dataset: str, *, rows: int, seed: int) -> bool:
    """Whether root holds this sample whole: the manifest's description and the size of each file agree."""
    try:
        manifest = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    if manifest["description"] != _description(dataset, rows, seed):
        return False
    return all((root / name).is_file() and (root / name).stat().st_size == size for name, size in manifest["files"])


def generate(root: Path, dataset: str, *, rows: int, seed: int) -> None:
    """Write `rows` samples of a data set into root, replacing what is there; whole or not at all.

    truth.csv beside them holds what the label was made from: id, words, face, sarcastic.

    Raises:
        DataError: too few rows to train, validate and test on.
    """
    spec = datasets.spec(dataset)
    layout = spec.layout
    if rows < LEAST[layout]:
        raise DataError(f"data.rows: {dataset} cannot be generated with {rows} rows; {LEAST[layout]} are the least")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rng = random.Random(int.from_bytes(hashlib.sha256(f"{dataset} {seed}".encode()).digest()[:8]))
    if layout == "table":
        from gexsent.sample.posts import write_table

        truth = write_table(partial, spec.table, rows, rng)
    else:
        truth = (_memes if layout == "memes" else _clips)(partial, rows, rng)
    _table(partial / TRUTH, ["id", "words", "face", "sarcastic"], truth)
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest = {
        "description": _description(dataset, rows, seed),
        "files": [(path.relative_to(partial).as_posix(), path.stat().st_size) for path in files],
    }
    (partial / MANIFEST).write_text(json.dumps(manifest))
    shutil.rmtree(root, ignore_errors=True)
    partial.rename(root)


def _description(dataset: str, rows: int, seed: int) -> dict:
    return {"version": VERSION, "dataset": dataset, "rows": rows, "seed": seed}


def _clips(folder: Path, rows: int, rng: random.Random) -> list[list]:
    from gexsent.sample.faces import Person

    videos = -(-rows // CLIPS_PER_VIDEO)
    modes = ["train"] * videos
    test, valid = max(1, round(0.25 * videos)), max(1, round(0.15 * videos))
    modes[:test], modes[test : test + valid] = ["test"] * test, ["valid"] * valid
    rng.shuffle(modes)
    table, truth = [], []
    for row in range(rows):
        video, clip = divmod(row, CLIPS_PER_VIDEO)
        if clip == 0:
            person = Person.draw_lots(rng)
            name = f"{'-' if video % 7 == 3 else ''}v{video:03d}"  # some real ids begin with a dash
            (folder / "Raw" / name).mkdir(parents=True)
        script = write(rng)
        draw_clip(folder / "Raw" / name / f"{clip}.mp4", person, script.face / 2, rng)
        annotation = "Positive" if script.intensity > 0 else "Negative" if script.intensity < 0 else "Neutral"
        table.append([name, clip, script.text, f"{script.intensity:.1f}", annotation, modes[video], 0])
        truth.append([f"{name}$_${clip}", script.words, script.face, int(script.sarcastic)])
    header = ["video_id", "clip_id", "text", "label", "annotation", "mode", "label_by"]
    _table(folder / "label.csv", header, table)
    return truth


def draw_clip(path: Path, person, expression: float, rng: random.Random) -> None:
    import av

    from gexsent.sample.faces import draw

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)  # one thread: the same bytes each time
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.bit_rate, stream.thread_type, stream.thread_count = "yuv420p", 120_000, "NONE", 1
        sway = rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)
        for index in range(FRAMES):
            part = min(1.0, 1.6 * index / (FRAMES - 1))  # from neutral to the expression, which then stays
            moved = sway[0] * (1 - part), sway[1] * (1 - part)
            frame = av.VideoFrame.from_image(draw(person, expression * part, SIDE, shift=moved))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _memes(folder: Path, rows: int, rng: random.Random) -> list[list]:
    # Like a user who has the organisers' test set: one official split, not five folds.
    test = max(1, round(0.25 * rows))
    tables: dict[str, list] = {"labels.csv": [], "labels_test.csv": []}
    truth, seen = [], set()
    for row in range(rows):
        part, images = ("labels.csv", "images") if row < rows - test else ("labels_test.csv", "images_test")
        script, name = write(rng), f"image_{row + 1}.png"
        while script.text in seen:  # a repeated text would tie a training meme to a test meme
            script = write(rng)
        seen.add(script.text)
        (folder / images).mkdir(exist_ok=True)
        draw_meme(folder / images / name, script, rng)
        # As in the real files, some corrected texts are blank beside an OCR text, and some labels are missing.
        corrected = "" if rng.random() < 0.03 else script.text
        labels = [NAMES[category][getattr(script, category)] for category in NAMES]
        if rng.random() < 0.05:
            labels = [""] * 4
        sentiment = SENTIMENTS[sum(script.intensity > edge for edge in (-1.7, -0.35, 0.35, 1.7))]
        tables[part].append([row, name, script.text.upper(), corrected, *labels, sentiment])
        truth.append([name, script.words, script.face, int(script.sarcastic)])
    header = ["", "image_name", "text_ocr", "text_corrected", *NAMES, "overall_sentiment"]
    for name, table in tables.items():
        _table(folder / name, header, table)
    return truth


def draw_meme(path: Path, script: Script, rng: random.Random) -> None:
    from PIL import Image, ImageDraw, ImageFont

    from gexsent.sample.faces import Person, draw

    words = script.text.split()
    lines, limit = [""], 26
    for word in words:
        if len(lines[-1]) + len(word) > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    person = Person.draw_lots(rng)
    image = Image.new("RGB", (MEME_SIDE, MEME_SIDE), "white")
    face = MEME_SIDE - 44
    image.paste(draw(person, script.face / 2, face), ((MEME_SIDE - face) // 2, 0))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(10)
    for index, line in enumerate(lines[:4]):
        pen.text((MEME_SIDE / 2, face + 5 + 10 * index), line, fill="black", font=font, anchor="mt")
    image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def _table(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
