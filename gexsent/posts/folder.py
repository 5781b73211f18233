"""The folder of a model of one's own posts: all that is needed to use it again, and nothing that runs when it is read."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent import tasks
from gexsent.errors import DataError
from gexsent.model import save_model
from gexsent.posts import card

if TYPE_CHECKING:
    from gexsent.predictor import Predictor


def refuse_used(folder: Path) -> None:
    """Nothing lies where a model is about to be saved.

    Raises:
        DataError: something does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is there already; name another folder, or remove it first")


def save(predictor: "Predictor", folder: Path, name: str | None = None, license: str | None = None) -> None:
    """Write a model with its tasks, columns, report, card and the names of its encoders; whole or not at all.

    Args:
        name, license: for the card, as in card.write.

    Raises:
        DataError: the folder is used, or it is not known which encoders made the model's features.
    """
    refuse_used(folder)
    if predictor.record is None:
        raise DataError("this model has no note of the encoders that made its features, and could not be used again")
    partial = folder.with_name(folder.name + ".saving")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_model(predictor.model, predictor.config, partial)
    tasks.save(predictor.tasks, partial)
    predictor.record.write(partial)
    for part in (predictor.columns, predictor.report):
        if part is not None:
            part.save(partial)
    card.write(predictor, partial, name, license)
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
