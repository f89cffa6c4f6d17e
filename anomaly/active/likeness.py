"""Ways in which two items are alike, each a kernel that is 1, about, for an item and itself.

All but one are inner products of explicit, mostly sparse features, so that scoring costs the same for ten labels and
for a thousand.

Shapes: n items, j items that a process remembers, d columns of the embedding, m members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from anomaly.active.alike import RareValues, Space, near
from anomaly.active.items import MEMBERS, OWNER
from anomaly.active.leaves import LeafMap
from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]

LEAVES = 256
"""Leaves that a tree of a `LeafMap` has at most."""
EVIDENCE_CEILING = 6.0
"""Of a member's -log10 p-value; beyond, a member may not outvote the others."""


@dataclass(frozen=True)
class Looks:
    """Items as the kernels read them.

    Attributes
    ----------
    features : by way, n rows of features whose inner product is the likeness
    points_nd : embeddings in units of the length scale; d = 0 where there are none
    """

    features: dict[str, Any]
    points_nd: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> Looks:
        """Return some of the items."""
        return Looks({name: matrix[rows] for name, matrix in self.features.items()}, self.points_nd[rows])


class Likeness(Estimator):
    """Learn from a pool, without labels, what it means to be alike.

    Ways: "leaves.<view>", the share of isolation trees in whose leaves two items meet; "near", the distance of their
    embeddings; "members", the product of what the members say; "values" and "owner", rare values in common.

    Parameters
    ----------
    trees : isolation trees of each view
    """

    def __init__(self, *, trees: int = 50, random_state: int = 0) -> None:
        self.trees = trees
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow the trees, learn the scales, and count how many items hold each value."""
        self.maps_ = {
            name: LeafMap(trees=self.trees, random_state=self.random_state).fit(view)
            for name, view in X.views.items()
            if view.names
        }
        self.space_, self.values_ = Space().fit(X), RareValues().fit(X)
        evidence = _evidence(X)
        # A member that hardly ever speaks must not shout when it does.
        self.mean_, self.unit_ = evidence.mean(0), evidence.std(0) + 0.1
        return self

    @property
    def ways(self) -> tuple[str, ...]:
        """Names of the kernels that this pool has."""
        names = [f"leaves.{view}" for view in self.maps_]
        names += ["near"] if self.space_.center_.size else []
        names += ["members"] if len(self.mean_) else []
        owned = self.values_.known_ >= OWNER
        # Where every owner has one item, owners link nothing.
        return (
            *names,
            *(["values"] if (~owned).any() else []),
            *(["owner"] if (self.values_.rare_[owned] < 0.999).any() else []),
        )

    def read(self, X: Items) -> Looks:
        """Return the features of items."""
        features: dict[str, Any] = {
            f"leaves.{view}": _one_hot(each.codes(X.views[view])) for view, each in self.maps_.items()
        }
        if len(self.mean_):
            features["members"] = (_evidence(X) - self.mean_) / self.unit_ / np.sqrt(len(self.mean_))
        for way, owner in (("values", False), ("owner", True)):
            if way in self.ways and X.links is not None:
                features[way] = self._held(X, owner)
        return Looks(features, self.space_.points(X))

    def between(self, A: Looks, B: Looks) -> dict[str, Floats]:
        """Return, by way, the (n, j) likeness of each of `A` and each of `B`."""
        found = {name: _dense(matrix @ B.features[name].T) for name, matrix in A.features.items()}
        if A.points_nd.shape[1]:
            found["near"] = near(A.points_nd, B.points_nd)
        return found

    def _held(self, X: Items, owner: bool) -> Any:
        """Return (n, values) the rarity of the values held, each row of length 1."""
        known, (offsets, place) = self.values_.known_, self.values_.held(X)
        kept = (known[place] >= OWNER) == owner
        item = np.repeat(np.arange(len(X)), np.diff(offsets))[kept]
        weight = self.values_.rare_[place[kept]] + 1e-9
        length = np.sqrt(np.bincount(item, weight**2, minlength=len(X)))
        return sparse.csr_matrix((weight / length[item], (item, place[kept])), shape=(len(X), len(known)))


def _evidence(X: Items) -> Floats:
    return np.minimum(X.views[MEMBERS].values.astype(np.float64), EVIDENCE_CEILING)


def _one_hot(codes_tn: NDArray[np.uint8]) -> Any:
    """Return (n, t x 256) one over the root of t in the column of every leaf that an item is in."""
    t, n = codes_tn.shape
    columns = (codes_tn.T.astype(np.int32) + LEAVES * np.arange(t, dtype=np.int32)).ravel()
    values = np.full(n * t, t**-0.5)
    return sparse.csr_matrix((values, columns, np.arange(0, n * t + 1, t)), shape=(n, t * LEAVES))


def _dense(matrix: Any) -> Floats:
    return np.asarray(matrix.todense() if sparse.issparse(matrix) else matrix, np.float64)
