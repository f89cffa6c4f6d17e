"""How alike two items are: leaves in common, nearness of embeddings, values in common.

Shapes: n items of the pool, l named items, t trees, d embedding columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.alike import RareValues, Space, near
from anomaly.active.leaves import Forests, look_up
from anomaly.base import Estimator
from anomaly.sequences.store import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float32]

_ROWS = 4096
"""Items whose nearness to all named ones is held at a time."""
_TINY = 1e-9


@dataclass(frozen=True)
class Marks:
    """What the kernel reads of some items.

    Attributes
    ----------
    codes : (t, n) uint8 leaf of each item in each tree
    points : (n, d) float32, embeddings in units of the kernel's length scale; d = 0 where there are none
    offsets : (n + 1,) int64, item i holds the values ``held[offsets[i]:offsets[i + 1]]``
    held : int64, places among the values that the kernel knows
    """

    codes: NDArray[np.uint8]
    points: Floats
    offsets: NDArray[np.int64]
    held: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.codes.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Marks:
        """Return the marks of some items."""
        places, offsets = runs(self.offsets[rows], np.diff(self.offsets)[rows])
        return Marks(np.ascontiguousarray(self.codes[:, rows]), self.points[rows], offsets, self.held[places])


class ItemKernel(Estimator):
    """A sum of kernels, each of them 1 for an item and itself.

    Parameters
    ----------
    trees : trees of the isolation forests, shared evenly among the views
    leaves, nearness, links : weights of the three parts; those that a pool lacks fall to the first
    """

    def __init__(
        self,
        *,
        trees: int = 600,
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
        self.forests_ = Forests(trees=self.trees, random_state=self.random_state).fit(X)
        self.space_, self.values_ = Space().fit(X), RareValues().fit(X)
        near, linked = self.space_.center_.size > 0, self.values_.rare_.size > 0
        parts = np.array([self.leaves, self.nearness * near, self.links * linked])
        self.weights_ = parts / parts.sum()
        return self

    def marks(self, X: Items) -> Marks:
        """Return what the kernel reads of some items."""
        return Marks(self.forests_.codes(X), self.space_.points(X), *self.values_.held(X))

    def row(self, one: Marks, many: Marks) -> Floats:
        """Return (n,) the likeness of one item and many."""
        out = _shared_leaves(one.codes[:, 0], many.codes) * np.float32(self.weights_[0])
        if self.weights_[1]:
            out += np.float32(self.weights_[1]) * _nearness(one.points[0], many.points)
        if self.weights_[2]:
            out += np.float32(self.weights_[2]) * self._common(one, many)
        return out

    def sums(self, weights: NDArray[np.float64], named: Marks, many: Marks) -> NDArray[np.float64]:
        """Return (n,) the sum over named items of weight times likeness.

        Leaves and values in common are linear: weights are first added up by leaf and by value, so that only nearness
        costs a step for each named item.
        """
        table = np.zeros((len(named.codes), 256))
        for tree, code in zip(table, named.codes, strict=True):
            np.add.at(tree, code, weights)
        out: NDArray[np.float64] = look_up(table, many.codes) * (self.weights_[0] / len(table))
        if self.weights_[1]:
            for start in range(0, len(many), _ROWS):
                rows = slice(start, start + _ROWS)
                out[rows] += self.weights_[1] * (near(many.points[rows], named.points) @ weights)
        if self.weights_[2]:
            out += self.weights_[2] * self._common_sums(weights, named, many)
        return out

    def _common_sums(self, weights: NDArray[np.float64], named: Marks, many: Marks) -> NDArray[np.float64]:
        square = self.values_.rare_**2
        norm, others = (np.sqrt(_sums(square[marks.held], marks.offsets)) for marks in (named, many))
        share = np.divide(weights, norm, out=np.zeros(len(norm)), where=norm > _TINY)
        by_value = np.bincount(named.held, np.repeat(share, np.diff(named.offsets)), len(square))
        dot = _sums((square * by_value)[many.held], many.offsets)
        cosines: NDArray[np.float64] = np.divide(dot, others, out=np.zeros(len(dot)), where=others > _TINY)
        return cosines

    def _common(self, one: Marks, many: Marks) -> Floats:
        """Return (n,) the cosine of the values held, each weighed by its rarity."""
        weight = self.values_.rare_[many.held] ** 2
        dot, square = _sums(weight * np.isin(many.held, one.held), many.offsets), _sums(weight, many.offsets)
        scale = float(np.linalg.norm(self.values_.rare_[one.held])) * np.sqrt(square)
        cosine = np.divide(dot, scale, out=np.zeros(len(dot)), where=scale > _TINY)
        return np.asarray(cosine, np.float32)


def _shared_leaves(code: NDArray[np.uint8], codes: NDArray[np.uint8]) -> Floats:
    """Return (n,) the share of trees in which items fall into one leaf."""
    count = np.zeros(codes.shape[1], np.uint16)
    for own, others in zip(code, codes, strict=True):
        count += others == own
    return np.asarray(count / np.float32(len(codes)), np.float32)


def _nearness(point: Floats, points: Floats) -> Floats:
    """Return (n,) exp(-d^2 / 2) with distances in units of the length scale."""
    square = ((points - point) ** 2).sum(1)
    return np.asarray(np.exp(-0.5 * square), np.float32)


def _sums(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    sums: NDArray[np.float64] = total[offsets[1:]] - total[offsets[:-1]]
    return sums
