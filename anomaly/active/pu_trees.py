"""Gradient-boosted trees on what items look like, with unknown items as weak evidence of the usual.

Shapes: n items of the pool, k columns, r rows that the trees grow on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.active.evidence import TailEvidence
from anomaly.active.records import Belief, Labels
from anomaly.base import Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class PositiveUnlabelledTrees(Learner):
    """Boosted trees that accept unknown items (Elkan and Noto 2008); before both kinds are known, the score itself.

    Parameters
    ----------
    rounds, leaves, rate : of the boosting
    unknown : items without a label that the trees grow on, at most, drawn with `random_state`
    weight : weight of all of these together, in labels
    """

    def __init__(
        self,
        *,
        rounds: int = 60,
        leaves: int = 8,
        rate: float = 0.1,
        unknown: int = 2000,
        weight: float = 5.0,
        random_state: int = 0,
    ) -> None:
        self.rounds = rounds
        self.leaves = leaves
        self.rate = rate
        self.unknown = unknown
        self.weight = weight
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Learn the scale of the score and draw the unknown items."""
        self.evidence_ = TailEvidence().fit(X.scores)
        self._prior = self.evidence_.transform(X.scores)
        self._columns = self._columns_of(X)
        rng = np.random.default_rng(self.random_state)
        self._drawn = np.sort(rng.permutation(len(X))[: self.unknown])
        return self.update(Labels.of())

    def update(self, labels: Labels) -> Self:
        """Keep the rows that the trees grow on, and grow them."""
        labels = labels.decided
        rows, self.targets_, self.weights_ = labels.among(self._drawn, self.weight)
        known = len(np.unique(labels.verdicts)) == 2
        self.rows_ = self._columns[rows] if known else self._columns[:0]
        self._trees: Any = None
        self._mean = self._answer(self._prior, self._columns)
        return self

    def belief(self) -> Belief:
        """Return the log-odds that the trees give."""
        return Belief(self._mean.copy(), np.zeros(len(self._mean)))

    def score(self, X: Items) -> Floats:
        """Return (k,) the same of other items."""
        return self._answer(self.evidence_.transform(X.scores), self._columns_of(X))

    def _answer(self, prior: Floats, columns: NDArray[np.float32]) -> Floats:
        if not len(self.rows_):
            return prior.copy()
        # Trees tie many items; the score tells these apart.
        return np.asarray(self._grown().decision_function(columns) + 1e-3 * prior, np.float64)

    def _grown(self) -> Any:
        """Return the trees; those of an artifact are grown when they are first asked for, from the rows it keeps."""
        if getattr(self, "_trees", None) is None:
            from sklearn.ensemble import HistGradientBoostingClassifier

            known = np.where(np.isnan(self.rows_).all(axis=0), np.float32(0), self.rows_)
            self._trees = HistGradientBoostingClassifier(
                max_iter=self.rounds,
                max_leaf_nodes=self.leaves,
                learning_rate=self.rate,
                min_samples_leaf=3,
                early_stopping=False,
                random_state=self.random_state,
            ).fit(known, self.targets_, sample_weight=self.weights_)
        return self._trees

    def _columns_of(self, X: Items) -> NDArray[np.float32]:
        """Return (n, k) what trees read: every view, and the score as evidence."""
        values = np.column_stack([*(v.values for v in X.views.values()), self.evidence_.transform(X.scores)])
        return np.where(np.isfinite(values), values, np.nan).astype(np.float32)
