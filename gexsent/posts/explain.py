"""Explain a row of a table of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gexsent.errors import DataError
from gexsent.explain.explanation import Explanation
from gexsent.explain.post import explain
from gexsent.posts.columns import posts, require

if TYPE_CHECKING:
    from gexsent.predictor import Predictor


def explain_row(predictor: "Predictor", row: Mapping[str, Any], root: Path) -> Explanation:
    """As `explain`, of a row of a table with the columns that the model was trained on; its paths start from `root`."""
    if predictor.columns is None:
        raise DataError(
            "this model was not trained on a table: explain a post by its text and its image, clip or vision"
        )
    frame = pd.DataFrame([dict(row)])
    require(frame, predictor.columns.named().values(), "the row")
    (post,) = posts(frame, predictor.columns, root)
    if post.problem:
        raise DataError(post.problem)
    seen = {"vision": post.vision} if post.vision is not None else {predictor.columns.visual or "image": post.media}
    return explain(predictor, post.text, **seen)
