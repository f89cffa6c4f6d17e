"""Distance of each feature from its usual range, by median and quartiles."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Detector, FeatureMatrix, Statistics
from anomaly.errors import DataError

Float = NDArray[np.float64]

_CLIP = 1e6
"""No single feature may push a score out of the range in which sums of squares are exact."""


class _Spread(Detector):
    """Per-column distances, then their largest and mean square; a missing value has no distance."""

    def __init__(self, *, statistic: str = "mean_square", contamination: float = 0.01) -> None:
        self.statistic = statistic
        self.contamination = contamination

    def fit(self, X: FeatureMatrix, y: NDArray[np.int64] | None = None) -> Self:
        """Learn the usual range of every column that is not constant."""
        if not len(X):
            raise DataError("no row to learn from; give at least one")
        values = np.where(np.isfinite(X.values), X.values, np.nan).astype(np.float64)
        present = np.isfinite(values).any(0)
        values[:, ~present] = 0.0
        low, high, unit = self._range(values)
        varies = present & (np.nanmax(values, axis=0) > np.nanmin(values, axis=0))
        self.columns_ = np.flatnonzero(varies)
        self.low_, self.high_, self.unit_ = low[varies], high[varies], unit[varies]
        self.names_ = [X.names[k] for k in self.columns_]
        return self._set_scores(X)

    def decision_function(self, X: FeatureMatrix) -> Float:
        """Return (n,) the statistic named in the constructor."""
        return self.statistics(X).column(self.statistic)

    def statistics(self, X: FeatureMatrix) -> Statistics:
        """Return the largest distance of each row and the mean of the squares."""
        distance = self.distances(X)
        if not distance.shape[1]:
            return Statistics(np.zeros((len(X), 2)), ("largest", "mean_square"))
        columns = (distance.max(1), np.square(distance).mean(1))
        return Statistics(np.stack(columns, 1), ("largest", "mean_square"))

    def distances(self, X: FeatureMatrix) -> Float:
        """Return (n, columns) distances from the usual range, in its own unit; 0 where a value is missing."""
        self._check_fitted()
        values = X.values[:, self.columns_].astype(np.float64)
        beyond = np.maximum(self.low_ - values, values - self.high_) / self.unit_
        return np.asarray(np.clip(np.nan_to_num(beyond, nan=0.0, posinf=_CLIP), 0.0, _CLIP))

    @abstractmethod
    def _range(self, values: Float) -> tuple[Float, Float, Float]:
        """Return the low and the high end of what is usual in each column, and the unit of distance."""


class RobustZDetector(_Spread):
    """Distance from the median in units of the median absolute deviation, scaled to the standard deviation.

    Where more than half of a column is one value, the mean absolute deviation is taken (Iglewicz and Hoaglin 1993).
    """

    def _range(self, values: Float) -> tuple[Float, Float, Float]:
        middle = np.nanmedian(values, axis=0)
        distance = np.abs(values - middle)
        unit, fallback = 1.4826 * np.nanmedian(distance, axis=0), 1.2533 * np.nanmean(distance, axis=0)
        return middle, middle, np.where(unit > 0, unit, np.where(fallback > 0, fallback, 1.0))


class IQRDetector(_Spread):
    """Distance beyond the quartiles in units of their distance (Tukey 1977)."""

    def _range(self, values: Float) -> tuple[Float, Float, Float]:
        low, high = np.nanquantile(values, [0.25, 0.75], axis=0)
        fallback = 1.6994 * np.nanmean(np.abs(values - np.nanmedian(values, axis=0)), axis=0)
        unit = high - low
        return low, high, np.where(unit > 0, unit, np.where(fallback > 0, fallback, 1.0))
