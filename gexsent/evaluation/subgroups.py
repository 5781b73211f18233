"""For whom does it fail? Mean losses by subgroup of the test rows, with intervals by bootstrap over groups."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gexsent.evaluation.compare import count_groups

FEWEST = 20  # rows of a subgroup that can be called the worst


def thirds(values: np.ndarray, unit: str) -> pd.Categorical:
    """Whole numbers (N,) -> names (N,) such as "5 to 8 words", rising, of three parts about as large as each other.

    Equal values stay together, so that there may be two parts, or one.
    """
    edges = np.unique(np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf"))
    part = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1]
    limits = [(values[part == index].min(), values[part == index].max()) for index in range(part.max() + 1)]
    names = [f"{low} {unit}" if low == high else f"{low} to {high} {unit}" for low, high in limits]
    return pd.Categorical.from_codes(part, names)


def by_subgroup(
    values: np.ndarray,
    families: Mapping[str, Sequence[str] | pd.Categorical],
    groups: np.ndarray,
    *,
    higher_is_worse: bool,
    draws: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of `values` in every subgroup and over all rows.

    Args:
        values: (N,) a loss or a hit of each row, a mean over seeds where there are several.
        families: {family: (N,) name of the subgroup of each row}; each family divides all rows. One that has a single
            subgroup says nothing more than all rows and is left out.
        groups: (N,) what is drawn together.
        higher_is_worse: which end of a family is its worst.

    Returns:
        One row a subgroup, all rows first: family, subgroup, rows, groups, value, low, high (95 %), difference (from all
        rows), difference_low, difference_high, and `worst`: the worst of its family with at least FEWEST rows, where the
        family has more than one such. In a draw without a row of a subgroup it has no value and is left out.
    """
    members, keys = [np.ones(len(values), bool)], [("all rows", "all rows")]
    for family, given in families.items():
        names = pd.Categorical(given).remove_unused_categories()
        if len(names.categories) > 1:
            members += [np.asarray(names == name) for name in names.categories]
            keys += [(family, name) for name in names.categories]
    member = np.stack(members, axis=1)  # (N, M)
    drawn = _draw(values, member, groups, draws, seed)  # (draws, M)
    table = pd.DataFrame(keys, columns=["family", "subgroup"])
    table["rows"] = member.sum(0)
    table["groups"] = [len(np.unique(groups[column])) for column in member.T]
    table["value"] = values @ member / member.sum(0)
    table["low"], table["high"] = np.nanpercentile(drawn, (2.5, 97.5), axis=0)
    table["difference"] = table["value"] - table["value"].iloc[0]
    table["difference_low"], table["difference_high"] = np.nanpercentile(drawn - drawn[:, :1], (2.5, 97.5), axis=0)
    badness = (table["value"] if higher_is_worse else -table["value"]).where(table["rows"] >= FEWEST)
    table["worst"] = False
    for _, part in badness.dropna().groupby(table["family"]):
        if len(part) > 1:
            table.loc[part.idxmax(), "worst"] = True
    return table


def _draw(values: np.ndarray, member: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    _, index = np.unique(groups, return_inverse=True)
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(index[order]) != 0))
    total = np.add.reduceat(member[order] * values[order, None], starts, axis=0)  # (G, M)
    count = np.add.reduceat(member[order].astype(float), starts, axis=0)
    parts = []
    for counts in count_groups(len(starts), draws, seed):
        rows = counts @ count
        parts.append(np.divide(counts @ total, rows, out=np.full(rows.shape, np.nan), where=rows > 0))
    return np.concatenate(parts)
