"""What two items may have in common, as both processes over labels read it: a place, and values that few hold.

Shapes: n and j items, d embedding columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.items import EMBEDDING
from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


class Space(Estimator):
    """Embeddings in units of the root mean squared distance of two items.

    Attributes
    ----------
    center_ : (d,) float32; d = 0 where there are none
    scale_ : the unit
    """

    def fit(self, X: Items) -> Self:
        """Learn the centre and the unit."""
        self.center_, self.scale_ = np.zeros(0, np.float32), 1.0
        if EMBEDDING in X.views and X.views[EMBEDDING].names:
            values = X.views[EMBEDDING].values.astype(np.float64)
            self.center_ = values.mean(0).astype(np.float32)
            # Twice the mean squared distance to the centre is the mean squared distance of two items.
            self.scale_ = float(np.sqrt(max(((values - self.center_) ** 2).sum(1).mean(), 1e-12)))
        return self

    def points(self, X: Items) -> NDArray[np.float32]:
        """Return (n, d) where items lie."""
        if not self.center_.size:
            return np.zeros((len(X), 0), np.float32)
        points: NDArray[np.float32] = (X.views[EMBEDDING].values - self.center_) / self.scale_
        return points.astype(np.float32)


class RareValues(Estimator):
    """Shared values, each weighed by how few items hold it: one that everyone holds links nobody.

    Attributes
    ----------
    known_ : uint64 codes, sorted
    rare_ : rarity of each, 0 where all hold it
    """

    def fit(self, X: Items) -> Self:
        """Count who holds what."""
        self.known_, held = np.unique(X.links.codes if X.links else np.zeros(0, np.uint64), return_counts=True)
        self.rare_ = np.log((len(X) + 1) / held) / np.log(len(X) + 1)
        return self

    def held(self, X: Items) -> tuple[Ints, Ints]:
        """Return (n + 1,) offsets, and between them the places in `known_` of the known values that items hold."""
        if X.links is None or not len(self.known_):
            return np.zeros(len(X) + 1, np.int64), np.zeros(0, np.int64)
        place = np.minimum(np.searchsorted(self.known_, X.links.codes), len(self.known_) - 1)
        known = self.known_[place] == X.links.codes
        return np.append(0, np.cumsum(known))[X.links.offsets], place[known]


def near(A_nd: NDArray[np.float32], B_jd: NDArray[np.float32]) -> Floats:
    """Return (n, j) exp(-d^2 / 2)."""
    square = (A_nd**2).sum(1)[:, None] + (B_jd**2).sum(1)[None] - 2 * A_nd @ B_jd.T
    likeness: Floats = np.exp(-0.5 * np.maximum(square, 0.0)).astype(np.float64)
    return likeness
