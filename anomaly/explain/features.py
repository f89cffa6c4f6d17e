"""Which features move a member that reads features.

Of an isolation forest, how much faster than by halving the splits on a feature isolate the row; of frozen tails, each
column's own term; of neighbours, each feature's part of the squared distances to them; of robust ranges, the distances
themselves; of a normal distribution, the squares of the whitened columns. Of another scikit-learn detector, how far
each scaled column lies from the middle; of anything else nothing is known, and all features share it.

Shapes: n rows, K features, j prepared columns.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from anomaly.base import Detector, FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.core import CoreDetector
from anomaly.detectors.gaussian import GaussianDetector
from anomaly.detectors.neighbours import Neighbours
from anomaly.detectors.robust import IQRDetector, RobustZDetector
from anomaly.detectors.tails import FrozenTails

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEIGHBOURS = 20
_BLOCK = 256


@singledispatch
def feature_parts(member: Detector, X: FeatureMatrix) -> dict[str, tuple[Any, bool]]:
    """Return, by statistic, (n, K) non-negative weights and whether they add up to it exactly."""
    return {"": (np.ones(X.values.shape), False)}


@feature_parts.register(RobustZDetector)
@feature_parts.register(IQRDetector)
def _(member: RobustZDetector | IQRDetector, X: FeatureMatrix) -> dict[str, tuple[Any, bool]]:
    distance = member.distances(X)
    wide = np.zeros(X.values.shape)
    wide[:, member.columns_] = distance
    largest = np.zeros_like(wide)
    if distance.shape[1]:
        rows, at = np.arange(len(wide)), wide.argmax(axis=1)
        largest[rows, at] = wide[rows, at]
    return {"largest": (largest, True), "mean_square": (np.square(wide), True)}


@feature_parts.register
def _(member: PyODDetector, X: FeatureMatrix) -> dict[str, tuple[Any, bool]]:
    if member.estimator_ is None:
        return {"": (np.zeros(X.values.shape), False)}
    rows = member.prepare_.transform(X)
    weight, exact = _prepared_parts(member.estimator_, rows)
    return {"": (_back(member, weight, X.names), exact)}


@feature_parts.register
def _(member: GaussianDetector, X: FeatureMatrix) -> dict[str, tuple[Any, bool]]:
    return {"": (_back(member, member.parts(X), X.names), True)}


@feature_parts.register
def _(member: CoreDetector, X: FeatureMatrix) -> dict[str, tuple[Any, bool]]:
    rows, parts = member.prepared(X), {}
    for name, inner in member.members_.items():
        for statistic, (weight, exact) in feature_parts(inner, rows).items():
            parts[f"{name}.{statistic}".rstrip(".")] = _back(member, weight, X.names), exact
    return parts


def _prepared_parts(estimator: Any, rows: NDArray[np.float32]) -> tuple[Floats, bool]:
    if isinstance(estimator, FrozenTails):
        return estimator.column_scores(rows), True
    # Asked of the class: the property itself would draw all samples anew.
    if hasattr(type(estimator), "estimators_samples_") and hasattr(estimator, "estimators_features_"):
        return isolation_parts(estimator, rows), True
    neighbours = _neighbours(estimator)
    if neighbours is not None:
        return neighbour_parts(neighbours, rows), False
    return np.abs(rows.astype(np.float64)), False


def isolation_parts(forest: Any, rows: NDArray[np.float32]) -> Floats:
    """Return (n, j) bits by which splits on each feature isolate a row faster than halving would, averaged over trees.

    A path that keeps a share q of a node's rows tells -log2 q bits for the price of one split. Summed over the path,
    with the depth that is spared at its end, this is what shortens it against a balanced tree.
    """
    trees = _Trees.of(forest)
    out = np.empty((len(rows), rows.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        out[start : start + _BLOCK] = trees.bits(rows[start : start + _BLOCK])
    return np.maximum(out / len(trees.roots), 0.0)


class _Trees(NamedTuple):
    """The nodes of all trees of a forest in one row; leaves have no children, -1."""

    roots: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    column: NDArray[np.int64]
    threshold: Floats
    size: Floats

    @classmethod
    def of(cls, forest: Any) -> Self:
        trees = [model.tree_ for model in forest.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        left, right = (
            np.concatenate([np.where(x >= 0, x + root, -1) for x, root in zip(side, roots, strict=True)])
            for side in ([t.children_left for t in trees], [t.children_right for t in trees])
        )
        used = zip(trees, forest.estimators_features_, strict=True)
        column = np.concatenate([np.asarray(names)[np.maximum(tree.feature, 0)] for tree, names in used])
        threshold = np.concatenate([tree.threshold for tree in trees])
        return cls(roots, left, right, column, threshold, np.concatenate([t.weighted_n_node_samples for t in trees]))

    def bits(self, rows: NDArray[np.float32]) -> Floats:
        """Return (n, j) the sum over all trees."""
        row, node = np.repeat(np.arange(len(rows)), len(self.roots)), np.tile(self.roots, len(rows))
        out = np.zeros(rows.size)
        while len(node):
            inner = self.left[node] >= 0
            row, node = row[inner], node[inner]
            column = self.column[node]
            after = np.where(rows[row, column] <= self.threshold[node], self.left[node], self.right[node])
            bits = np.log2(self.size[node] / self.size[after]) - 1.0
            out += np.bincount(row * rows.shape[1] + column, bits, rows.size)
            node = after
        return out.reshape(rows.shape)


def neighbour_parts(neighbours: Neighbours, rows: NDArray[np.float32]) -> Floats:
    """Return (n, j) the mean squared distance of each feature to the nearest rows of a reference."""
    known = neighbours.rows()
    found = neighbours.of(rows, min(NEIGHBOURS, len(known)))[1]
    out = np.empty(rows.shape)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        out[part] = np.square(rows[part, None, :] - known[found[part]], dtype=np.float64).mean(axis=1)
    return out


def _neighbours(estimator: Any) -> Neighbours | None:
    """Return the rows that a neighbour detector keeps, its own or somebody else's, or None."""
    if hasattr(estimator, "neighbours_"):
        ours: Neighbours = estimator.neighbours_
        return ours
    for holder in (estimator, getattr(estimator, "detector_", None), getattr(estimator, "neigh_", None)):
        rows = getattr(holder, "_fit_X", None)
        if rows is not None:
            return Neighbours().fit(rows)
    return None


def _back(member: PyODDetector | CoreDetector | GaussianDetector, weight: Floats, names: tuple[str, ...]) -> Floats:
    """Return the weights of prepared columns as those of the features they came from."""
    out = np.zeros((len(weight), len(names)))
    place = {name: k for k, name in enumerate(names)}
    for column, name in zip(weight.T, member.prepare_.names_, strict=True):
        out[:, place[name.removesuffix(".missing") if name not in place else name]] += column
    return out
