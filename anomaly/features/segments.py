"""Reductions over the events of each sequence, without a loop over sequences.

Shapes: T events, N sequences; `offsets` (N + 1,) as in a store. A sequence without events gets `empty`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]


def reported(X: SequenceStore) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the (N + 1,) offsets of the events after each sequence's context, and the (T,) mask that keeps these."""
    kept = X.position() >= np.repeat(X.context, X.lengths)
    lengths = np.maximum(X.lengths - X.context, 0)
    return np.concatenate([[0], np.cumsum(lengths)]), kept


def blocks(X: SequenceStore, events: int) -> Iterator[SequenceStore]:
    """Yield the sequences in order, about `events` events at a time; the store itself where it holds no more."""
    if X.n_events <= events:
        yield X
        return
    edges = np.searchsorted(X.offsets, np.arange(X.offsets[0], X.offsets[-1], events))
    for start, stop in pairwise(np.unique(np.append(edges, len(X)))):
        yield X.take(np.arange(start, stop))


def _reduce(ufunc: np.ufunc, values: NDArray[Any], offsets: NDArray[np.int64], empty: float) -> Float:
    out = np.full((len(offsets) - 1, *values.shape[1:]), empty, np.float64)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        # reduceat runs from one named start to the next, so empty segments must not name theirs.
        out[filled] = ufunc.reduceat(values, offsets[filled], axis=0)
    return out


def segment_sum(values: NDArray[Any], offsets: NDArray[np.int64]) -> Float:
    """Return (N, ...) sums."""
    return _reduce(np.add, values.astype(np.float64, copy=False), offsets, 0.0)


def segment_max(values: NDArray[Any], offsets: NDArray[np.int64], empty: float = 0.0) -> Float:
    """Return (N, ...) largest values."""
    return _reduce(np.maximum, values, offsets, empty)


def segment_min(values: NDArray[Any], offsets: NDArray[np.int64], empty: float = 0.0) -> Float:
    """Return (N, ...) smallest values."""
    return _reduce(np.minimum, values, offsets, empty)


def segment_mean(values: NDArray[Any], offsets: NDArray[np.int64]) -> Float:
    """Return (N, ...) means, 0 for a sequence without events."""
    counts = np.maximum(np.diff(offsets), 1).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(segment_sum(values, offsets) / counts)


def segment_top_mean(values: NDArray[Any], offsets: NDArray[np.int64], k: int) -> Float:
    """Return (N,) means of the `k` largest values of each sequence, of all of them where there are fewer."""
    lengths = np.diff(offsets)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    left, total = values.astype(np.float64), np.zeros(len(lengths))
    # Taking the largest away k times is quicker than sorting, as k is small.
    for step in range(k):
        largest = segment_max(left, offsets, -np.inf)
        total += np.where(lengths > step, largest, 0.0)
        hits = np.flatnonzero(left == largest[sequence])
        left[hits[np.diff(sequence[hits], prepend=-1) != 0]] = -np.inf
    return np.asarray(total / np.clip(lengths, 1, k))


def distinct(keys: NDArray[Any]) -> NDArray[Any]:
    """Return the sorted distinct keys; sorting is far quicker than numpy's `unique`, which hashes."""
    ordered = np.sort(keys)
    fresh = np.ones(len(ordered), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]
