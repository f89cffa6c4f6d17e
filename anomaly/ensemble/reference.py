"""What scores are calibrated on: held-out items, pieces of them, and learnt events where nothing held out is like them.

Shapes: T events, n items (sequences or events), m statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from anomaly.base import Statistics
from anomaly.features.segments import reported
from anomaly.scores.calibration import hardly_any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]
    Part = tuple[Statistics, NDArray[np.int64], NDArray[np.bool_]]
    """Statistics of items, what names their buckets, and which of them were learnt."""

DAMAGED = 50
"""Items of a scale, at least, that a kind of corruption can damage within its events; longer ones are spared."""


@dataclass(frozen=True)
class Reference:
    """What members and evidence are calibrated on.

    Attributes
    ----------
    held_out, pieces : held-out sequences, and pieces of them by scale
    P_nm, lengths, learnt : of all items the p-values, what names their buckets, and which were learnt
    teaches : which items a combiner learns from: not what was learnt, nor known entities shown as strangers
    """

    held_out: SequenceStore
    pieces: list[SequenceStore]
    P_nm: Floats
    lengths: NDArray[np.int64]
    learnt: NDArray[np.bool_]
    teaches: NDArray[np.bool_]

    def scales(self, events: int) -> list[SequenceStore]:
        """Return what is damaged: pieces and sequences of those scales of which some events hold enough."""
        if not self.pieces:
            return [self.held_out]
        return [X for X in (*self.pieces, self.held_out) if X.n_events * DAMAGED <= events * len(X)] or self.pieces[:1]


class Calibrating(NamedTuple):
    """Sequences, which of their events calibrate (T,), and which of these were learnt."""

    X: SequenceStore
    kept_T: NDArray[np.bool_]
    learnt_T: NDArray[np.bool_]

    @classmethod
    def of(cls, X: SequenceStore) -> Self:
        """Return new events and, where hardly one of them has so short a past, learnt ones."""
        new_T, place_T = reported(unlearnt(X))[1], X.position() + 1
        learnt_T = reported(X)[1] & ~new_T & hardly_any(place_T, place_T[new_T])
        return cls(X, new_T | learnt_T, learnt_T)


def joined(parts: list[Part]) -> Part:
    """Return the items of several parts as one."""
    statistics, lengths, learnt = zip(*parts, strict=True)
    return Statistics.concat(list(statistics)), np.concatenate(lengths), np.concatenate(learnt)


def unlearnt(X: SequenceStore) -> SequenceStore:
    """Return the sequences with what was learnt of them as their past."""
    return X if X.learnt is None else replace(X, context=np.maximum(X.context, X.learnt))
