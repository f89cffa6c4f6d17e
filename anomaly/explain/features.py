"""Which features move a member that reads features.

Of an isolation forest, how much faster than by halving the splits on a feature isolate the row; of frozen tails, each
column's own term; of neighbours, each feature's part of the squared distances to them; of robust ranges, the distances
themselves; of a normal distribution, the squares of the whitened columns. Of another scikit-learn detector, how far
each scaled column lies from the middle; of anything else nothing is known, and all features share it.

Shapes: n rows, K features, j prepared columns.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.base import Detector, FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.core import CoreDetector
from anomaly.detectors.gaussian import GaussianDetector
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
    if hasattr(estimator, "estimators_samples_") and hasattr(estimator, "estimators_features_"):
        return isolation_parts(estimator, rows), True
    reference = _reference(estimator)
    if reference is not None:
        return neighbour_parts(reference, rows), False
    return np.abs(rows.astype(np.float64)), False


def isolation_parts(forest: Any, rows: NDArray[np.float32]) -> Floats:
    """Return (n, j) bits by which splits on each feature isolate a row faster than halving would, averaged over trees.

    A path that keeps a share q of a node's rows tells -log2 q bits for the price of one split. Summed over the path,
    with the depth that is spared at its end, this is what shortens it against a balanced tree.
    """
    out = np.zeros((len(rows), rows.shape[1]))
    for model, used in zip(forest.estimators_, forest.estimators_features_, strict=True):
        tree = model.tree_
        node = np.zeros(len(rows), np.int64)
        size = tree.weighted_n_node_samples
        while True:
            inner = np.flatnonzero(tree.children_left[node] >= 0)
            if not len(inner):
                break
            here = node[inner]
            column = np.asarray(used)[tree.feature[here]]
            left = rows[inner, column] <= tree.threshold[here]
            after = np.where(left, tree.children_left[here], tree.children_right[here])
            out[inner, column] += np.log2(size[here] / size[after]) - 1.0
            node[inner] = after
    return np.maximum(out / len(forest.estimators_), 0.0)


def neighbour_parts(reference: NDArray[np.float32], rows: NDArray[np.float32]) -> Floats:
    """Return (n, j) the mean squared distance of each feature to the nearest rows of a reference."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(reference))
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(rows, return_distance=False)
    out = np.empty(rows.shape)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        out[part] = np.square(rows[part, None, :] - reference[found[part]], dtype=np.float64).mean(axis=1)
    return out


def _reference(estimator: Any) -> NDArray[np.float32] | None:
    """Return the rows that a neighbour detector keeps, or None."""
    for holder in (estimator, getattr(estimator, "detector_", None), getattr(estimator, "neigh_", None)):
        rows = getattr(holder, "_fit_X", None)
        if rows is not None:
            return np.asarray(rows, np.float32)
    return None


def _back(member: PyODDetector | CoreDetector | GaussianDetector, weight: Floats, names: tuple[str, ...]) -> Floats:
    """Return the weights of prepared columns as those of the features they came from."""
    out = np.zeros((len(weight), len(names)))
    place = {name: k for k, name in enumerate(names)}
    for column, name in zip(weight.T, member.prepare_.names_, strict=True):
        out[:, place[name.removesuffix(".missing") if name not in place else name]] += column
    return out
