"""How many entities share a device, an address, a card: counted at every use, from that use and those before it.

The uses of one value by one entity are merged into intervals in which the entity is active; the count at an event is
the number of intervals that have started by then minus the number that have ended.

Shapes: T events, U intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.sequences.sort import sort_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SLICE = 1 << 23


def count_entities(
    value: NDArray[np.int32], entity: NDArray[np.int32], time: NDArray[np.int64], window: int
) -> NDArray[np.float32]:
    """Return (T,) distinct entities that used an event's value in the window that ends with the event.

    Parameters
    ----------
    value : (T,) codes; where -1 the count is NaN
    entity : (T,) codes
    time : (T,) microseconds; equal times count in the order of the rows
    window : microseconds; a use that long ago no longer counts
    """
    counts = np.full(len(value), np.nan, np.float32)
    used = np.flatnonzero(value >= 0)
    if not len(used):
        return counts
    order = used[sort_rows([value[used], time[used]], len(used))]
    for part in _slices(value[order]):
        rows = order[part]
        counts[rows] = _count(value[rows], entity[rows], time[rows], window)
    return counts


def _slices(value: NDArray[np.int32]) -> Iterator[slice]:
    """Yield runs of whole values of about eight million rows, so that memory does not grow with the file."""
    bounds = np.append(np.flatnonzero(value[1:] != value[:-1]) + 1, len(value))
    start = 0
    while start < len(value):
        stop = int(bounds[min(int(np.searchsorted(bounds, start + _SLICE)), len(bounds) - 1)])
        yield slice(start, stop)
        start = stop


def _count(
    value: NDArray[np.int32], entity: NDArray[np.int32], time: NDArray[np.int64], window: int
) -> NDArray[np.int64]:
    """Count within rows that are sorted by value and time."""
    n = len(value)
    order = sort_rows([value, entity], n)
    v, e, t = value[order], entity[order], time[order]
    # A use within the window of the one before it by the same entity prolongs its interval.
    same = (v[1:] == v[:-1]) & (e[1:] == e[:-1])
    opens = np.append(True, ~same | (t[1:] - t[:-1] >= window))
    started = np.zeros(n, np.int64)
    started[order[opens]] = 1
    last = np.append(np.flatnonzero(opens)[1:] - 1, n - 1)
    ended = _ended(value, time, v[last], t[last] + window)
    return np.cumsum(started) - ended


def _ended(
    value: NDArray[np.int32], time: NDArray[np.int64], end_value: NDArray[np.int32], end_time: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each row the number of ends, of this value and the ones before it, that are past.

    Every interval of an earlier value has ended: counted from the first row on, starts and ends of these cancel.
    """
    n, u = len(value), len(end_value)
    # Ends come first among equal times: at exactly the window's length a use no longer counts.
    values, times = np.concatenate([end_value, value]), np.concatenate([end_time, time])
    order = sort_rows([values, times], n + u)
    is_end = order < u
    past = np.cumsum(is_end)
    ended = np.empty(n, np.int64)
    ended[order[~is_end] - u] = past[~is_end]
    return ended
