"""ECOD and COPOD with the training columns frozen, so that a row's score does not depend on its batch."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Estimator


class FrozenTails(Estimator):
    """Sum over columns of the negative log of the empirical tail probability.

    A new row is scored as if it joined the training rows alone; `decision_scores_` are those of the training rows.
    Sources: Li et al. 2020 (COPOD), Li et al. 2022 (ECOD); which tail counts follows each column's skewness.

    Parameters
    ----------
    rule : "ecod" takes the largest of left, right and skewed tail; "copod" the skewed tail or the two tails' mean
    """

    def __init__(self, *, rule: Literal["ecod", "copod"] = "ecod") -> None:
        self.rule = rule

    def fit(self, X: NDArray[Any], y: None = None) -> Self:
        """Sort every column once."""
        values = np.asarray(X, np.float32)
        # A column in one piece: of a strided one every search would make a copy.
        self.columns_ = np.sort(np.ascontiguousarray(values.T), axis=1)
        centered = values.astype(np.float64) - values.mean(0, dtype=np.float64)
        self.skewness_ = np.sign((centered**3).mean(0)).astype(np.int64)
        self.decision_scores_ = self._score(values, joined=0)
        return self

    def decision_function(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n,) scores of new rows."""
        return self._score(np.asarray(X, np.float32), joined=1)

    def column_scores(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, k) the term of each column: rows sum to the scores of new rows."""
        return self._terms(np.asarray(X, np.float32), joined=1)

    def _score(self, values: NDArray[np.float32], joined: int) -> NDArray[np.float64]:
        score: NDArray[np.float64] = self._terms(values, joined).sum(axis=1)
        return score

    def _terms(self, values: NDArray[np.float32], joined: int) -> NDArray[np.float64]:
        n = self.columns_.shape[1]
        below, above = np.empty(values.shape), np.empty(values.shape)
        for k, (column, known) in enumerate(zip(values.T, self.columns_, strict=True)):
            below[:, k] = known.searchsorted(column, side="right")
            above[:, k] = known.searchsorted(column, side="left")
        left = -np.log((below + joined) / (n + joined))
        right = -np.log((n - above + joined) / (n + joined))
        tail = np.where(self.skewness_ > 0, right, np.where(self.skewness_ < 0, left, left + right))
        other = np.maximum(left, right) if self.rule == "ecod" else (left + right) / 2
        terms: NDArray[np.float64] = np.maximum(tail, other)
        return terms
