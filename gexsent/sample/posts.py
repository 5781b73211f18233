"""A generated table with the columns of one's own, so that an entry of params.yaml can be tried before there are any data."""

import random
from pathlib import Path

import pandas as pd

from gexsent.datasets import TableSpec
from gexsent.sample.faces import Person
from gexsent.sample.generate import draw_clip, draw_meme
from gexsent.sample.scripts import write

POSTS = 3  # of a user


def write_table(folder: Path, table: TableSpec, rows: int, rng: random.Random) -> list[list]:
    """Write the table and what it names; returns the rows of truth.csv."""
    lines, truth, seen = [], [], set()
    users = range(-(-rows // POSTS))
    parts = {user: rng.choices(("train", "valid", "test"), (6, 2, 3))[0] for user in users}
    parts |= dict(zip(users, ("train", "valid", "test"), strict=False))  # one of each at least
    for row in range(rows):
        script, id_ = write(rng), f"post{row:04d}"
        while script.text in seen:  # a repeated text would tie two users to one another
            script = write(rng)
        seen.add(script.text)
        line = {table.id: id_, table.text: script.text, table.group: f"user{row // POSTS}"}
        if table.image:
            line[table.image] = f"images/{id_}.png"
            (folder / "images").mkdir(exist_ok=True)
            draw_meme(folder / line[table.image], script, rng)
        if table.clip:
            line[table.clip] = f"clips/{id_}.mp4"
            (folder / "clips").mkdir(exist_ok=True)
            draw_clip(folder / line[table.clip], Person.draw_lots(rng), script.face / 2, rng)
        if table.split:
            line[table.split] = parts[row // POSTS]
        for name, label in table.labels.items():
            if name == "intensity":
                cell = f"{label.low + (script.intensity + 3) / 6 * (label.high - label.low):.3f}"
            else:
                code = int(script.intensity > 0.35) - int(script.intensity < -0.35)
                cell = min(label.values, key=lambda word: abs(label.values[word] - code))
            line[label.column] = cell
        line.pop(None, None)  # columns that the table has not
        lines.append(line)
        truth.append([id_ if table.id else f"row{row + 2}", script.words, script.face, int(script.sarcastic)])
    path = folder / table.file
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(lines)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix in (".jsonl", ".ndjson"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
    return truth
