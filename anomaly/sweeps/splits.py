"""Splits that the benchmark makes itself: duplicates are gone before, labels only balance the halves.

Shapes: n rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def halves(truth: Ints, seed: int) -> tuple[Ints, Ints]:
    """Return the places of two halves of rows that know neither time nor owner, each with half of the anomalous."""
    rng = np.random.default_rng(seed)
    sides = np.zeros(len(truth), np.bool_)
    for label in (0, 1):
        mine = rng.permutation(np.flatnonzero(truth == label))
        # The odd one of the anomalous is scored, that of the normal learnt from.
        sides[mine[: len(mine) // 2 if label else (len(mine) + 1) // 2]] = True
    return np.flatnonzero(sides), np.flatnonzero(~sides)


def label_budget(truth: Ints, share: float, seed: int) -> Ints:
    """Return (n,) 1 for a share of the anomalous rows, at least one of them, and -1, unknown, for every other row."""
    rng = np.random.default_rng([seed, 1])
    known = np.full(len(truth), -1, np.int64)
    anomalous = rng.permutation(np.flatnonzero(truth == 1))
    known[anomalous[: max(1, round(share * len(anomalous)))]] = 1
    return known
