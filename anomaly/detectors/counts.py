"""Counts of hashed keys, and what each sequence itself added to them.

Shapes: T events, K distinct keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def hash_columns(*columns: NDArray[Any] | int) -> Keys:
    """Return one 64-bit key per row of some integer columns (splitmix64 chained, Steele et al. 2014)."""
    key: Any = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for column in columns:
            # Multiplying before the next column keeps a key of keys from being symmetric in its columns.
            x = key * np.uint64(0xD6E8FEB86659FD93) ^ np.asarray(column).astype(np.uint64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            key = (x ^ (x >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(key)


@dataclass(frozen=True)
class Counts:
    """How often each key occurred: `keys` (K,) sorted, `counts` (K,)."""

    keys: Keys
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Keys) -> Self:
        """Count the keys of some events."""
        unique, counts = np.unique(keys, return_counts=True)
        return cls(unique, counts.astype(np.int64))

    def places(self, keys: Keys) -> NDArray[np.int64]:
        """Return the place of each key, K where it never occurred."""
        if not len(self.keys):
            return np.zeros(len(keys), np.int64)
        place = np.searchsorted(self.keys, keys)
        found = self.keys[np.minimum(place, len(self.keys) - 1)] == keys
        return np.where(found, place, len(self.keys))

    def look_up(self, keys: Keys) -> NDArray[np.int64]:
        """Return the count of each key, 0 where it never occurred."""
        return np.append(self.counts, 0)[self.places(keys)]


class Evidence(NamedTuple):
    """What a table knows of each event: counts of (context, value), of the context, and its distinct values."""

    joint: NDArray[np.int64]
    total: NDArray[np.int64]
    types: NDArray[np.int64]


@dataclass(frozen=True)
class ConditionalCounts:
    """Counts of values within contexts."""

    joint: Counts
    context: Counts
    types: NDArray[np.int64]

    @classmethod
    def of(cls, context: Keys, value: NDArray[Any]) -> Self:
        """Count the (context, value) pairs of some events."""
        pairs, first, counts = np.unique(hash_columns(context, value), return_index=True, return_counts=True)
        contexts = Counts.of(context)
        types = np.bincount(contexts.places(context[first]), minlength=len(contexts.keys))
        return cls(Counts(pairs, counts.astype(np.int64)), contexts, types.astype(np.int64))

    def look_up(self, context: Keys, value: NDArray[Any], own: Own | None = None) -> Evidence:
        """Return what was counted, less what the events' own sequences added where `own` names these."""
        place = self.context.places(context)
        pair = hash_columns(context, value)
        joint = self.joint.look_up(pair)
        total = np.append(self.context.counts, 0)[place]
        types = np.append(self.types, 0)[place]
        if own is None or not len(own.events):
            return Evidence(joint, total, types)
        return own.subtract(Evidence(joint, total, types), pair, context)


@dataclass(frozen=True)
class Own:
    """The events whose sequences were counted in `fit`, to score these as if they had not been.

    Attributes
    ----------
    events : places of these events
    sequence : the sequence of each
    """

    events: NDArray[np.int64]
    sequence: NDArray[np.int64]

    def subtract(self, evidence: Evidence, pair: Keys, context: Keys) -> Evidence:
        """Return the evidence without what the event's own sequence added."""
        at = self.events
        joint, total, types = (column.copy() for column in evidence)
        _, first, inverse, own = np.unique(
            hash_columns(pair[at], self.sequence), return_index=True, return_inverse=True, return_counts=True
        )
        _, group, within = np.unique(
            hash_columns(context[at], self.sequence), return_inverse=True, return_counts=True
        )
        # A value that only this sequence has shown in the context is one distinct value less.
        lost = np.bincount(group[first], weights=own >= joint[at][first], minlength=len(within))
        joint[at] = np.maximum(joint[at] - own[inverse], 0)
        total[at] = np.maximum(total[at] - within[group], 0)
        types[at] = np.maximum(types[at] - lost[group].astype(np.int64), 0)
        return Evidence(joint, total, types)

    def subtract_counts(self, counts: NDArray[np.int64], keys: Keys) -> NDArray[np.int64]:
        """Return the counts of plain keys without what the event's own sequence added."""
        if not len(self.events):
            return counts
        _, inverse, own = np.unique(
            hash_columns(keys[self.events], self.sequence), return_inverse=True, return_counts=True
        )
        out = counts.copy()
        out[self.events] = np.maximum(out[self.events] - own[inverse], 0)
        return out
