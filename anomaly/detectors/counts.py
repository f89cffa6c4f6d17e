"""Weighted counts of hashed keys, and what each sequence itself added to them.

Shapes: R rows (events), K distinct keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Float = NDArray[np.float64]

_EXACT = 1e-9
"""Weights are sums of at most a few million roots; what is left below this is rounding."""


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


def multiplicity(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Return (R,) how many rows hold the same values as each row does."""
    if not len(columns[0]):
        return np.zeros(0, np.int64)
    _, inverse, counts = np.unique(hash_columns(*columns), return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], np.int64)


@dataclass(frozen=True)
class Counts:
    """How often each key occurred: `keys` (K,) sorted, `counts` (K,)."""

    keys: Keys
    counts: Float

    @classmethod
    def of(cls, keys: Keys, weight: Float | None = None) -> Self:
        """Count the keys of some events, or add up their weights."""
        if weight is None:
            unique, counts = np.unique(keys, return_counts=True)
            return cls(unique, counts.astype(np.float64))
        unique, inverse = np.unique(keys, return_inverse=True)
        return cls(unique, np.bincount(inverse, weights=weight, minlength=len(unique)).astype(np.float64))

    def places(self, keys: Keys) -> NDArray[np.int64]:
        """Return the place of each key, K where it never occurred."""
        if not len(self.keys):
            return np.zeros(len(keys), np.int64)
        place = np.searchsorted(self.keys, keys)
        found = self.keys[np.minimum(place, len(self.keys) - 1)] == keys
        return np.where(found, place, len(self.keys))

    def look_up(self, keys: Keys, own: Own | None = None) -> Float:
        """Return the count of each key, 0 where it never occurred, less what `own` names."""
        found = np.append(self.counts, 0.0)[self.places(keys)]
        if own is None or not len(own.events):
            return np.asarray(found)
        found[own.events] = _remainder(found[own.events], own.sums(keys))
        return np.asarray(found)


class Evidence(NamedTuple):
    """What a table knows of each row: counts of (context, value), of the context, and its distinct values."""

    joint: Float
    total: Float
    types: Float


@dataclass(frozen=True)
class ConditionalCounts:
    """Counts of values within contexts; `types` (contexts,) are the distinct values of each."""

    joint: Counts
    context: Counts
    types: Float

    @classmethod
    def of(cls, context: Keys, value: NDArray[Any], weight: Float | None = None) -> Self:
        """Count the (context, value) pairs of some events."""
        pair = hash_columns(context, value)
        joint, contexts = Counts.of(pair, weight), Counts.of(context, weight)
        context_of = np.zeros(len(joint.keys), np.uint64)
        context_of[joint.places(pair)] = context
        types = np.bincount(contexts.places(context_of), minlength=len(contexts.keys))
        return cls(joint, contexts, types.astype(np.float64))

    def look_up(self, context: Keys, value: NDArray[Any], own: Own | None = None) -> Evidence:
        """Return what was counted, less what the rows' own sequences added where `own` names these."""
        place = self.context.places(context)
        pair = hash_columns(context, value)
        found = Evidence(
            self.joint.look_up(pair),
            np.append(self.context.counts, 0.0)[place],
            np.append(self.types, 0.0)[place],
        )
        return found if own is None or not len(own.events) else own.subtract(found, pair, context)


@dataclass(frozen=True)
class Own:
    """The rows whose sequences were counted in `fit`, to score these as if they had not been.

    Attributes
    ----------
    events : places of these rows
    sequence : the sequence of each
    weight : what each row added, 1 where None
    """

    events: NDArray[np.int64]
    sequence: NDArray[np.int64]
    weight: Float | None = None

    def sums(self, keys: Keys) -> Float:
        """Return what each named row's sequence added to the count of its key."""
        _, inverse = np.unique(hash_columns(keys[self.events], self.sequence), return_inverse=True)
        return self._sums(inverse)

    def _sums(self, group: NDArray[np.int64]) -> Float:
        return np.asarray(np.bincount(group, weights=self.weight)[group], np.float64)

    def subtract(self, found: Evidence, pair: Keys, context: Keys) -> Evidence:
        """Return the evidence without what the row's own sequence added."""
        at = self.events
        joint, total, types = (column.copy() for column in found)
        _, first, inverse = np.unique(hash_columns(pair[at], self.sequence), return_index=True, return_inverse=True)
        _, group = np.unique(hash_columns(context[at], self.sequence), return_inverse=True)
        added = self._sums(inverse)
        # A value that only this sequence has shown in the context is one distinct value less.
        lost = np.bincount(group[first], weights=added[first] >= joint[at][first] - _EXACT)
        joint[at] = _remainder(joint[at], added)
        total[at] = _remainder(total[at], self._sums(group))
        types[at] = np.maximum(types[at] - lost[group], 0.0)
        return Evidence(joint, total, types)


def _remainder(whole: Float, part: Float) -> Float:
    rest = whole - part
    return np.where(rest > _EXACT, rest, 0.0)
