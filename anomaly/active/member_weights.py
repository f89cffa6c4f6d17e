"""Convex weights over the members of the ensemble: which of them earns its keep.

Shapes: n items, m members and before them the ensemble's own score, l labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import expit

from anomaly.active.evidence import TailEvidence
from anomaly.active.items import MEMBERS
from anomaly.active.records import Belief, Labels
from anomaly.base import Learner
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]

ENSEMBLE = "ensemble"
_STEPS = 200


class MemberWeights(Learner):
    """Weights, none negative and summing to one, that put labelled anomalies above labelled normals.

    Parameters
    ----------
    prior : what the weights without labels count, in labels: all on the ensemble's own score but for `open_`
    open_ : share that the members have before there are labels

    Attributes
    ----------
    names_ : "ensemble" and the members
    weights_ : (1 + m,) what each counts
    """

    def __init__(self, *, prior: float = 5.0, open_: float = 0.5) -> None:
        self.prior = prior
        self.open_ = open_

    def fit(self, X: Items) -> Self:
        """Learn the scale of every member.

        Raises
        ------
        ConfigError
            If the items have no members, as the rows of a table have none.
        """
        if MEMBERS not in X.views or not X.views[MEMBERS].names:
            raise ConfigError("learner=weights weighs the members of a run, and here are none; choose another learner")
        self.names_ = (ENSEMBLE, *X.views[MEMBERS].names)
        self.evidence_ = [TailEvidence().fit(column) for column in _columns(X).T]
        self._views = self._evidence(X)
        return self.update(Labels.of())

    def update(self, labels: Labels) -> Self:
        """Minimise the loss of all pairs of an anomalous and a normal label, by exponentiated gradient."""
        labels = labels.decided
        m = len(self.names_) - 1
        start = np.concatenate([[1 - self.open_], np.full(m, self.open_ / m)])
        self.weights_ = start if len(labels) else np.eye(m + 1)[0]
        x, y, sure = self._views[labels.items], labels.verdicts == 1, labels.confidences
        # Without normal labels the pool itself stands for them.
        below = x[~y] if (~y).any() else self._views.mean(axis=0, keepdims=True)
        low = sure[~y] if (~y).any() else np.ones(1)
        if y.any():
            self.weights_ = _descend(x[y], below, np.outer(sure[y], low), start, self.prior / len(labels))
        self._mean = self._views @ self.weights_
        return self

    def belief(self) -> Belief:
        """Return the weighted evidence, and that of each member."""
        return Belief(self._mean.copy(), np.zeros(len(self._mean)), np.asarray(self._views.T[1:]))

    def score(self, X: Items) -> Floats:
        """Return (k,) the weighted evidence of other items."""
        return np.asarray(self._evidence(X) @ self.weights_)

    @property
    def table_(self) -> dict[str, float]:
        """Weight of each member, the largest first."""
        order = np.argsort(-self.weights_, kind="stable")
        return {self.names_[k]: float(self.weights_[k]) for k in order}

    def told(self) -> list[str]:
        """Return what each member counts, once labels have moved it."""
        if self.table_[ENSEMBLE] == 1.0:
            return []
        return ["weights: " + ", ".join(f"{name} {weight:.0%}" for name, weight in self.table_.items())]

    def _evidence(self, X: Items) -> Floats:
        columns = _columns(X)
        return np.stack([e.transform(c) for e, c in zip(self.evidence_, columns.T, strict=True)], axis=1)


def _columns(X: Items) -> Floats:
    return np.column_stack([X.scores, X.views[MEMBERS].values.astype(np.float64)])


def _descend(above: Floats, below: Floats, pairs: Floats, start: Floats, prior: float) -> Floats:
    """Return the weights of least logistic loss over the pairs plus `prior` times their divergence from the start.

    Kivinen and Warmuth 1997; steps shrink, so that it comes to rest.
    """
    weights = start
    for step in range(_STEPS):
        margin = (above @ weights)[:, None] - below @ weights
        pull = pairs * expit(-margin) / pairs.sum()
        slope = pull.sum(axis=0) @ below - pull.sum(axis=1) @ above
        slope = slope + prior * (np.log(weights / start) + 1)
        rate = 1.0 / (1.0 + prior) / np.sqrt(1.0 + step)
        weights = weights * np.exp(-rate * (slope - slope.min()))
        weights = np.maximum(weights / weights.sum(), 1e-9)
    return np.asarray(weights / weights.sum())
