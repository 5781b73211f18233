"""Reproducible companion to GEXSent: hierarchical gated experts and gated attention for multimodal sentiment.

>>> import gexsent
>>> model = gexsent.fit("posts.csv", text="text", image="image", label="sentiment")
>>> gexsent.Predictor.from_pretrained("folder or Hub name")("what a lovely day", image="photo.jpg")
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["GEXSentClassifier", "GEXSentRegressor", "Predictor", "__version__", "fit"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the short stages of the pipeline need neither torch nor transformers.
    if name == "Predictor":
        from gexsent.predictor import Predictor

        return Predictor
    if name == "fit":
        from gexsent.posts.fit import fit

        return fit
    if name in ("GEXSentClassifier", "GEXSentRegressor"):
        from gexsent.posts import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'gexsent' has no attribute {name!r}")
