"""Weights from examples: labelled items, or damaged ones in their place.

Shapes: n items, m statistics; ``x = -log p``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.base import ScoreCombiner
from anomaly.ensemble.combine import logistic, oddest
from anomaly.metrics.ranking import average_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def fit_labels(self, P_nm: Floats, y: NDArray[np.int64]) -> Self:
        """Learn from labels: 1 anomalous, 0 normal; -1, unknown, teaches nothing."""
        return self.fit(P_nm[y == 0], P_nm[y == 1]) if (y == 0).any() else self.fit(P_nm)

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = self._evidence(P_nm) @ self.weights_
        return evidence

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)


def earnings(
    combiner: ScoreCombiner, P_nm: Floats, names: Sequence[str], y: NDArray[np.int64] | None = None, top: float = 0.05
) -> list[dict[str, Any]]:
    """Return what each member earns, a row each: its weight, its overlap with the combined top, and with labels more.

    Parameters
    ----------
    combiner : fitted
    y : (n,) labels; with them a row has the average precision alone, and what the ensemble loses when the member is
        silent (its p-values 1)
    top : share of the items whose overlap (Jaccard) is taken
    """
    evidence = combiner.combine(P_nm)
    k = max(int(top * len(P_nm)), 1)
    chosen = oddest(evidence, k)
    rows = []
    for j, name in enumerate(names):
        own = oddest(-P_nm[:, j], k)
        row: dict[str, Any] = {"member": name, "weight": float(combiner.weights_[j])}
        row["overlap"] = float((own & chosen).sum() / max((own | chosen).sum(), 1))
        if y is not None:
            known = y >= 0
            truth = y[known].astype(np.float64)
            silent = P_nm.copy()
            silent[:, j] = 1.0
            row["average_precision"] = average_precision(truth, -P_nm[known, j])
            without = average_precision(truth, combiner.combine(silent)[known])
            row["earns"] = average_precision(truth, evidence[known]) - without
        rows.append(row)
    return rows
