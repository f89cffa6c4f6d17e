"""Analyses of consecutive blocks of sequences as one: what a pass holds of every event is many times what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.base import Analysis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def gathered(blocks: Iterable[Analysis], n: int, n_events: int) -> Analysis:
    """Lay the analyses of consecutive blocks of `n` sequences end to end, one at a time.

    Parameters
    ----------
    blocks : one or more
    """
    statistics, fields, events, embedding = (_Rows(rows) for rows in (n, n_events, n_events, n))
    for block in blocks:
        statistics.put(block.statistics.values)
        fields.put(block.fields_TF)
        events.put(block.event_statistics.values)
        if block.embedding_ND is not None:
            embedding.put(block.embedding_ND)
    return Analysis(
        replace(block.statistics, values=statistics.array),
        fields.array,
        replace(block.event_statistics, values=events.array),
        None if block.embedding_ND is None else embedding.array,
    )


class _Rows:
    """Rows that come block by block, in an array that has room for all of them."""

    def __init__(self, n: int) -> None:
        self.n, self.filled = n, 0
        self.array: NDArray[Any] = np.empty(0)

    def put(self, rows: NDArray[Any]) -> None:
        if not self.filled:
            self.array = np.empty((self.n, *rows.shape[1:]), rows.dtype)
        self.array[self.filled : self.filled + len(rows)] = rows
        self.filled += len(rows)
