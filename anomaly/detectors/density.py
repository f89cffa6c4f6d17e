"""DBSCAN as a detector that scores new rows.

Shapes: n rows, k columns, c core rows.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Estimator
from anomaly.detectors.neighbours import Neighbours

Float = NDArray[np.float64]


class CoreDistance(Estimator):
    """Distance to the nearest core row in units of the radius: above 1 is what DBSCAN calls noise.

    Source: Ester et al. 1996; a core row has `min_samples` rows, itself included, within the radius.

    Parameters
    ----------
    radius : None takes the `quantile` of the distances to the `min_samples`-th row, so that about as many rows are core
    """

    def __init__(self, *, radius: float | None = None, min_samples: int = 5, quantile: float = 0.9) -> None:
        self.radius = radius
        self.min_samples = min_samples
        self.quantile = quantile

    def fit(self, X: NDArray[Any], y: None = None) -> Self:
        """Find the core rows."""
        k = max(min(self.min_samples, len(X)) - 1, 1)
        distance = Neighbours().fit(X).of_fitted(k)[0][:, -1]
        self.radius_ = float(np.quantile(distance, self.quantile)) if self.radius is None else self.radius
        self.radius_ = self.radius_ or 1.0
        core = distance <= self.radius_
        if not core.any():
            core = distance <= distance.min()
        self.core_ = Neighbours().fit(np.asarray(X)[core])
        return self

    def decision_function(self, X: NDArray[Any]) -> Float:
        """Return (n,) distances in units of the radius."""
        distance: Float = self.core_.of(X, 1)[0][:, 0] / self.radius_
        return distance
