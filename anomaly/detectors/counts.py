"""Weighted counts of values within contexts, and what each fold itself added to them.

Contexts and values are small integers; a pair is packed into one. Shapes: T events, N sequences, R rows (events, and
ends), K distinct pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.dictionary import Dictionary, Ints
from anomaly.features.segments import reported

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]

_EXACT = 1e-9
"""Weights are sums of at most a few million roots; what is left below this is rounding."""


class Groups(NamedTuple):
    """Rows that belong together: the group of each row, and one row of each group."""

    of_row: Ints
    a_row: Ints

    def sums(self, weight: Float | None = None) -> Float:
        """Return (R,) the weight, or the number, of the rows of each row's group."""
        return np.asarray(np.bincount(self.of_row, weights=weight)[self.of_row], np.float64)


def group(fold: Ints, label: Ints, span: int) -> Groups:
    """Group rows by fold and label below `span`; quick where the rows of a fold lie together."""
    if not len(label):
        return Groups(label, label)
    # Labels too large to share 64 bits with the fold are made small first.
    if span > 2**62 // (int(fold.max()) + 1):
        label = np.unique(label, return_inverse=True)[1].astype(np.int64)
        span = int(label.max()) + 1
    packed = fold * np.int64(span) + label
    order = np.argsort(packed, kind="stable")
    starts = np.diff(packed[order], prepend=-1) != 0
    of_row = np.empty(len(packed), np.int64)
    of_row[order] = np.cumsum(starts) - 1
    return Groups(of_row, order[starts])


@dataclass(frozen=True)
class Own:
    """The rows that were counted in `fit`, to score these as if they had not been.

    Attributes
    ----------
    events : places of these rows
    fold : the fold of each, whose rows are left out together
    weight : what each row added, 1 where None
    """

    events: Ints
    fold: Ints
    weight: Float | None = None


class Evidence(NamedTuple):
    """What a table knows of each row: counts of (context, value), of the context, and its distinct values."""

    joint: Float
    total: Float
    types: Float


@dataclass(frozen=True)
class ConditionalCounts:
    """Counts of values within contexts.

    Attributes
    ----------
    pairs : the K pairs ``context * n_values + value``
    counts : (K,) count of each
    totals, types : (contexts + 1,) count and distinct values of each context; the last is that of unknown ones, 0
    """

    pairs: Dictionary
    counts: Float
    totals: Float
    types: Float
    n_values: int

    @classmethod
    def of(cls, context: Ints, n_contexts: int, value: Ints, n_values: int, weight: Float | None = None) -> Self:
        """Count the (context, value) pairs of some events; context ids are below `n_contexts`."""
        pair = context * n_values + value
        pairs = Dictionary.of(pair, n_contexts * n_values)
        counts = np.bincount(pairs.places(pair), weights=weight, minlength=len(pairs))
        totals = np.bincount(context, weights=weight, minlength=n_contexts + 1)
        types = np.bincount(pairs.keys // n_values, minlength=n_contexts + 1)
        return cls(pairs, counts.astype(np.float64), totals.astype(np.float64), types.astype(np.float64), n_values)

    def look_up(self, context: Ints, value: Ints, own: Own | None = None) -> Evidence:
        """Return what was counted, less what the rows' own folds added where `own` names these."""
        pair = context * self.n_values + value
        found = Evidence(self._count(pair), self.totals[context], self.types[context])
        if own is None or not len(own.events):
            return found
        return _without_own(found, own, pair, context, len(self.totals), self.n_values)

    def joint(self, context: Ints, value: Ints, own: Own | None = None) -> Float:
        """Return the counts of the pairs alone."""
        pair = context * self.n_values + value
        found = self._count(pair)
        if own is not None and len(own.events):
            same = group(own.fold, pair[own.events], len(self.totals) * self.n_values)
            found[own.events] = _remainder(found[own.events], same.sums(own.weight))
        return found

    def _count(self, pair: Ints) -> Float:
        return np.asarray(np.append(self.counts, 0.0)[self.pairs.places(pair)])


def _without_own(found: Evidence, own: Own, pair: Ints, context: Ints, n_contexts: int, n_values: int) -> Evidence:
    at = own.events
    joint, total, types = found
    same_pair = group(own.fold, pair[at], n_contexts * n_values)
    same_context = group(own.fold, context[at], n_contexts)
    added, before = same_pair.sums(own.weight), joint[at]
    # A value that only this fold has shown in the context is one distinct value less.
    one = same_pair.a_row
    vanished = np.bincount(same_context.of_row[one], weights=added[one] >= before[one] - _EXACT)
    joint[at] = _remainder(before, added)
    total[at] = _remainder(total[at], same_context.sums(own.weight))
    types[at] = np.maximum(types[at] - vanished[same_context.of_row], 0.0)
    return Evidence(joint, total, types)


def were_counted(X: SequenceStore, keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return (T + N,) which reported events, and then which ends, were counted in `fit`.

    Sequences are known by their keys; where single events are the items, the store says which were learnt.
    """
    if X.learnt is None:
        known = np.isin(X.keys(), keys)
        known_T = np.repeat(known, X.lengths)
    else:
        known, known_T = np.zeros(len(X), bool), X.was_learnt()
    return np.concatenate([known_T & reported(X)[1], known])


def _remainder(whole: Float, part: Float) -> Float:
    rest = whole - part
    return np.where(rest > _EXACT, rest, 0.0)


def as_ints(codes: NDArray[Any], size: int) -> Ints:
    """Return codes as 64-bit integers; one that the field does not have becomes the last, `size` - 1."""
    return np.asarray(np.minimum(codes, size - 1), np.int64)
