"""Entities that nobody knows, and known ones as they would look had nobody seen them before.

A later file has entities that training never saw, with devices, cards and addresses of their own. Among held-out
sequences of known ones each of these would be odd. So held-out sequences are shown as strangers' too: without their
entity, and with what is nobody else's as unknown as it then would be. Whose only sequence was learnt is a stranger in
it, as members judge what they learnt without itself.

Shapes: T events, N sequences, E entities; `size` codes of a field.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from anomaly.events.vocabulary import FIRST_VALUE, RARE, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

LEAST_COMMON = 0.1
"""Share of a field's values, the least frequent ones, that tell whether values too rare for a code are private."""


class Acquaintance(NamedTuple):
    """What was learnt of every entity.

    Attributes
    ----------
    known : (E,) learnt sequences of each entity, two standing for more
    only : (E,) uint64, the key of the sequence where it is the only one
    """

    known: NDArray[np.int64]
    only: NDArray[np.uint64]

    @classmethod
    def of(cls, train: SequenceStore) -> Self:
        """Return what these sequences tell; where single events are the items, one history vouches for itself."""
        known = np.bincount(train.entity, minlength=train.n_entities)
        only = np.zeros(len(known), np.uint64)
        only[train.entity] = train.keys()
        known = np.minimum(known if train.learnt is None else 2 * known, 2)
        known[0] = 0
        return cls(known, only)

    def lacks(self, X: SequenceStore) -> NDArray[np.bool_]:
        """Return (N,) whether nothing but itself tells of a sequence's entity."""
        entity = np.where(X.entity < len(self.known), X.entity, 0)
        known = self.known[entity]
        strange: NDArray[np.bool_] = known == 0
        once = np.flatnonzero(known == 1)
        strange[once] = X.take(once).keys() == self.only[entity[once]]
        return strange


def as_strangers(some: SequenceStore, X: SequenceStore) -> SequenceStore:
    """Return sequences as if nothing had been learnt of them: without their entity, and without what is theirs alone.

    Parameters
    ----------
    some : the sequences that are shown so
    X : all that is known; where it has no entities each sequence is one
    """
    owner_N = X.entity if X.n_entities > 1 else np.arange(1, len(X) + 1)
    codes = np.array(some.codes)
    for j, field in enumerate(some.fields):
        if field.kind == "categorical":
            codes[private_codes(X, j, owner_N)[codes[:, j]], j] = UNKNOWN
    nothing = None if some.learnt is None else np.zeros_like(some.learnt)
    return replace(some, codes=codes, entity=np.zeros_like(some.entity), learnt=nothing)


def private_codes(X: SequenceStore, j: int, owner_N: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (size,) which values of a field occur with one known owner alone; of owner 0 nobody knows who it is.

    Values too rare to have a code of their own are private where most of the least frequent others are.
    """
    codes, owner_T = np.asarray(X.codes[:, j], np.int64), np.repeat(owner_N, X.lengths).astype(np.int64)
    size = X.fields[j].size
    lowest, highest = np.full(size, np.iinfo(np.int64).max), np.zeros(size, np.int64)
    np.minimum.at(lowest, codes, owner_T)
    np.maximum.at(highest, codes, owner_T)
    private: NDArray[np.bool_] = (lowest == highest) & (lowest > 0)
    private[:FIRST_VALUE] = False
    counts = np.bincount(codes, minlength=size)
    there = FIRST_VALUE + np.flatnonzero(counts[FIRST_VALUE:])
    few = there[np.argsort(counts[there], kind="stable")][: max(int(LEAST_COMMON * len(there)), 1)]
    private[RARE] = len(there) > 0 and counts[RARE] > 0 and private[few].mean() > 0.5
    return private
