"""A feature matrix made fit for detectors that take neither missing values nor mixed scales.

Shapes: n rows, k columns in, j columns out.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Estimator, FeatureMatrix

Scaling = Literal["none", "robust", "standard"]
Matrix = NDArray[np.float32]

ENOUGH = 20_000
"""Rows that medians and scales are taken from, at most."""


class TablePreparer(Estimator):
    """Impute medians and mark what was missing, drop constant columns, scale.

    Parameters
    ----------
    scaling : "robust" is median and quartiles, "standard" mean and standard deviation, "none" leaves units
    clip : scaled values are cut at plus and minus this, so that one column cannot drown the others
    constants : "drop" the columns of one value, or "keep" them, in their own unit, for rows of another
    """

    def __init__(
        self, *, scaling: Scaling = "robust", clip: float = 10.0, constants: Literal["drop", "keep"] = "drop"
    ) -> None:
        self.scaling = scaling
        self.clip = clip
        self.constants = constants

    def fit(self, X: FeatureMatrix) -> Self:
        """Learn medians, the columns that vary, and their scales."""
        values = _finite(X.values)
        missing = np.isnan(values)
        drawn = _drawn(len(values))
        self.medians_ = _median(values[drawn], missing[drawn])
        # Neither a column that is never missing nor one that always is tells rows apart.
        self.marked_ = np.flatnonzero(missing.any(0) & ~missing.all(0))
        filled = self._filled(values, missing)
        varies = filled.max(0) > filled.min(0) if len(filled) else np.zeros(filled.shape[1], bool)
        self.columns_ = np.flatnonzero(varies | (self.constants == "keep"))
        self.center_, self.unit_ = self._scales(filled[drawn][:, self.columns_].astype(np.float64))
        names = [*X.names, *(f"{X.names[k]}.missing" for k in self.marked_)]
        self.names_ = [names[k] for k in self.columns_]
        return self

    def transform(self, X: FeatureMatrix) -> Matrix:
        """Return (n, j) finite float32."""
        values = _finite(X.values)
        filled = self._filled(values, np.isnan(values))
        if len(self.columns_) < filled.shape[1]:
            filled = filled[:, self.columns_]
        if self.scaling == "none":
            return np.ascontiguousarray(filled)
        scaled = (filled - self.center_) / self.unit_
        return np.ascontiguousarray(np.clip(scaled, -self.clip, self.clip), np.float32)

    def _filled(self, values: Matrix, missing: NDArray[np.bool_]) -> Matrix:
        """Return the rows with medians where values are missing, and the marks beside them."""
        if missing.any():
            values = np.where(missing, self.medians_, values)
        if not len(self.marked_):
            return values
        return np.concatenate([values, missing[:, self.marked_]], axis=1, dtype=np.float32)

    def _scales(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.scaling == "none" or not values.size:
            return np.zeros(values.shape[1]), np.ones(values.shape[1])
        deviation = values.std(0)
        if self.scaling == "standard":
            return values.mean(0), np.where(deviation > 1e-6, deviation, 1.0)
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        # The factor turns the distance of a normal distribution's quartiles into its standard deviation.
        unit = (high - low) / 1.349
        return middle, np.where(unit > 1e-3 * deviation, unit, np.where(deviation > 0, deviation, 1.0))


def _drawn(n: int) -> NDArray[np.int64]:
    """Return the rows that medians and scales are taken from: all of them, or enough."""
    if n <= ENOUGH:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, ENOUGH, replace=False))


def _finite(values: NDArray[np.float32]) -> Matrix:
    values = np.asarray(values, np.float32)
    if np.isfinite(values).all():
        return values
    return np.where(np.isfinite(values), values, np.float32(np.nan)).astype(np.float32, copy=False)


def _median(values: Matrix, missing: NDArray[np.bool_]) -> Matrix:
    empty = missing.all(0)
    safe = np.where(empty, np.float32(0), values) if len(values) else np.zeros((1, values.shape[1]), np.float32)
    middle = np.nanmedian if missing.any() else np.median
    return np.asarray(middle(safe, axis=0), np.float32)
