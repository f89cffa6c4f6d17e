"""What learners, strategies and analysts exchange.

Shapes: N items of the pool, l labels, n chosen items, v experts, r rows that trees grow on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """What is known of some items, in the order in which it became known; an item may be judged more than once.

    Attributes
    ----------
    items : (l,) int64, places of the items
    verdicts : (l,) int64, 1 anomalous, 0 normal, -1 unsure
    confidences : (l,) float64 in (0, 1], 1 unless stated
    """

    items: NDArray[np.int64]
    verdicts: NDArray[np.int64]
    confidences: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, items: Any = (), verdicts: Any = (), confidences: Any = None) -> Labels:
        """Build from anything that numpy reads."""
        places = np.asarray(items, np.int64)
        sure = np.ones(len(places)) if confidences is None else np.asarray(confidences, np.float64)
        return cls(places, np.asarray(verdicts, np.int64), sure)

    @property
    def decided(self) -> Labels:
        """Those that say anomalous or normal."""
        return self[self.verdicts >= 0]

    def among(self, drawn: NDArray[np.int64], weight: float) -> tuple[NDArray[np.int64], Any, NDArray[np.float64]]:
        """Return what trees grow on: these and, as weak evidence of the usual, drawn items that have no label.

        Parameters
        ----------
        weight : of all of the drawn ones together, in labels

        Returns
        -------
        items, targets, weights : (r,) places, 1 anomalous and 0 normal, what each counts; the few as much as the many
        """
        drawn, positive = np.setdiff1d(drawn, self.items), self.verdicts == 1
        balance = np.where(positive, max((~positive).sum(), 1) / max(positive.sum(), 1), 1.0)
        targets = np.concatenate([positive, np.zeros(len(drawn), np.bool_)]).astype(np.int64)
        weak = np.full(len(drawn), weight / max(len(drawn), 1))
        return np.concatenate([self.items, drawn]), targets, np.concatenate([self.confidences * balance, weak])

    def common(self, other: Labels) -> int:
        """Return how many labels at the heads of two lists are the same."""
        n = min(len(self), len(other))
        same = (
            (self.items[:n] == other.items[:n])
            & (self.verdicts[:n] == other.verdicts[:n])
            & (self.confidences[:n] == other.confidences[:n])
        )
        return n if same.all() else int(np.argmin(same))

    def __getitem__(self, rows: Any) -> Labels:
        return Labels(self.items[rows], self.verdicts[rows], self.confidences[rows])


@dataclass(frozen=True)
class Belief:
    """What a learner holds of every item.

    Attributes
    ----------
    mean : (n,) float64, higher is more anomalous
    std : (n,) float64, how far the mean may be off; 0 where a learner cannot tell
    votes : (v, n) float64, the views of a learner's experts where it has some
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    votes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Choice:
    """Items to be judged next, the most wanted first.

    Attributes
    ----------
    items : (n,) int64 places
    probabilities : (n,) float64, the chance with which each was chosen, given the choices before it
    policies : n names of what chose each
    """

    items: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    policies: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)
