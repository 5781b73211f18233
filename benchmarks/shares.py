"""What share of its time a stage's work would take if it ran at the machine's ceilings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks import tables, timing

CEILINGS = ("products", "other operations", "disk")


def shares(work: Mapping[str, Sequence[int]], seconds: Mapping[str, Sequence[float]]) -> dict[str, pd.DataFrame]:
    """{stage: a row a round, a column a ceiling}: the time that its work would take at the ceiling, as a share of the time
    that it took; both from the same round."""
    found = {}
    for name, (_, *amounts) in work.items():
        columns = zip(CEILINGS, amounts, strict=True)
        least = {ceiling: amount * np.asarray(seconds[ceiling]) for ceiling, amount in columns}
        found[name] = pd.DataFrame(least).div(np.asarray(seconds[name]), axis=0)
    return found


def table(
    found: Mapping[str, pd.DataFrame], work: Mapping[str, Sequence[int]], seconds: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """A row a stage, as texts: how many samples or draws a second, the ceiling that binds (the largest share) with that
    share and its spread, and the shares of all ceilings together."""
    rows = {}
    for name, each in found.items():
        binding = each.median().idxmax()
        speed = tables.rounded(work[name][0] / np.median(seconds[name]))
        share = tables.shown(timing.spread({name: each[binding]}))[name]
        rows[name] = [speed, binding, share, f"{each.sum(axis=1).median():.2f}"]
    columns = ["a second", "binding ceiling", "share of it that is reached", "all ceilings together"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
