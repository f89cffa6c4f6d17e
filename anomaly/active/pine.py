"""Keep the trees that isolate labelled anomalies early and labelled normals late.

The idea is Pineforest's (Kornilov et al. 2025, coniferest).

Shapes: n items of the pool, t trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.evidence import TailEvidence
from anomaly.active.leaves import Forests, look_up
from anomaly.active.records import Belief, Labels
from anomaly.base import Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class PineForest(Learner):
    """An isolation forest out of the trees of a larger one that the labels favour.

    Parameters
    ----------
    trees : trees that are grown
    kept : trees that are left once there are labels
    prior : what the unsupervised score counts beside the trees, in labels
    """

    def __init__(self, *, trees: int = 500, kept: int = 100, prior: float = 5.0, random_state: int = 0) -> None:
        self.trees = trees
        self.kept = kept
        self.prior = prior
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow the forests."""
        self.forests_ = Forests(trees=self.trees, random_state=self.random_state).fit(X)
        self._codes = self.forests_.codes(X)
        self.depths_ = self.forests_.depths()
        self.evidence_ = TailEvidence().fit(X.scores)
        self._prior = self.evidence_.transform(X.scores)
        return self.update(Labels.of())

    def update(self, labels: Labels) -> Self:
        """Choose the trees anew."""
        labels = labels.decided
        codes = self._codes[:, labels.items].astype(np.int64)
        depth = np.take_along_axis(self.depths_, codes, axis=1)
        favour = -depth @ (np.where(labels.verdicts == 1, 1.0, -1.0) * labels.confidences)
        order = np.argsort(-favour, kind="stable")
        self.chosen_ = np.sort(order[: self.kept]) if len(labels) else np.arange(0)
        self.share_ = len(labels) / (len(labels) + self.prior) if len(labels) else 0.0
        if len(labels):
            isolation = self._isolation(self._codes)
            self.scale_ = (float(isolation.mean()), max(float(isolation.std()), 1e-12))
        self._mean = self._mix(self._prior, self._codes)
        return self

    def belief(self) -> Belief:
        """Return the mixture of the score and the chosen trees."""
        return Belief(self._mean.copy(), np.zeros(len(self._mean)))

    def score(self, X: Items) -> Floats:
        """Return (k,) the same of other items."""
        return self._mix(self.evidence_.transform(X.scores), self.forests_.codes(X))

    def _isolation(self, codes: NDArray[np.uint8]) -> Floats:
        return -look_up(self.depths_[self.chosen_], codes[self.chosen_]) / len(self.chosen_)

    def _mix(self, prior: Floats, codes: NDArray[np.uint8]) -> Floats:
        if not len(self.chosen_):
            return prior.copy()
        center, scale = self.scale_
        return (1 - self.share_) * prior + self.share_ * (self._isolation(codes) - center) / scale
