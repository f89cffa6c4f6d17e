"""Leaf weights that put labelled anomalies above a quantile of the pool and labelled normals below it.

Das et al. 2016 and 2017, solved in its dual, whose size is the number of labels.

Shapes: n items of the pool, l labels, t trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.leaves import Forests, look_up
from anomaly.active.records import Belief, Labels
from anomaly.base import Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]

_ROUNDS = 3
"""Times that the quantile and the weights are fitted to each other."""


class ActiveAnomalyDiscovery(Learner):
    """Weights of isolation leaves, learnt by hinge loss against the tau quantile.

    Parameters
    ----------
    trees : trees of the forests
    tau : share of the pool that lies above the quantile
    anomalous : what a missed anomaly costs, against 1 for a normal item that ranks too high
    stiffness : what it costs to move the weights, in the same units
    """

    def __init__(
        self,
        *,
        trees: int = 100,
        tau: float = 0.03,
        anomalous: float = 10.0,
        stiffness: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.trees = trees
        self.tau = tau
        self.anomalous = anomalous
        self.stiffness = stiffness
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow the forests; a leaf counts the more, the shallower it is."""
        self.forests_ = Forests(trees=self.trees, random_state=self.random_state).fit(X)
        self._codes = self.forests_.codes(X)
        depths = self.forests_.depths()
        self.values_ = 2.0 ** (-depths / max(float(look_up(depths, self._codes).mean()) / len(depths), 1e-12))
        self.values_ /= np.sqrt(max(float(look_up(self.values_**2, self._codes).mean()), 1e-12))
        self.center_, self.scale_ = float(X.scores.mean()), max(float(X.scores.std()), 1e-12)
        self._prior = self._prior_of(X)
        return self.update(Labels.of())

    def update(self, labels: Labels) -> Self:
        """Solve for the weights, and for the quantile that follows from them, in turns."""
        labels = labels.decided
        self.table_ = np.zeros_like(self.values_)
        self._mean = self._prior.copy()
        for _ in range(_ROUNDS if len(labels) else 0):
            self.table_ = self._solve(labels, float(np.quantile(self._mean, 1 - self.tau)))
            self._mean = self._prior + look_up(self.table_, self._codes)
        return self

    def belief(self) -> Belief:
        """Return the weighted score; how far it may be off is not known."""
        return Belief(self._mean.copy(), np.zeros(len(self._mean)))

    def score(self, X: Items) -> Floats:
        """Return (k,) the weighted score of other items."""
        return self._prior_of(X) + look_up(self.table_, self.forests_.codes(X))

    def _prior_of(self, X: Items) -> Floats:
        return np.asarray((X.scores - self.center_) / self.scale_)

    def _solve(self, labels: Labels, bar: float) -> Floats:
        """Return (t, 256) what each leaf adds to the score, from the dual: one bounded multiplier per label."""
        from scipy.optimize import minimize

        sign = np.where(labels.verdicts == 1, 1.0, -1.0)
        cost = np.where(sign > 0, self.anomalous, 1.0) * labels.confidences / self.stiffness
        codes = self._codes[:, labels.items]
        values = np.take_along_axis(self.values_, codes.astype(np.int64), axis=1)
        gram = np.zeros((len(labels), len(labels)))
        for code, value in zip(codes, values, strict=True):
            gram += (code[:, None] == code) * np.outer(value, value)
        gram *= np.outer(sign, sign)
        lack = sign * (bar - self._prior[labels.items])
        found = minimize(
            lambda a: (0.5 * a @ gram @ a - a @ lack, gram @ a - lack),
            np.zeros(len(labels)),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([np.zeros(len(labels)), cost], axis=1),
        )
        table = np.zeros_like(self.values_)
        trees = np.broadcast_to(np.arange(len(codes))[:, None], codes.shape)
        np.add.at(table, (trees, codes), values * (found.x * sign))
        return np.asarray(table * self.values_)
