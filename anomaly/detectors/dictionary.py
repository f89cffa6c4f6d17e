"""Integers to their places in a sorted list, in bulk, and one key for several columns.

Shapes: K keys, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.features.segments import distinct

Ints = NDArray[np.int64]

_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Dictionary:
    """Distinct keys (K,), sorted, all of them from 0 to below `span`."""

    keys: Ints
    span: int

    @classmethod
    def of(cls, keys: NDArray[Any], span: int) -> Self:
        """Return the distinct ones of some keys."""
        return cls(distinct(keys.astype(np.int64, copy=False)), span)

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, queries: Ints) -> Ints:
        """Return (Q,) the place of each query among the keys, K where it is none of them."""
        if not len(self.keys):
            return np.zeros(len(queries), np.int64)
        if self.span <= 16 * len(queries):
            return self._by_table(queries)
        if len(self.keys) <= 4 * len(queries):
            return self._by_probing(queries)
        place = np.searchsorted(self.keys, queries)
        found = self.keys[np.minimum(place, len(self.keys) - 1)] == queries
        return np.where(found, place, len(self.keys))

    def _by_table(self, queries: Ints) -> Ints:
        table = np.full(self.span + 1, len(self.keys), np.int64)
        table[self.keys] = np.arange(len(self.keys))
        return np.asarray(table[np.minimum(queries, self.span)])

    def _by_probing(self, queries: Ints) -> Ints:
        """Look up in an open hash table with linear probing, all queries one step at a time."""
        n = len(self.keys)
        bits = (2 * n).bit_length()
        slots = np.full(1 << bits, n, np.int64)
        pending, slot = np.arange(n), _slot(self.keys, bits)
        while len(pending):
            free = slots[slot] == n
            slots[slot[free]] = pending[free]
            left = slots[slot] != pending
            pending, slot = pending[left], (slot[left] + 1) & ((1 << bits) - 1)
        padded = np.append(self.keys, -1)
        slot = _slot(queries, bits)
        out = slots[slot]
        left = np.flatnonzero((padded[out] != queries) & (out != n))
        while len(left):
            slot[left] = (slot[left] + 1) & ((1 << bits) - 1)
            out[left] = slots[slot[left]]
            left = left[(padded[out[left]] != queries[left]) & (out[left] != n)]
        return out


def _slot(keys: Ints, bits: int) -> Ints:
    with np.errstate(over="ignore"):
        return ((keys.view(np.uint64) * _FIBONACCI) >> np.uint64(64 - bits)).astype(np.int64)


def hash_columns(*columns: NDArray[Any] | int) -> NDArray[np.uint64]:
    """Return one 64-bit key per row of some integer columns (splitmix64 chained, Steele et al. 2014)."""
    key: Any = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for column in columns:
            # Multiplying before the next column keeps a key of keys from being symmetric in its columns.
            x = key * np.uint64(0xD6E8FEB86659FD93) ^ np.asarray(column).astype(np.uint64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            key = (x ^ (x >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(key)
