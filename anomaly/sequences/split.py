"""Which sequences are fitted and which are held out.

Shapes: N sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Indices to fit and indices that are held out, both ascending, neither empty."""


def latest_per_entity(store: SequenceStore, fraction: float = 0.2, random_state: int = 0) -> Split:
    """Hold out the latest share of each entity's sequences; whole sequences at random where no entity is known.

    What is rounded is carried over from entity to entity, so that the share holds over all of them also where each has
    only a few sequences. An entity keeps one to be fitted, unless it has no other: that share of the entities with one
    sequence is held out whole, and stands for those that nobody knows yet.
    """
    _check(store, fraction)
    if store.n_entities <= 1:
        return entity_disjoint(store, fraction, random_state)
    order, first, counts = _by_entity(store)
    due = np.floor(np.cumsum(counts * fraction) + 1e-9).astype(np.int64)
    held = np.minimum(np.diff(due, prepend=0), np.maximum(counts - 1, 1))
    place = np.arange(len(order)) - np.repeat(first, counts)
    late = place >= np.repeat(counts - held, counts)
    if not late.any():
        late[first[np.argmax(counts)] + counts.max() - 1] = True
    if late.all():
        return entity_disjoint(store, fraction, random_state)
    return _pair(order[~late], order[late])


def come_again(store: SequenceStore) -> bool:
    """Return whether entities have several sequences, two on average, so that what is new begins another one."""
    return store.n_entities > 1 and len(store) >= 2 * len(np.unique(store.entity))


def chronological(store: SequenceStore, fraction: float = 0.2) -> Split:
    """Hold out the sequences that end last; without times, the last ones of the store."""
    _check(store, fraction)
    ends = store.time[np.maximum(store.offsets[1:] - 1, 0)] if store.has_time else np.arange(len(store))
    order = np.argsort(ends, kind="stable")
    n_held = _number(len(store), fraction)
    return _pair(order[:-n_held], order[-n_held:])


def entity_disjoint(store: SequenceStore, fraction: float = 0.2, random_state: int = 0) -> Split:
    """Hold out whole entities at random; where there is one entity or none known, whole sequences."""
    _check(store, fraction)
    rng = np.random.default_rng(random_state)
    _, owner = np.unique(store.entity, return_inverse=True)
    n_owners = int(owner.max()) + 1
    if n_owners < 2:
        owner, n_owners = np.arange(len(store)), len(store)
    shuffled = rng.permutation(n_owners)
    size = np.cumsum(np.bincount(owner, minlength=n_owners)[shuffled])
    n_held = int(np.clip(np.searchsorted(size, _number(len(store), fraction)) + 1, 1, n_owners - 1))
    held = np.isin(owner, shuffled[:n_held])
    return _pair(np.flatnonzero(~held), np.flatnonzero(held))


def _by_entity(store: SequenceStore) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return sequences by entity and start, where each entity begins among them, and how many it has."""
    start = store.time[np.minimum(store.offsets[:-1], max(store.n_events - 1, 0))]
    order = np.lexsort((np.arange(len(store)), start, store.entity))
    owner = store.entity[order]
    first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    return order, first, np.diff(np.append(first, len(order)))


def _number(n: int, fraction: float) -> int:
    return int(np.clip(round(n * fraction), 1, n - 1))


def _check(store: SequenceStore, fraction: float) -> None:
    if not 0 < fraction < 1:
        raise DataError(f"the share to hold out lies between 0 and 1, got {fraction}")
    if len(store) < 2:
        raise DataError(f"{len(store)} sequences cannot be split; at least two are needed")


def _pair(fitted: NDArray[np.int64], held: NDArray[np.int64]) -> Split:
    return np.sort(fitted), np.sort(held)
