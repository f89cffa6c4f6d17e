"""Distance from what the features have in common: a row that breaks their relations, though each is usual alone.

Shapes: n rows, j prepared columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Detector, FeatureMatrix
from anomaly.detectors.table import TablePreparer
from anomaly.errors import DataError

Float = NDArray[np.float64]

_BLOCK = 50_000
_HIGHEST = 1 - 1e-9
"""Leverage of a row that alone spans a direction."""


class GaussianDetector(Detector):
    """Mahalanobis distance under one normal distribution of the features.

    What fixes one feature of a sequence fixes others as well. Along directions in which fitted rows hardly differ, a
    small step is a broken relation (Lou et al. 2010, invariants of logs), and the covariance weighs it so; on a
    network's embedding the same distance tells what is unlike its training (Lee et al. 2018). Columns are cut at ten
    robust deviations, so that heavy tails do not rule, and brought to unit variance; the ridge bounds what directions
    count that rounding alone spans.

    A row is scored as new: the distance of one that was fitted, told by its key, is the exact one from the others.

    Parameters
    ----------
    ridge : added to the variance of every column, which is 1 without it

    Attributes
    ----------
    mean_, whitening_ : (j,), and (j, j) the symmetric inverse root of the covariance
    keys_ : sorted keys of the fitted rows
    """

    def __init__(self, *, ridge: float = 1e-3, contamination: float = 0.01) -> None:
        self.ridge = ridge
        self.contamination = contamination

    def fit(self, X: FeatureMatrix, y: NDArray[np.int64] | None = None) -> Self:
        """Learn mean and covariance of the columns that vary."""
        if not len(X):
            raise DataError("no row to learn from; give at least one")
        self.prepare_ = TablePreparer().fit(X)
        rows = self.prepare_.transform(X).astype(np.float64)
        self.mean_, deviation = rows.mean(axis=0), rows.std(axis=0)
        unit = np.where(deviation > 0, deviation, 1.0)
        scaled = (rows - self.mean_) / unit
        variances, directions = np.linalg.eigh(scaled.T @ scaled / len(rows) + self.ridge * np.eye(len(unit)))
        root = directions / np.sqrt(np.maximum(variances, self.ridge)) @ directions.T
        self.whitening_ = root / unit[:, None]
        self.n_ = len(rows)
        self.keys_ = np.zeros(0, np.uint64) if X.keys is None else np.unique(X.keys)
        return self._set_scores(X)

    def decision_function(self, X: FeatureMatrix) -> Float:
        """Return (n,) distances."""
        self._check_fitted()
        squared = np.concatenate([part.sum(axis=1) for part in self._blocks(X)] or [np.zeros(0)])
        return np.sqrt(squared / (1.0 - self._leverage(X, squared)))

    def parts(self, X: FeatureMatrix) -> Float:
        """Return (n, j) what each prepared column adds to the squared distance.

        Squares of the rows whitened symmetrically, whose columns are as close to the features' own as can be
        (Garthwaite and Koch 2016).
        """
        self._check_fitted()
        return np.concatenate([*self._blocks(X), np.zeros((0, len(self.mean_)))])

    def _blocks(self, X: FeatureMatrix) -> Iterator[Float]:
        for start in range(0, len(X), _BLOCK):
            rows = self.prepare_.transform(FeatureMatrix(X.values[start : start + _BLOCK], X.names))
            yield np.square((rows - self.mean_) @ self.whitening_)

    def _leverage(self, X: FeatureMatrix, squared: Float) -> NDArray[Any]:
        """Return (n,) how much each row has drawn mean and covariance to itself; 0 for new ones."""
        if X.keys is None or not len(self.keys_):
            return np.zeros(len(X))
        leverage = np.minimum((1.0 + squared) / self.n_, _HIGHEST)
        return np.where(np.isin(X.keys, self.keys_), leverage, 0.0)
