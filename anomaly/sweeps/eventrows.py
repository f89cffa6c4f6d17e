"""What is known of an event when it happens, as a row of numbers, for detectors that read nothing else.

Shapes: T events, F coded fields, G numeric values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.base import FeatureMatrix
from anomaly.features.segments import reported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Float = NDArray[np.float64]

_DAY, _WEEK = 86_400_000_000, 7 * 86_400_000_000


class EventRows:
    """Values, their distance from the sequence's own past, rarity of codes, gap, place and hour."""

    def fit(self, X: SequenceStore) -> Self:
        """Count the codes."""
        self.frequency_ = [np.bincount(X.codes[:, k], minlength=f.size) for k, f in enumerate(X.fields)]
        return self

    def transform(self, X: SequenceStore) -> FeatureMatrix:
        """Return a row for each reported event."""
        columns: dict[str, Float] = {"position.log": np.log1p(X.position())}
        if X.has_time:
            columns["gap.log"] = np.log1p(np.maximum(np.nan_to_num(X.delta), 0.0))
            columns["hour"] = (X.time % _DAY) / _DAY * 24
            columns["weekday"] = np.floor((X.time % _WEEK) / _DAY)
        for k, field in enumerate(X.fields):
            counts = self.frequency_[k]
            columns[f"{field.name}.rarity"] = -np.log(counts[np.minimum(X.codes[:, k], len(counts) - 1)] + 0.5)
        for g, name in enumerate(X.value_names):
            values = X.values[:, g].astype(np.float64)
            columns[name] = values
            columns[f"{name}.own_z"] = _against_own_past(values, X)
        kept = reported_events(X)
        rows = np.stack([column[kept] for column in columns.values()], axis=1)
        return FeatureMatrix(rows.astype(np.float32), tuple(columns))


def reported_events(store: SequenceStore) -> NDArray[np.int64]:
    """Return the places of the events that are no context."""
    return np.flatnonzero(reported(store)[1])


def _against_own_past(values: Float, X: SequenceStore) -> Float:
    """Return (T,) z-scores against the earlier events of the sequence, shrunk towards everybody's spread."""
    position = X.position()
    starts = np.repeat(X.offsets[:-1], X.lengths)
    n = np.maximum(position, 1)
    mean, square = (_before(x, starts) / n for x in (values, values**2))
    overall = values.var() + 1e-9
    spread = (np.maximum(square - mean**2, 0.0) * position + 3 * overall) / (position + 3)
    return np.where(position > 0, (values - mean) / np.sqrt(spread), 0.0)


def _before(values: Float, starts: NDArray[np.int64]) -> Float:
    """Return (T,) the sum over the earlier events of the same sequence."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    before: Float = total[:-1] - total[starts]
    return before
