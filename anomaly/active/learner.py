"""The labelling loop in Python: ask, be told, take back, rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl

from anomaly.active.labels import VERDICTS
from anomaly.active.records import Choice, Labels
from anomaly.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.active.records import Belief
    from anomaly.base import Learner, QueryStrategy

Verdict = Literal["anomalous", "normal", "unsure"]
_NUMBERS: dict[Any, int] = VERDICTS | {number: number for number in VERDICTS.values()}


@dataclass(frozen=True)
class Taught:
    """One verdict.

    Attributes
    ----------
    item : place of the item
    verdict : 1 anomalous, 0 normal, -1 unsure
    confidence : in (0, 1]
    policy, probability : what chose the item, and with which chance; "" and NaN where nobody was asked
    """

    item: int
    verdict: int
    confidence: float = 1.0
    policy: str = ""
    probability: float = float("nan")


class ActiveLearner:
    """Ask which items to judge, take the verdicts, and rank everything anew after each.

    Parameters
    ----------
    items : the pool
    learner, query : `ResidualGP` and `UpperConfidence` unless stated
    random_state : of what the strategy leaves to chance; with the same verdicts the same is asked
    """

    def __init__(
        self,
        items: Items,
        learner: Learner | None = None,
        query: QueryStrategy | None = None,
        *,
        random_state: int = 0,
    ) -> None:
        from anomaly.active.residual_gp import ResidualGP
        from anomaly.active.strategies import UpperConfidence

        self.items = items
        self.learner = (ResidualGP(random_state=random_state) if learner is None else learner).fit(items)
        self.strategy = UpperConfidence() if query is None else query
        self.random_state = random_state
        self.taught: list[Taught] = []
        self._asked: dict[int, tuple[str, float]] = {}
        self._places = _places(items.ids)

    def choose(self, n: int = 1, exclude: Sequence[Any] = ()) -> Choice:
        """Choose the next items, with what chose each and the chance of it.

        Parameters
        ----------
        exclude : ids that may not be chosen, such as those on another analyst's screen

        Raises
        ------
        DataError
            If `n` is below 0, or an id is none of the pool.
        """
        if n < 0:
            raise DataError(f"n={n}: expected at least 0 items")
        open_ = np.ones(len(self.items), np.bool_)
        open_[self.labels.items] = False
        open_[[self.place(i) for i in exclude]] = False
        # Seeded by how much is known or out of reach: replaying asks the same again, and a case that is put off or on
        # another screen does not lend its chance to the next.
        rng = np.random.default_rng([self.random_state, len(self.taught), len(exclude)])
        n = min(n, int(open_.sum()))
        choice = self.strategy.query(self.belief_, self.items, self.labels, n, open_=open_, rng=rng)
        for item, policy, chance in zip(choice.items, choice.policies, choice.probabilities, strict=True):
            self._asked[int(item)] = (policy, float(chance))
        return choice

    def query(self, n: int = 1, exclude: Sequence[Any] = ()) -> list[Any]:
        """Return the ids of the items to judge next."""
        return [self.items.ids[int(i)] for i in self.choose(n, exclude).items]

    def teach(self, item: Any, verdict: Verdict | int, *, confidence: float = 1.0) -> Self:
        """Take a verdict and rank anew.

        Raises
        ------
        DataError
            If there is no such item, verdict or confidence.
        """
        if not isinstance(verdict, (str, int, np.integer)) or verdict not in _NUMBERS:
            raise DataError(f"verdict {verdict!r}: expected anomalous, normal or unsure")
        if not 0 < confidence <= 1:
            raise DataError(f"confidence {confidence}: expected a number above 0 and at most 1")
        place = self.place(item)
        self.taught.append(Taught(place, _NUMBERS[verdict], confidence, *self._asked.pop(place, ("", float("nan")))))
        self.learner.update(self.labels)
        return self

    def undo(self) -> Any:
        """Take back the last verdict and return the id of its item.

        Raises
        ------
        DataError
            If there is none.
        """
        if not self.taught:
            raise DataError("nothing to undo: no verdict was given")
        last = self.taught.pop()
        self._asked[last.item] = (last.policy, last.probability)
        self.learner.update(self.labels)
        return self.items.ids[last.item]

    def replay(self, taught: Sequence[Taught]) -> Self:
        """Hold these verdicts and no others."""
        self.taught = [replace(each) for each in taught]
        self.learner.update(self.labels)
        return self

    def place(self, item: Any) -> int:
        """Return the place of an id in the pool."""
        try:
            return self._places[item]
        except (KeyError, TypeError) as error:
            raise DataError(f"{item!r}: no such item in the pool") from error

    @property
    def labels(self) -> Labels:
        """The verdicts in force, in their order."""
        rows = self.taught
        return Labels.of([t.item for t in rows], [t.verdict for t in rows], [t.confidence for t in rows])

    @property
    def belief_(self) -> Belief:
        """What the learner holds of every item."""
        return self.learner.belief()

    @property
    def posterior_(self) -> NDArray[np.float64]:
        """(n,) the posterior of every item, in the order of the pool."""
        return self.learner.rank()

    @property
    def ranking_(self) -> pl.DataFrame:
        """Every item, the most anomalous first, with its unsupervised score, its posterior and its verdict."""
        posterior = self.posterior_
        order = np.argsort(-posterior, kind="stable")
        verdict = np.full(len(self.items), 2, np.int64)
        verdict[self.labels.items] = self.labels.verdicts
        names = pl.Series(["normal", "anomalous", None, "unsure"])
        return pl.DataFrame(
            {
                "item": self.items.ids[order],
                "posterior": posterior[order],
                "score": self.items.scores[order],
                "verdict": names[verdict[order] % 4],
            }
        )


def _places(ids: pl.Series) -> dict[Any, int]:
    """Return the place of every id, which one item alone may have."""
    places = {key: place for place, key in enumerate(ids.to_list())}
    if len(places) < len(ids):
        raise DataError(f"items hold the id {ids.filter(ids.is_duplicated())[0]!r} more than once; give each its own")
    return places
