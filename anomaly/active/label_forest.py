"""A forest grown on the labels: which columns tell anomalous from normal, however alike items are otherwise.

It is grown anew only when the labels are so many times as many as before, so that a label costs little on average.

Shapes: n items of the pool, k columns, r rows that the trees grow on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.active.evidence import TailEvidence
from anomaly.active.records import Labels
from anomaly.base import Estimator, FeatureMatrix
from anomaly.detectors.table import TablePreparer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class LabelForest(Estimator):
    """Trees on the labelled items, with unknown ones as weak evidence of the usual.

    Parameters
    ----------
    trees, depth, leaf : trees, their depth, and the rows of a leaf, at least
    unknown : items without a label that the trees grow on, at most, drawn with `random_state`
    weight : weight of all of these together, in labels
    first, growth : labels at which it is grown first, and then whenever they are that many times as many
    """

    def __init__(
        self,
        *,
        trees: int = 60,
        depth: int = 8,
        leaf: int = 3,
        unknown: int = 1000,
        weight: float = 5.0,
        first: int = 10,
        growth: float = 1.4,
        random_state: int = 0,
    ) -> None:
        self.trees = trees
        self.depth = depth
        self.leaf = leaf
        self.unknown = unknown
        self.weight = weight
        self.first = first
        self.growth = growth
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Learn the columns and draw the unknown items; no label is needed."""
        self.evidence_ = TailEvidence().fit(X.scores)
        self.prepare_ = TablePreparer(scaling="none").fit(self._columns(X))
        self.forest_: Any = None
        self._values = self.prepare_.transform(self._columns(X))
        self._drawn = np.random.default_rng(self.random_state).permutation(len(X))[: self.unknown]
        self._grown_on, self._share = Labels.of(), np.zeros(len(X))
        return self

    def update(self, labels: Labels) -> Self:
        """Grow on the first so many labels, if these are others than before."""
        told = labels[: self._due(len(labels))]
        if len(told) != len(self._grown_on) or told.common(self._grown_on) < len(told):
            self._grow(told)
            self._grown_on, self._share = told, self._shares(self._values)
        return self

    def pool(self) -> Floats:
        """Return (n,) how anomalous the trees hold each item of the pool, from 0 to 1; 0 before they are grown."""
        return self._share

    def score(self, X: Items) -> Floats:
        """Return (k,) the same of other items."""
        return self._shares(self.prepare_.transform(self._columns(X)))

    def _due(self, known: int) -> int:
        """Return how many labels the trees grow on when so many are known."""
        due, following = 0, float(self.first)
        while int(following) <= known:
            due, following = int(following), max(following * self.growth, following + 1)
        return due

    def _grow(self, labels: Labels) -> None:
        from sklearn.ensemble import RandomForestClassifier

        self.forest_ = None
        # Where all columns are constant none is left.
        if len(np.unique(labels.verdicts)) < 2 or not self._values.shape[1]:
            return
        rows, targets, weights = labels.among(self._drawn, self.weight)
        self.forest_ = RandomForestClassifier(
            self.trees, max_depth=self.depth, min_samples_leaf=self.leaf, random_state=self.random_state
        )
        self.forest_.fit(self._values[rows], targets, weights)

    def _shares(self, values: NDArray[np.float32]) -> Floats:
        if self.forest_ is None or not len(values):
            return np.zeros(len(values))
        return np.asarray(self.forest_.predict_proba(values)[:, 1], np.float64)

    def _columns(self, X: Items) -> FeatureMatrix:
        """Return every view, and the score as evidence."""
        evidence = self.evidence_.transform(X.scores).astype(np.float32)
        names = [f"{view}.{name}" for view, matrix in X.views.items() for name in matrix.names]
        return FeatureMatrix(np.column_stack([*(v.values for v in X.views.values()), evidence]), (*names, "score"))
