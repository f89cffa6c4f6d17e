"""Which items to ask about next.

Shapes: N items of the pool, n chosen.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from anomaly.base import Belief, Choice, Labels, QueryStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class GreedyStrategy(QueryStrategy):
    """Choose the items of the highest wish; nothing is left to chance."""

    @abstractmethod
    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return (N,) how much each item is wanted."""

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Choose the n open items that are wanted most; of equals the first."""
        items = highest(self.wish(scores, X, labels), n, open_)
        return Choice(items, np.ones(len(items)), (type(self).__name__,) * len(items))


class Top(GreedyStrategy):
    """The items most likely anomalous."""

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return the mean."""
        return scores.mean


class UpperConfidence(GreedyStrategy):
    """The items that may be most anomalous: the mean and some standard deviations.

    Parameters
    ----------
    width : standard deviations
    """

    def __init__(self, *, width: float = 0.25) -> None:
        self.width = width

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return the upper bound."""
        return scores.mean + self.width * scores.std


def highest(wish: Floats, n: int, open_: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the places of the n highest open items, the highest first; of equals the first."""
    places = np.flatnonzero(open_)
    if n < len(places):
        bar = np.partition(wish[places], len(places) - n)[len(places) - n]
        places = places[wish[places] >= bar]
    return places[np.argsort(-wish[places], kind="stable")][:n]
