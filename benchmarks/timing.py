"""Times in rounds, and what they say as ratios to a named baseline of the same rounds.

In each round every contestant is measured once. A machine that slows down in the meantime slows all of them, and the
ratio of one round stays what it is. The spread is that of the ratios over the rounds.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

SPREAD = ("min", "median", "max")


def seconds_a_call(call: Callable[[], object], at_least: float) -> float:
    """Mean time of one call, over as many calls as fill `at_least` seconds."""
    start, count = time.perf_counter(), 0
    while True:
        call()
        count += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent = time.perf_counter() - start
        if spent >= at_least:
            return spent / count


def in_rounds(measures: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = True) -> dict[str, list[float]]:
    """What each measure gives in each round; every other round goes backwards.

    Args:
        warm: first a round that is thrown away.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + warm):
        for name in list(measures)[:: 1 if number % 2 else -1]:
            value = measures[name]()
            if number >= warm:
                found[name].append(value)
    return found


def times(calls: Mapping[str, Callable[[], object]], rounds: int, at_least: float) -> dict[str, list[float]]:
    """Seconds of one call of each, in rounds."""
    return in_rounds({name: lambda call=call: seconds_a_call(call, at_least) for name, call in calls.items()}, rounds)


def speeds(seconds: Mapping[str, Sequence[float]], baseline: str) -> pd.DataFrame:
    """How many times as fast as the baseline each one is: a row a name, the columns of SPREAD over the rounds."""
    start = np.asarray(seconds[baseline])
    return spread({name: start / np.asarray(values) for name, values in seconds.items()})


def spread(values: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The least, the median and the largest of each: a row a name."""
    rows = {name: [np.min(found), np.median(found), np.max(found)] for name, found in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(SPREAD))
