"""Models: pure torch. They know tensors; files only to save and load weights."""

from gexsent.model.batch import Batch, Output
from gexsent.model.build import SYSTEMS, build, fine_tuned, load_model, save_model, system
from gexsent.model.config import ModelConfig
from gexsent.model.finetuned import FineTuned
from gexsent.model.gexsent import GEXSent
from gexsent.model.released import Released, load_released

__all__ = [
    "SYSTEMS",
    "Batch",
    "FineTuned",
    "GEXSent",
    "ModelConfig",
    "Output",
    "Released",
    "build",
    "fine_tuned",
    "load_model",
    "load_released",
    "save_model",
    "system",
]
