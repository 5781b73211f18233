"""Which question a system answers: the table that it stands in, and the system that it is tested against.

Tests are corrected for their number inside a family: a question that is asked beside another one makes neither harder to
answer. Names alone, no model: `gexsent.model.build` says what they are.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# GEXSent with one part taken away or replaced.
ABLATIONS = (
    "flat_moe",
    "dense_ffn",
    "random_router",
    "no_sample_level",
    "no_shared_group",
    "uniform_gates",
    "no_gam",
)
# The released code's model with a fault mended.
MENDED = ("released_live_gate", "released_renormalised", "released_masked", "released_masked_whole_text")
# Family -> the system that its members are tested against.
REFERENCES = {"main": "gexsent", "ablations": "gexsent", "mended": "released"}


def family(system: str) -> str:
    """ "ablations", "mended", "variants" (trained in another way, as in "gexsent+dropout": they are compared where that
    way is the question) or "main": whatever else there is, systems of your own included."""
    if "+" in system:
        return "variants"
    return "ablations" if system in ABLATIONS else "mended" if system in MENDED else "main"


def members(name: str, systems: Iterable[str]) -> list[str]:
    """Those of `systems` that stand in the table of a family, its reference among them, in their order."""
    return [system for system in systems if family(system) == name or system == REFERENCES[name]]


def main_rows(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of a frame whose `system` is of the main family; all rows where none is."""
    is_main = frame["system"].map(family) == "main"
    return frame[is_main] if is_main.any() else frame
