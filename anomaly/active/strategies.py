"""Which items to ask about next.

Shapes: N items of the pool, n chosen.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anomaly.active.items import MEMBERS
from anomaly.active.records import Belief, Choice, Labels
from anomaly.base import QueryStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class GreedyStrategy(QueryStrategy):
    """Choose the items of the highest wish; nothing is left to chance."""

    name: ClassVar[str]

    @abstractmethod
    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return (N,) how much each item is wanted."""

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Choose the n open items that are wanted most; of equals the first."""
        return certain(highest(self.wish(scores, X, labels), n, open_), self.name)


class Top(GreedyStrategy):
    """The items most likely anomalous."""

    name = "top"

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return the mean."""
        return scores.mean


class UpperConfidence(GreedyStrategy):
    """The items that may be most anomalous: the mean and some standard deviations (Srinivas et al. 2010).

    Parameters
    ----------
    width : standard deviations
    """

    name = "upper_confidence"

    def __init__(self, *, width: float = 0.1) -> None:
        self.width = width

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return the upper bound."""
        return scores.mean + self.width * scores.std


class Uncertainty(GreedyStrategy):
    """The items nearest to where anomalous and normal labels meet; the top while only one kind is known."""

    name = "uncertainty"

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return minus the distance to the middle between the labelled kinds, in standard deviations."""
        anomalous = scores.mean[labels.items[labels.verdicts == 1]]
        normal = scores.mean[labels.items[labels.verdicts == 0]]
        if not len(anomalous) or not len(normal):
            return scores.mean
        middle = (float(np.median(anomalous)) + float(np.median(normal))) / 2
        unsure = np.where(scores.std > 0, scores.std, 1.0)
        return -np.abs(scores.mean - middle) / unsure


class Disagreement(GreedyStrategy):
    """The items on which the experts differ most: a learner's own, else the members of the ensemble.

    Parameters
    ----------
    top : share of the pool, the most anomalous, that is asked about; elsewhere experts differ about nothing
    """

    name = "disagreement"

    def __init__(self, *, top: float = 0.1) -> None:
        self.top = top

    def wish(self, scores: Belief, X: Items, labels: Labels) -> Floats:
        """Return how far the experts' ranks of an item lie apart."""
        votes = scores.votes
        if votes is None and MEMBERS in X.views:
            votes = X.views[MEMBERS].values.T.astype(np.float64)
        spread = scores.std if votes is None else np.std([ranks(vote) for vote in votes], axis=0)
        placed = ranks(scores.mean)
        if not spread.any():
            return placed
        return np.where(placed >= 1 - self.top, spread, placed - 1)


class Diverse(QueryStrategy):
    """Likely anomalous items that differ from each other and from those judged already.

    Parameters
    ----------
    weight : how much likeness to an item that is judged or chosen already costs, in units of the mean's spread
    candidates : items looked at for each that is chosen, the most anomalous
    """

    def __init__(self, *, weight: float = 1.0, candidates: int = 50) -> None:
        self.weight = weight
        self.candidates = candidates

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Choose one by one, the best of what likeness to the chosen has left."""
        items = highest(scores.mean, n * self.candidates, open_)
        if not len(items):
            return certain(items, "diverse")
        seen = labels.items[-4 * self.candidates :]
        points = _points(X, np.concatenate([items, seen]))
        near = _likeness(points[: len(items)], points[len(items) :]).max(axis=1, initial=0.0)
        wish = scores.mean[items] / max(float(scores.mean[items].std()), 1e-12)
        chosen: list[int] = []
        for _ in range(min(n, len(items))):
            value = wish - self.weight * near
            value[chosen] = -np.inf
            chosen.append(int(np.argmax(value)))
            near = np.maximum(near, _likeness(points[: len(items)], points[chosen[-1:]])[:, 0])
        return certain(items[chosen], "diverse")


class Random(QueryStrategy):
    """Any item, each with the same chance."""

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Draw without replacement."""
        places = np.flatnonzero(open_)
        items = rng.choice(places, min(n, len(places)), replace=False)
        return Choice(items, 1.0 / (len(places) - np.arange(len(items))), ("random",) * len(items))


class Staged(QueryStrategy):
    """Discover kinds of anomaly, then learn where they end, then collect the rest.

    Parameters
    ----------
    found : anomalous labels that end the discovery
    patience : labels that end it in any case
    boundary : labels that are then spent on the border
    """

    def __init__(self, *, found: int = 5, patience: int = 30, boundary: int = 20) -> None:
        self.found = found
        self.patience = patience
        self.boundary = boundary

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Ask as the stage asks that the labels have come to."""
        return self.stage(labels).query(scores, X, labels, n, open_=open_, rng=rng)

    def stage(self, labels: Labels) -> QueryStrategy:
        """Return the strategy of the present stage."""
        enough = np.flatnonzero(np.cumsum(labels.verdicts == 1) >= self.found)
        ended = min(int(enough[0]) + 1 if len(enough) else self.patience, self.patience)
        if len(labels) < ended:
            return Diverse()
        return Uncertainty() if len(labels) < ended + self.boundary else Top()


class Audited(QueryStrategy):
    """Another strategy, in place of which now and then any item is drawn: what is learnt so is unbiased.

    Parameters
    ----------
    strategy : the other one; it is either sure of its choice or draws evenly
    share : chance that an item is drawn from all open ones
    """

    def __init__(self, *, strategy: QueryStrategy, share: float = 0.1) -> None:
        self.strategy = strategy
        self.share = share

    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Choose one after another, each with its chance in both ways."""
        left = open_.copy()
        rows: list[tuple[int, float, str]] = []
        for _ in range(min(n, int(open_.sum()))):
            wanted = self.strategy.query(scores, X, labels, 1, open_=left, rng=rng)
            item, chance, policy = int(wanted.items[0]), float(wanted.probabilities[0]), wanted.policies[0]
            if rng.random() < self.share:
                drawn = int(rng.choice(np.flatnonzero(left)))
                # What the strategy is not sure of it draws evenly, so that every item has the same chance.
                chance = 0.0 if chance == 1.0 and drawn != item else chance
                item, policy = drawn, "audit"
            rows.append((item, self.share / left.sum() + (1 - self.share) * chance, policy))
            left[item] = False
        items, chances, policies = zip(*rows, strict=True) if rows else ((), (), ())
        return Choice(np.array(items, np.int64), np.array(chances), tuple(policies))


def certain(items: NDArray[np.int64], policy: str) -> Choice:
    """Return a choice in which nothing was left to chance."""
    return Choice(items, np.ones(len(items)), (policy,) * len(items))


def highest(wish: Floats, n: int, open_: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the places of the n highest open items, the highest first; of equals the first."""
    places = np.flatnonzero(open_)
    if 0 < n < len(places):
        bar = np.partition(wish[places], len(places) - n)[len(places) - n]
        places = places[wish[places] >= bar]
    return places[np.argsort(-wish[places], kind="stable")][:n]


def ranks(x: Floats) -> Floats:
    """Return places in the order, from 0 for the lowest to 1 for the highest; equals share theirs."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(x) - 1) / max(len(x) - 1, 1))


def _points(X: Items, rows: NDArray[np.int64]) -> Floats:
    """Return the named items as points, every column in units of its spread among them."""
    columns = [view.values[rows].astype(np.float64) for view in X.views.values()]
    values = np.concatenate(columns, axis=1) if columns else X.scores[rows, None]
    values = np.where(np.isfinite(values), values, 0.0)
    return np.asarray((values - values.mean(0)) / np.maximum(values.std(0), 1e-12))


def _likeness(a: Floats, b: Floats) -> Floats:
    """Return (a, b) likeness in (0, 1]; two random points have about 1/e."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(square, 0.0) / max(2 * a.shape[1], 1)))
