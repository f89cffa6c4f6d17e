"""How far out each value of an event lies in its own column: evidence per event and field, for any kind of column.

Shapes: T events, N sequences, F coded columns, G numbers, J = numbers and those coded columns that are no numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import EventDetector, Statistics
from anomaly.errors import DataError
from anomaly.features.segments import reported, segment_max

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]


class ColumnTails(EventDetector):
    """Negative log of the smaller tail of a number, of the frequency of a value; summed over columns (Li et al. 2022).

    A new row is judged as if it joined the fitted ones alone.

    Parameters
    ----------
    reference : events whose numbers are kept, drawn with `random_state`
    """

    def __init__(self, *, reference: int = 50_000, contamination: float = 0.01, random_state: int = 0) -> None:
        self.reference = reference
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Sort the numbers and count the values of the reported events."""
        kept = np.flatnonzero(reported(X)[1]) if len(X) else np.zeros(0, np.int64)
        if not len(kept):
            raise DataError("no event to learn from; give at least one")
        if len(kept) > self.reference:
            kept = np.sort(np.random.default_rng(self.random_state).choice(kept, self.reference, replace=False))
        self.numbers_ = list(X.value_names)
        self.coded_ = [k for k, field in enumerate(X.fields) if field.name not in self.numbers_]
        self.coded_names_ = [X.fields[k].name for k in self.coded_]
        values = np.asarray(X.values[kept], np.float32)
        self.sorted_ = [np.sort(column[np.isfinite(column)]) for column in values.T]
        sizes = [X.fields[k].size + 1 for k in self.coded_]
        counts = [
            np.bincount(np.minimum(X.codes[kept, k].astype(np.int64), size - 1), minlength=size)
            for k, size in zip(self.coded_, sizes, strict=True)
        ]
        self.rarity_ = [np.log(len(kept) + 1.0) - np.log(count + 1.0) for count in counts]
        return self._set_scores(X)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the J columns."""
        self._check_fitted()
        return (*self.coded_names_, *self.numbers_)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the largest sum over the columns of any event."""
        return self.statistics(X).values[:, 0]

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, J) evidence, 0 where a value is missing."""
        self._check_fitted()
        columns = [_at(rarity, X.codes[:, k]) for rarity, k in zip(self.rarity_, self.coded_, strict=True)]
        columns += [_tail(known, column) for known, column in zip(self.sorted_, X.values.T, strict=True)]
        return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((X.n_events, 0), np.float32)

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the largest sum over columns, and the largest evidence of a single column, of any event."""
        offsets, kept = reported(X)
        fields = self.score_fields(X)[kept].astype(np.float64)
        columns = fields.sum(axis=1), fields.max(axis=1, initial=0.0)
        return Statistics(np.stack([segment_max(c, offsets) for c in columns], axis=1), ("sum", "largest"))

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return the sum and the largest evidence of every event."""
        fields = self.score_fields(X).astype(np.float64)
        return Statistics(np.stack([fields.sum(axis=1), fields.max(axis=1, initial=0.0)], 1), ("sum", "largest"))


def _at(rarity: Float, codes: NDArray[np.integer]) -> Float:
    found: Float = rarity[np.minimum(codes.astype(np.int64), len(rarity) - 1)]
    return found


def _tail(known: NDArray[np.float32], column: NDArray[np.float32]) -> Float:
    n = len(known)
    below = np.searchsorted(known, column, side="right") + 1
    above = n - np.searchsorted(known, column, side="left") + 1
    evidence: Float = -np.log(np.minimum(below, above) / (n + 1.0))
    return np.where(np.isfinite(column), np.maximum(evidence, 0.0), 0.0)
