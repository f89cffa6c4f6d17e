"""Events as flat numpy columns. T events, N sessions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EVENTS = ("login", "search", "browse", "cart", "order", "pay", "return", "review")
LOGIN, SEARCH, BROWSE, CART, ORDER, PAY, RETURN, REVIEW = range(len(EVENTS))
NONE = -1
"""Code of a value that an event does not have."""


@dataclass(frozen=True)
class Log:
    """Events, those of a session in the order of time; every attribute is (T,).

    Attributes
    ----------
    session : place of the event's session, from 0
    time : seconds since the start of the simulation
    event : code of `EVENTS`
    amount : NaN where the event has none
    marked : whether the event itself is part of an anomaly
    others : codes, `NONE` where the event has none
    """

    session: NDArray[np.int64]
    user: NDArray[np.int32]
    time: NDArray[np.float64]
    event: NDArray[np.int8]
    category: NDArray[np.int32]
    seller: NDArray[np.int32]
    item: NDArray[np.int32]
    amount: NDArray[np.float64]
    device: NDArray[np.int32]
    address: NDArray[np.int32]
    card: NDArray[np.int32]
    rating: NDArray[np.int8]
    marked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.session)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Log:
        """Return the chosen events."""
        return Log(*(column[index] for column in self.columns()))

    def columns(self) -> list[NDArray[Any]]:
        """Return the columns in the order of their names."""
        return [getattr(self, f.name) for f in fields(self)]

    @classmethod
    def concat(cls, logs: Sequence[Log]) -> Log:
        """Lay logs end to end; their sessions stay apart."""
        columns = [np.concatenate(parts) for parts in zip(*(log.columns() for log in logs), strict=True)]
        sizes = [int(log.session.max(initial=-1)) + 1 for log in logs]
        shifts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        columns[0] = columns[0] + np.repeat(shifts, [len(log) for log in logs])
        return cls(*columns)


def first_of_session(session: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (T,) the place of the first event of each event's session; sessions lie together."""
    index = np.arange(len(session))
    starts = np.ones(len(session), bool)
    starts[1:] = session[1:] != session[:-1]
    return np.maximum.accumulate(np.where(starts, index, 0))


def last_such(such: NDArray[np.bool_], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (T,) the place of the latest such event of the session, the event itself included; -1 if there is none."""
    latest = np.maximum.accumulate(np.where(such, np.arange(len(such)), -1))
    return np.where(latest >= first, latest, -1)
