"""Who is trained on, validated on and tested on."""

import warnings
from collections import Counter

import numpy as np
import pandas as pd

from gexsent.data.table import BLOCKS

# What people call the parts of a split.
SYNONYMS = {"val": "valid", "validation": "valid", "dev": "valid", "training": "train", "testing": "test"}


def duplicate_groups(
    ids: list[str], texts: list[str], digests: list[str], owners: list[str] | None = None
) -> list[str]:
    """Group name of each sample: the first id of its group.

    Two samples belong together when their pictures are the same bytes, their texts are equal after case and white space
    are levelled, or they have the same owner, directly or through others. Empty texts, digests and owners join nobody.
    """
    parent = list(range(len(ids)))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[tuple[str, str], int] = {}
    for row, (text, digest, owner) in enumerate(zip(texts, digests, owners or [""] * len(ids), strict=True)):
        for key in (("text", " ".join(text.casefold().split())), ("digest", digest), ("owner", owner)):
            if key[1]:
                a, b = sorted((find(first.setdefault(key, row)), find(row)))
                parent[b] = a
    return [ids[find(row)] for row in range(len(ids))]


def blocks(groups: list[str], classes: list[int], seed: int, *, least: int = len(BLOCKS)) -> list[str]:
    """Ten seeded blocks, block0 to block9: groups stay whole, classes are spread evenly.

    There are as many blocks as groups, or rows of the commonest class, where these are fewer than ten. Too few rows for
    `least` blocks all go to block0: table.check refuses them, once it is known how many rows were faulty.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # here: a second of start-up, which one command needs

    count = min(len(BLOCKS), len(set(groups)), max(Counter(classes).values()))
    if count < least:
        return [BLOCKS[0]] * len(groups)
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    result = np.empty(len(groups), dtype=object)
    with warnings.catch_warnings():  # a class of fewer than ten cannot be in every block: spread as far as it goes
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for name, (_, rows) in zip(BLOCKS[:count], folds.split(np.zeros(len(groups)), classes, groups), strict=True):
            result[rows] = name
    return result.tolist()


def partitions(samples: pd.DataFrame) -> dict[str, pd.Series]:
    """{partition: role (train, valid or test) by id}.

    An official split is one partition. Ten blocks are five folds: fold k tests on blocks 2k and 2k+1, validates on the
    block after them, and trains on the other seven, so that each sample is tested once.
    """
    split = samples.set_index("id")["split"]
    if not set(split) <= set(BLOCKS):
        return {"official": split}
    number = split.str.removeprefix("block").astype(int)
    return {
        f"fold{fold}": pd.Series(
            np.select([number // 2 == fold, number == (2 * fold + 2) % 10], ["test", "valid"], "train"), split.index
        )
        for fold in range(5)
    }
