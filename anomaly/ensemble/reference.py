"""What scores are calibrated on: held-out items, pieces of them, and learnt events where nothing held out is like them.

Shapes: T events, n items (sequences or events), m statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anomaly.features.segments import reported
from anomaly.scores.calibration import hardly_any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

DAMAGED = 50
"""Items of a scale, at least, that a kind of corruption can damage within its events; longer ones are spared."""


@dataclass(frozen=True)
class Reference:
    """What members and evidence are calibrated on.

    Attributes
    ----------
    held_out, pieces : held-out sequences, and pieces of them by scale
    P_nm, lengths, learnt : of all items the p-values, the lengths, and which were learnt; these teach no combiner
    """

    held_out: SequenceStore
    pieces: list[SequenceStore]
    P_nm: Floats
    lengths: NDArray[np.int64]
    learnt: NDArray[np.bool_]

    def scales(self, events: int) -> list[SequenceStore]:
        """Return what is damaged: pieces and sequences of those scales of which some events hold enough."""
        if not self.pieces:
            return [self.held_out]
        return [X for X in (*self.pieces, self.held_out) if X.n_events * DAMAGED <= events * len(X)] or self.pieces[:1]


def calibrating(X: SequenceStore) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the events that calibrate, and those of them that were learnt, as hardly a new one has so short a past."""
    new_T, place_T = reported(unlearnt(X))[1], X.position() + 1
    learnt_T = reported(X)[1] & ~new_T & hardly_any(place_T, place_T[new_T])
    return new_T | learnt_T, learnt_T


def unlearnt(X: SequenceStore) -> SequenceStore:
    """Return the sequences with what was learnt of them as their past."""
    return X if X.learnt is None else replace(X, context=np.maximum(X.context, X.learnt))
