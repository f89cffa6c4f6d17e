"""Weights from examples: labelled items, or damaged ones in their place.

Shapes: n items, m statistics; ``x = -log p``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.base import ScoreCombiner
from anomaly.ensemble.combine import logistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class ConvexCombiner(ScoreCombiner):
    """Sum of ``w x`` with weights from 0 that sum to 1 and tell anomalous items from the others best.

    The examples are `P_corrupted`: p-values of items that are labelled anomalous, or of damaged ones.

    Parameters
    ----------
    ridge : penalty on the squared weights; with few examples it draws them together
    ceiling : of ``-log p``; one statistic alone does not decide beyond it
    """

    def __init__(self, *, ridge: float = 1e-2, ceiling: float = 15.0) -> None:
        self.ridge = ridge
        self.ceiling = ceiling

    def fit(
        self,
        P_nm: Floats,
        P_corrupted: Floats | None = None,
        kinds: NDArray[np.int64] | None = None,
        *,
        questions: NDArray[np.int64] | None = None,
    ) -> Self:
        """Learn the weights; without examples all are equal."""
        m = P_nm.shape[1]
        weights = np.zeros(m)
        if P_corrupted is not None and len(P_corrupted):
            weights = logistic(self._evidence(P_nm), self._evidence(P_corrupted), self.ridge)
        self.weights_ = weights / weights.sum() if weights.sum() > 0 else np.full(m, 1.0 / m)
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = self._evidence(P_nm) @ self.weights_
        return evidence

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)
