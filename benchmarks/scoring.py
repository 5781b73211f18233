"""How fast a table of texts is scored, as a ratio to a loop over single calls in the same run.

Baseline: `Predictor(text)` for each text. Compared: one `Predictor.predict` of the table. Prints how many times as fast it
is, and the largest difference between the two, which may be no more than 1e-5. By default an untrained model on the tiny
encoder of the sample; `--model FOLDER` for another that has a text encoder.
"""

import argparse
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gexsent import params, tasks
from gexsent.datasets import SPOKEN
from gexsent.encoders.record import EncoderRecord
from gexsent.encoders.text import TINY, load_text_encoder
from gexsent.model import ModelConfig, build, save_model
from gexsent.posts import predictions
from gexsent.predictor import Predictor
from gexsent.sample.scripts import vocabulary

TOLERANCE = 1e-5
LONGEST = 60  # words
ROOT = Path(__file__).parents[1]


def untrained(folder: Path) -> Path:
    """The folder of a model of texts alone, of the sample's sizes, with random weights."""
    settings = params.load(ROOT / "params.yaml", "sample")
    encoder = load_text_encoder(TINY, max_tokens=settings.encode.max_tokens)
    config = ModelConfig(
        system="gexsent", text_features=encoder.width, vision_features=1, outputs={t.name: t.outputs for t in SPOKEN},
        temporal=False, frames=1, **asdict(settings.model),
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(build(config), config, folder)
    tasks.save(SPOKEN, folder)
    EncoderRecord.of(settings.encode, encoder.fingerprint, None).write(folder)
    return folder


def texts(count: int) -> list[str]:
    """Made-up texts of one to sixty words."""
    lots, words = random.Random(0), sorted(vocabulary())
    return [" ".join(lots.choices(words, k=lots.randint(1, LONGEST))) for _ in range(count)]


def alone(model: Predictor, text: str) -> pd.DataFrame:
    """One call, with the digits that it would round away."""
    with torch.inference_mode():
        heads = model.model(model.batch(text)).heads
    return predictions.named({name: value.numpy() for name, value in heads.items()}, model.tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a trained model with a text encoder")
    parser.add_argument("--rows", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Predictor.from_pretrained(options.model or untrained(Path(folder)))
    table = pd.DataFrame({"text": texts(options.rows)})
    model.predict(table.head(64), progress=False)  # whatever is set up once
    start = time.perf_counter()
    for text in table["text"]:
        model(text)
    single = time.perf_counter() - start
    start = time.perf_counter()
    scored = model.predict(table, progress=False)
    together = time.perf_counter() - start
    wanted = pd.concat([alone(model, text) for text in table["text"]], ignore_index=True)
    numbers = wanted.select_dtypes("number").columns
    difference = float(np.abs(wanted[numbers] - scored[numbers]).max().max())
    print(f"{options.rows:,} texts, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"  single calls (baseline) {options.rows / single:8.1f} texts a second")
    print(
        f"  predict                 {options.rows / together:8.1f} texts a second   {single / together:5.2f} x as fast"
    )
    print(f"  largest difference      {difference:8.1e}")
    if difference > TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
