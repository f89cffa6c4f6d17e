"""How far the score of a sequence falls where one of its events is left out.

Shapes: T events, N sequences, V edited copies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anomaly.features.segments import blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anomaly.scores.statistics import Ragged
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

_BLOCK = 200_000
"""Events of edited copies that are scored at a time."""


def without(X: SequenceStore, kept_T: NDArray[np.bool_]) -> SequenceStore:
    """Return the sequences with the kept events alone; the time of what is left out passes all the same."""
    left = X.keep_events(kept_T)
    if not X.has_time:
        return left
    clock = np.cumsum(np.nan_to_num(np.asarray(X.delta, np.float64)))[kept_T]
    delta = np.diff(clock, prepend=0.0).astype(np.float32)
    delta[left.offsets[:-1][left.lengths > 0]] = 0.0
    return replace(left, delta=np.where(np.isnan(np.asarray(X.delta)[kept_T]), np.float32(np.nan), delta))


def falls(
    score: Callable[[SequenceStore], Floats], X: SequenceStore, score_n: Floats, rank_T: Floats, tried: int
) -> Floats:
    """Return (T,) the fall of the score without each event alone, NaN where that was not tried.

    Parameters
    ----------
    score : of the sequences of a store
    score_n : of the sequences as they are
    rank_T : the largest of each sequence are tried
    tried : events of each sequence, at most
    """
    out = np.full(X.n_events, np.nan)
    places = first_places(X, rank_T, tried)
    if not len(places):
        return out
    rows = X.sequence_of_event()[places]
    left = np.concatenate([score(part) for part in blocks(_copies(X, rows, places), _BLOCK)])
    out[places] = score_n[rows] - left
    return out


def by_fall(rank_T: Floats, fall_T: Floats, ragged: Ragged) -> Floats:
    """Return (T,) ranks in which what was tried stands first, by its fall."""
    known = ~np.isnan(fall_T)
    above = ragged.largest(np.where(known, 0.0, rank_T))[ragged.owner]
    lowest = -ragged.largest(np.where(known, -np.nan_to_num(fall_T), -np.inf))[ragged.owner]
    return np.where(known, above + np.nan_to_num(fall_T) - lowest + 1e-9, rank_T)


def first_places(X: SequenceStore, rank_T: Floats, k: int) -> NDArray[np.int64]:
    """Return the flat places of the k reported events that come first in each sequence of two at least."""
    owner, told = X.sequence_of_event(), X.position() >= np.repeat(X.context, X.lengths)
    order = np.lexsort((-rank_T, ~told, owner))
    rank = np.arange(len(order)) - np.repeat(X.offsets[:-1] - X.offsets[0], X.lengths)
    several = np.repeat(X.lengths - X.context > 1, X.lengths)
    return np.sort(order[(rank < k) & told[order] & several[order]])


def _copies(X: SequenceStore, rows: NDArray[np.int64], places: NDArray[np.int64]) -> SequenceStore:
    """Return a copy of a sequence for each place, without the event there."""
    copies = X.take(rows)
    kept = np.ones(copies.n_events, bool)
    kept[copies.offsets[:-1] + places - (X.offsets[rows] - X.offsets[0])] = False
    return without(copies, kept)
