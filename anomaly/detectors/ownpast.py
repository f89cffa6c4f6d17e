"""Numbers against what came before them in the same sequence: an amount that is usual for all but not for its owner.

Shapes: T events, N sequences, G numeric values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import EventDetector, Statistics
from anomaly.errors import DataError
from anomaly.features.segments import reported, segment_max, segment_mean

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]

_CLIP = 64.0
"""Encoded values end at 8; sums of squares of larger ones would drown those of other sequences."""


class OwnPastDetector(EventDetector):
    """Distance of each number from the mean of the sequence's earlier ones, in their standard deviations.

    Mean and variance are the posterior ones under a prior worth `prior` events at the population's mean and variance
    (Murphy 2007, section 3), so that the first events are judged by the crowd and later ones by their own past. The
    past is winsorised: what was odd then must not widen what is usual now. A store without numeric values yields no
    statistic.

    Parameters
    ----------
    prior : events' worth of everybody's values
    winsor : population's standard deviations from its mean at which past numbers are cut
    """

    def __init__(self, *, prior: float = 2.0, winsor: float = 2.0, contamination: float = 0.01) -> None:
        self.prior = prior
        self.winsor = winsor
        self.contamination = contamination

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Learn the population's mean and standard deviation of every number."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        values = _clipped(X)
        self.names_ = list(X.value_names)
        self.mean_ = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
        spread = values.std(axis=0) if len(values) else np.zeros(values.shape[1])
        self.spread_ = np.where(spread > 1e-6, spread, 1.0)
        return self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the largest distance of any number; 0 where there are none."""
        found = self.statistics(X)
        largest: Float = found.values[:, ::2].max(axis=1, initial=0.0)
        return largest

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, G) distances."""
        return self._distances(X).astype(np.float32)

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the largest and the mean distance of each number over the reported events."""
        offsets, kept = reported(X)
        distances = self._distances(X)[kept]
        columns: list[Float] = []
        for column in distances.T:
            columns += [segment_max(column, offsets), segment_mean(column, offsets)]
        names = tuple(f"contrast.{name}.{what}" for name in self.names_ for what in ("largest", "mean"))
        return Statistics(np.stack(columns, 1) if columns else np.zeros((len(X), 0)), names)

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return (T, 2 G): distances of every event from its past, and from everybody's values."""
        own_TG, all_TG = self._distances(X), np.abs((_clipped(X) - self.mean_) / self.spread_)
        names = [*(f"contrast.{name}" for name in self.names_), *(f"crowd.{name}" for name in self.names_)]
        return Statistics(np.hstack([own_TG, all_TG]), tuple(names))

    def _distances(self, X: SequenceStore) -> Float:
        self._check_fitted()
        z_TG = (_clipped(X) - self.mean_) / self.spread_
        before_T = X.position().astype(np.float64)[:, None] + self.prior
        start_T = np.repeat(X.offsets[:-1] - X.offsets[0], X.lengths)
        past_TG = np.clip(z_TG, -self.winsor, self.winsor)
        mean_TG = _sum_before(past_TG, start_T) / before_T
        square_TG = (_sum_before(past_TG**2, start_T) + self.prior) / before_T
        variance_TG = np.maximum(square_TG - mean_TG**2, 1e-4)
        distance: Float = np.abs(z_TG - mean_TG) / np.sqrt(variance_TG)
        return distance


def _clipped(X: SequenceStore) -> Float:
    return np.clip(np.nan_to_num(np.asarray(X.values, np.float64)), -_CLIP, _CLIP)


def _sum_before(x_TG: Float, start_T: NDArray[np.int64]) -> Float:
    """Return (T, G) the sum over the sequence's earlier events."""
    total = np.concatenate([np.zeros((1, x_TG.shape[1])), np.cumsum(x_TG, axis=0)])
    before: Float = total[:-1] - total[start_T]
    return before
