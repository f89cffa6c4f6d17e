"""Pieces of sequences whose ends tell nothing: each is as good an item as the whole that it comes from.

Shapes: N sequences, n pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anomaly.sequences.rearrange import gather
from anomaly.sequences.store import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

PIECES, PIECE_EVENTS = 200, 200_000
"""Of one scale, at most."""
SHORTEST = 16
"""The longest pieces of the smallest scale."""
STEP = 4
"""From scale to scale, as from bucket to bucket of `anomaly.scores.calibration`."""
_GOLDEN = 0.6180339887498949


class Scale(NamedTuple):
    """Pieces of about one size: the owner of each, the place of its first event in the store, and its length."""

    owner_n: NDArray[np.int64]
    first_n: NDArray[np.int64]
    length_n: NDArray[np.int64]

    def of(self, store: SequenceStore) -> SequenceStore:
        """Return the pieces as sequences; the pause before and the silence after each are its owner's."""
        return gather(store, runs(self.first_n, self.length_n)[0], self.owner_n, self.length_n)


def scales(store: SequenceStore) -> list[Scale]:
    """Return pieces of every scale that the longest sequence holds, evenly spread over the events.

    A scale reaches from a power of four to the next, and the logarithms of its lengths are spread evenly. Its pieces
    have about as many events, all together, as the sequences that hold them, at most.
    """
    found, longest = [], SHORTEST
    while longest <= store.lengths.max(initial=0):
        found.append(_scale(store, longest))
        longest *= STEP
    return found


def _scale(store: SequenceStore, longest: int) -> Scale:
    hosts = np.flatnonzero(store.lengths >= longest)
    before = np.cumsum(store.lengths[hosts])
    mean = longest * (1 - 1 / STEP) / np.log(STEP)
    n = int(np.clip(min(before[-1], PIECE_EVENTS) / mean, 1, PIECES))
    # The multiples of the golden section fill an interval evenly, however many there are.
    length_n = np.ceil(longest * float(STEP) ** -(np.arange(n) * _GOLDEN % 1)).astype(np.int64)
    middle_n = ((np.arange(n) + 0.5) * before[-1] / n).astype(np.int64)
    which = np.searchsorted(before, middle_n, side="right")
    within_n = middle_n - (before - store.lengths[hosts])[which] - length_n // 2
    owner_n = hosts[which]
    within_n = np.clip(within_n, 0, store.lengths[owner_n] - length_n)
    return Scale(owner_n, store.offsets[owner_n] + within_n, length_n)
