"""Times within sequences, the gaps between their events, and the silence after the last one.

Shapes: T events, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anomaly.events.times import NO_TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Gaps:
    """Times and gaps, as a store holds them.

    Attributes
    ----------
    time : (T,) int64 microseconds; a missing one is that of the event before, 0 where none was known yet
    delta : (T,) float32 seconds since the event before; 0 at the start of a sequence, NaN where either time is missing
    n_backwards : events that are earlier than the one before; their gap is 0
    """

    time: NDArray[np.int64]
    delta: NDArray[np.float32]
    n_backwards: int = 0


def measure_gaps(time: NDArray[np.int64], offsets: NDArray[np.int64], *, has_time: bool = True) -> Gaps:
    """Measure the gaps of (T,) times, `NO_TIME` where missing, within the sequences between (N + 1,) offsets."""
    n = len(time)
    if not has_time:
        return Gaps(np.zeros(n, np.int64), np.full(n, np.nan, np.float32))
    lost = time == NO_TIME
    if lost.any():
        return _patchy(time, lost, offsets)
    step = np.diff(time, prepend=time[:1])
    step[offsets[:-1]] = 0
    return Gaps(time, *_forward(step))


def final_silence(
    time: NDArray[np.int64], offsets: NDArray[np.int64], goes_on: NDArray[np.bool_], until: int
) -> NDArray[np.float32]:
    """Return (N,) seconds from a sequence's newest event until `until`; 0 where its entity goes on, or without times.

    Parameters
    ----------
    time : (T,) microseconds, `NO_TIME` where missing
    goes_on : (N,) whether another sequence of the same entity follows
    """
    newest = np.maximum.reduceat(time, offsets[:-1])
    silent = ~goes_on & (newest != NO_TIME) & (newest < until)
    return np.where(silent, (until - np.where(silent, newest, until)) * 1e-6, 0.0).astype(np.float32)


def _forward(step: NDArray[np.int64]) -> tuple[NDArray[np.float32], int]:
    """Return steps in seconds, and how many go back: the stated order stands, and such a step counts as none."""
    n_backwards = int((step < 0).sum())
    if n_backwards:
        np.maximum(step, 0, out=step)
    return (step * 1e-6).astype(np.float32), n_backwards


def _patchy(time: NDArray[np.int64], lost: NDArray[np.bool_], offsets: NDArray[np.int64]) -> Gaps:
    known = np.maximum.accumulate(np.where(lost, -1, np.arange(len(time))))
    none_yet = known < np.repeat(offsets[:-1], np.diff(offsets))
    filled = np.where(none_yet, 0, time[np.maximum(known, 0)])
    step = np.diff(filled, prepend=filled[:1])
    # Without a known time on both sides there is no gap to speak of.
    open_gap = lost | np.append(False, none_yet[:-1])
    step[open_gap] = 0
    step[offsets[:-1]] = 0
    delta, n_backwards = _forward(step)
    delta[open_gap] = np.nan
    delta[offsets[:-1]] = 0
    return Gaps(filled, delta, n_backwards)
