"""Where evidence can lie: the events and fields of some sequences.

Shapes: T events, N sequences, F fields of the axis, K features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.features.segments import reported
from anomaly.scores.statistics import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

GAP, END, WHOLE = "gap", "end", "whole"


@dataclass(frozen=True)
class Axis:
    """The events of a store and the fields that evidence can lie in.

    Attributes
    ----------
    fields : those of the store, then "gap", "end" and "whole"
    ragged : reductions over the events of each sequence
    kept_T : events that are reported, not past
    last_N : flat place of each sequence's last event; of an empty one, any
    """

    store: SequenceStore
    fields: tuple[str, ...]
    ragged: Ragged
    kept_T: NDArray[np.bool_]
    last_N: NDArray[np.int64]

    @classmethod
    def of(cls, X: SequenceStore) -> Self:
        """Return the axis of a store."""
        last = np.clip(X.offsets[1:] - X.offsets[0] - 1, 0, max(X.n_events - 1, 0))
        names = dict.fromkeys((*X.field_names, GAP, END, WHOLE))
        return cls(X, tuple(names), Ragged(X.offsets), reported(X)[1], last)

    def zeros(self) -> Floats:
        """Return (T, F) noughts."""
        return np.zeros((self.store.n_events, len(self.fields)))

    def place(self, names: tuple[str, ...]) -> list[int]:
        """Return the columns of some fields; a field that is not there is the whole."""
        return [self.fields.index(name if name in self.fields else WHOLE) for name in names]

    def spread(self, columns: Mapping[str, Any]) -> Floats:
        """Return (T, F) from (T,) columns by field."""
        out = self.zeros()
        for name, column in columns.items():
            out[:, self.place((name,))[0]] += column
        return out

    def whole(self, name: str = WHOLE) -> Floats:
        """Return (T, F) weights that spread evenly over the reported events of one field."""
        return self.spread({name: self.kept_T.astype(np.float64)})

    def shares(self, weight_TF: Floats) -> Floats:
        """Return (T, F) non-negative weights as shares of each sequence; where there are none, of the whole."""
        sums = self.ragged.sum(weight_TF.sum(axis=1))[self.ragged.owner][:, None]
        empty = sums[:, 0] <= 0
        out = weight_TF / np.where(sums > 0, sums, 1.0)
        if empty.any():
            kept = self.ragged.sum(self.kept_T.astype(np.float64))[self.ragged.owner]
            even = np.where(kept > 0, self.kept_T / np.maximum(kept, 1.0), 1.0 / np.maximum(self._lengths(), 1))
            out[empty, self.fields.index(WHOLE)] = even[empty]
        return out

    def peaks(self, x_T: Floats) -> NDArray[np.bool_]:
        """Return (T,) whether an event is its sequence's largest; the first of several."""
        largest = self.ragged.largest(x_T)[self.ragged.owner]
        hits = np.flatnonzero(x_T == largest)
        first = hits[np.diff(self.ragged.owner[hits], prepend=-1) != 0]
        out = np.zeros(len(x_T), bool)
        out[first] = True
        return out

    def _lengths(self) -> NDArray[np.int64]:
        return self.ragged.lengths[self.ragged.owner]
