"""Isolation forests read as a map: which leaf of every tree an item falls into.

Two items are alike as far as they share leaves. Leaves are numbered within their tree, so that a code is one byte.

Shapes: n items, t trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.base import Estimator, FeatureMatrix
from anomaly.detectors.table import TablePreparer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Codes = NDArray[np.uint8]

_BLOCK = 100_000


class LeafMap(Estimator):
    """Grow an isolation forest on a view and say into which leaves items fall.

    Parameters
    ----------
    trees : trees of the forest
    sample : rows that each tree grows on; at most 256, so that a leaf's number is one byte
    """

    def __init__(self, *, trees: int = 100, sample: int = 256, random_state: int = 0) -> None:
        self.trees = trees
        self.sample = sample
        self.random_state = random_state

    def fit(self, X: FeatureMatrix) -> Self:
        """Grow the trees; no label is needed."""
        from sklearn.ensemble import IsolationForest

        self.prepare_ = TablePreparer(scaling="none").fit(X)
        values = self.prepare_.transform(X)
        self.forest_ = None
        if values.shape[1] and len(values) > 1:
            size = min(self.sample, 256, len(values))
            self.forest_ = IsolationForest(n_estimators=self.trees, max_samples=size, random_state=self.random_state)
            self.forest_.fit(values)
        return self

    def codes(self, X: FeatureMatrix) -> Codes:
        """Return (t, n) the number of the leaf, within its tree, that each item falls into."""
        out = np.zeros((self.trees, len(X)), np.uint8)
        if self.forest_ is None:
            return out
        numbers = [np.cumsum(tree.tree_.children_left < 0) - 1 for tree in self.forest_.estimators_]
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            values = self.prepare_.transform(_rows(X, rows))
            for k, tree in enumerate(self.forest_.estimators_):
                out[k, rows] = numbers[k][tree.tree_.apply(values)]
        return out

    def depths(self) -> NDArray[np.float64]:
        """Return (t, 256) the depth of each leaf: the splits above it, and those its rows would still take."""
        out = np.zeros((self.trees, 256))
        for k, tree in enumerate([] if self.forest_ is None else self.forest_.estimators_):
            leaf = tree.tree_.children_left < 0
            depth = tree.tree_.compute_node_depths() - 1.0 + _unsplit(tree.tree_.n_node_samples)
            out[k, : leaf.sum()] = depth[leaf]
        return out


class Forests(Estimator):
    """One forest per view of the items.

    Parameters
    ----------
    trees : trees in all, shared evenly among the views
    """

    def __init__(self, *, trees: int = 100, random_state: int = 0) -> None:
        self.trees = trees
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow a forest on every view; on the scores alone where there is none."""
        views = _views(X)
        share = -(-self.trees // len(views))
        self.maps_ = {
            name: LeafMap(trees=share, random_state=self.random_state + k).fit(view)
            for k, (name, view) in enumerate(views.items())
        }
        return self

    def codes(self, X: Items) -> Codes:
        """Return (t, n) the leaf of every item in every tree."""
        views = _views(X)
        return np.concatenate([each.codes(views[name]) for name, each in self.maps_.items()])

    def depths(self) -> NDArray[np.float64]:
        """Return (t, 256) the depth of every leaf."""
        return np.concatenate([each.depths() for each in self.maps_.values()])


def look_up(table: NDArray[np.float64], codes: Codes) -> NDArray[np.float64]:
    """Return (n,) the sum over trees of what a (t, 256) table holds for each item's leaf."""
    total = np.zeros(codes.shape[1])
    for row, code in zip(table, codes, strict=True):
        total += row[code]
    return total


def _views(X: Items) -> Mapping[str, FeatureMatrix]:
    return X.views or {"score": FeatureMatrix(X.scores[:, None].astype(np.float32), ("score",))}


def _unsplit(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean depth of a random tree over n rows (Liu et al. 2008, equation 1)."""
    n = np.maximum(n, 1).astype(np.float64)
    harmonic = np.log(np.maximum(n - 1, 1)) + np.euler_gamma
    return np.where(n > 2, 2 * harmonic - 2 * (n - 1) / n, np.where(n == 2, 1.0, 0.0))


def _rows(X: FeatureMatrix, rows: Any) -> FeatureMatrix:
    return FeatureMatrix(X.values[rows], X.names)
