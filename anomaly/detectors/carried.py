"""The states of a recurrent model at the ends of pieces, so that long sequences are read piece by piece.

Shapes: N sequences, S of them that go on after their first piece, K states per sequence, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.nn.encoders import Carry

if TYPE_CHECKING:
    from torch import Tensor

    from anomaly.models.base import Reading
    from anomaly.sequences.batch import Pieces
    from anomaly.sequences.store import SequenceStore


class CarriedStates:
    """What one pass over a store hands on from each piece to the next of its sequence.

    A batch holds the first pieces of sequences or later ones, never both. A piece that another follows is as long as
    pieces get, so that the padding of its batch does not reach its last state.
    """

    def __init__(self, store: SequenceStore, reading: Reading) -> None:
        goes_on = store.lengths > reading.longest
        self.used = reading.carried and bool(goes_on.any())
        self.starts = store.offsets[:-1]
        self.slot_N = np.where(goes_on, np.cumsum(goes_on) - 1, -1)
        self.state_KSD: Tensor | None = None

    def begin(self, pieces: Pieces) -> Carry | None:
        """Return where the pieces go on from; None where no sequence of the store goes on."""
        if not self.used:
            return None
        if self.state_KSD is None or pieces.begin[0] == self.starts[pieces.sequence[0]]:
            return Carry()
        return Carry(self.state_KSD[:, self.slot_N[pieces.sequence]].contiguous())

    def end(self, pieces: Pieces, carry: Carry | None) -> None:
        """Keep the states at the ends of the pieces."""
        if carry is None or carry.state_KND is None:
            return
        if self.state_KSD is None:
            layers, _, width = carry.state_KND.shape
            self.state_KSD = carry.state_KND.new_zeros(layers, int(self.slot_N.max()) + 1, width)
        going = np.flatnonzero(self.slot_N[pieces.sequence] >= 0)
        self.state_KSD[:, self.slot_N[pieces.sequence[going]]] = carry.state_KND[:, going]
