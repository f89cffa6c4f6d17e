"""How alike two items are: leaves in common, nearness of embeddings, values in common.

Shapes: n items of the pool, l named items, t trees, d embedding columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator

from anomaly.active.items import EMBEDDING, Items, Links
from anomaly.active.leaves import LeafMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Marks:
    """What the kernel reads of some items.

    Attributes
    ----------
    codes : (t, n) uint8 leaf of each item in each tree
    points : (n, d) float32, embeddings in units of the kernel's length scale; d = 0 where there are none
    links : the values that items share, None where there are none
    """

    codes: NDArray[np.uint8]
    points: Floats
    links: Links | None

    def __len__(self) -> int:
        return int(self.codes.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Marks:
        """Return the marks of some items."""
        links = None if self.links is None else self.links.take(rows)
        return Marks(np.ascontiguousarray(self.codes[:, rows]), self.points[rows], links)


class ItemKernel(BaseEstimator):  # type: ignore[misc]
    """A sum of kernels, each of them 1 for an item and itself.

    Parameters
    ----------
    trees : trees of the isolation forests, shared evenly among the views
    leaves, nearness, links : weights of the three parts; those that a pool lacks fall to the first
    """

    def __init__(
        self,
        *,
        trees: int = 100,
        leaves: float = 1.0,
        nearness: float = 0.25,
        links: float = 0.25,
        random_state: int = 0,
    ) -> None:
        self.trees = trees
        self.leaves = leaves
        self.nearness = nearness
        self.links = links
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow the forests and learn the length scale of the embedding and how common each shared value is."""
        share = -(-self.trees // max(len(X.views), 1))
        self.maps_ = {
            name: LeafMap(trees=share, random_state=self.random_state + k).fit(view)
            for k, (name, view) in enumerate(X.views.items())
        }
        self._learn_scale(X)
        self._learn_links(X)
        parts = np.array([self.leaves, self.nearness * (self.center_.size > 0), self.links * (self.rare_.size > 0)])
        self.weights_ = parts / parts.sum()
        return self

    def marks(self, X: Items) -> Marks:
        """Return what the kernel reads of some items."""
        codes = [each.codes(X.views[name]) for name, each in self.maps_.items()]
        points = np.zeros((len(X), 0), np.float32)
        if self.center_.size:
            points = ((X.views[EMBEDDING].values - self.center_) / self.scale_).astype(np.float32)
        return Marks(np.concatenate(codes) if codes else np.zeros((1, len(X)), np.uint8), points, X.links)

    def row(self, one: Marks, many: Marks) -> Floats:
        """Return (n,) the likeness of one item and many."""
        out = _shared_leaves(one.codes[:, 0], many.codes) * np.float32(self.weights_[0])
        if self.weights_[1]:
            out += np.float32(self.weights_[1]) * _nearness(one.points[0], many.points)
        if self.weights_[2] and one.links is not None and many.links is not None:
            out += np.float32(self.weights_[2]) * self._common(one.links, many.links)
        return out

    def _learn_scale(self, X: Items) -> None:
        self.center_, self.scale_ = np.zeros(0, np.float32), 1.0
        if EMBEDDING not in X.views or not X.views[EMBEDDING].names:
            return
        values = X.views[EMBEDDING].values.astype(np.float64)
        self.center_ = values.mean(0).astype(np.float32)
        # Twice the mean squared distance to the centre is the mean squared distance of two items.
        self.scale_ = float(np.sqrt(max(((values - self.center_) ** 2).sum(1).mean(), 1e-12)))

    def _learn_links(self, X: Items) -> None:
        """Weigh each value by how few items hold it: a value that everyone holds links nobody."""
        self.rare_ = np.zeros(0)
        if X.links is None or not len(X.links.codes):
            return
        held = np.bincount(X.links.codes)
        self.rare_ = np.where(held > 0, np.log((len(X) + 1) / np.maximum(held, 1)) / np.log(len(X) + 1), 0.0)

    def _common(self, one: Links, many: Links) -> Floats:
        """Return (n,) the cosine of the values held, each weighed by its rarity."""
        wanted = np.zeros(max(len(self.rare_), 1))
        known = one.codes[one.codes < len(self.rare_)]
        wanted[known] = self.rare_[known]
        norm = np.linalg.norm(wanted)
        codes = np.minimum(many.codes, len(wanted) - 1)
        weight = np.where(many.codes < len(self.rare_), self.rare_[codes], 0.0)
        dot, square = _sums(weight * wanted[codes], many.offsets), _sums(weight**2, many.offsets)
        scale = norm * np.sqrt(square)
        return np.divide(dot, scale, out=np.zeros(len(dot)), where=scale > 0).astype(np.float32)


def _shared_leaves(code: NDArray[np.uint8], codes: NDArray[np.uint8]) -> Floats:
    """Return (n,) the share of trees in which items fall into one leaf."""
    count = np.zeros(codes.shape[1], np.uint16)
    for own, others in zip(code, codes, strict=True):
        count += others == own
    share: Floats = count / np.float32(len(codes))
    return share


def _nearness(point: Floats, points: Floats) -> Floats:
    """Return (n,) exp(-d^2 / 2) with distances in units of the length scale."""
    square = ((points - point) ** 2).sum(1)
    near: Floats = np.exp(-0.5 * square)
    return near


def _sums(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    sums: NDArray[np.float64] = total[offsets[1:]] - total[offsets[:-1]]
    return sums
