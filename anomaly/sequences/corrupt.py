"""Trouble of known kinds, made from unlabelled sequences.

A corruption takes held-out sequences and returns them damaged, with a mark on every event it touched. What the
members say of the damaged against the untouched tells, without a label, what a run can see (the power report), and
is what a combiner may learn from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

GAP = "gap"
"""Name of the time since the event before, among those of the fields."""


@dataclass(frozen=True)
class Corrupted:
    """Damaged sequences.

    Attributes
    ----------
    store : the sequences as damaged
    touched : (T,) bool, events that were put in, changed, or stand where something was taken away
    """

    store: SequenceStore
    touched: NDArray[np.bool_]


class Corruption(Estimator, ABC):
    """One kind of trouble.

    Parameters
    ----------
    share : largest share of a sequence's events that is damaged; at least one always is
    """

    units: ClassVar[tuple[str, ...]] = ("sequence", "event")
    """The items it is made for: order and pace belong to several events, none of which need be odd by itself."""

    def __init__(self, *, share: float = 0.3) -> None:
        self.share = share

    def applies(self, store: SequenceStore) -> bool:
        """Return whether this kind of trouble can exist in a store."""
        return len(store) > 1 and store.n_events > len(store)

    def variants(self, store: SequenceStore) -> dict[str, Corruption]:
        """Return by name what the power report tells apart in this kind of trouble; itself, where that is nothing."""
        return {"": self}

    @abstractmethod
    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence of the store, damaged; sequences too short to damage are left out."""


class Scramble(Corruption):
    """One field of some events takes values drawn from the population.

    Parameters
    ----------
    field : which one, or "gap", the time since the event before; None for one of them at random at each event
    """

    def __init__(self, *, field: str | None = None, share: float = 0.3) -> None:
        super().__init__(share=share)
        self.field = field

    def applies(self, store: SequenceStore) -> bool:
        """Return whether there is more than one field: with one, `RandomEvents` is the same."""
        return len(store) > 1 and len(_scrambled(store)) > 1

    def variants(self, store: SequenceStore) -> dict[str, Corruption]:
        """Return one variant for each field: what hides in one of them does not hide in another."""
        if self.field is not None:
            return super().variants(store)
        return {name: Scramble(field=name, share=self.share) for name in _scrambled(store)}

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence with at least one event's field changed; others are left out."""
        touched, names, position_T = _some_events(store, self.share, rng), _scrambled(store), store.position()
        codes, values, delta = np.array(store.codes), np.array(store.values), np.array(store.delta)
        drawn_T = rng.choice([n for n, name in enumerate(names) if self.field in (None, name)], store.n_events)
        for n, name in enumerate(names):
            hit = np.flatnonzero(touched & (drawn_T == n))
            donors = rng.integers(0, store.n_events, len(hit))
            if name == GAP:
                # A sequence's first event has no gap, to take or to give.
                both = (position_T[hit] > 0) & (position_T[donors] > 0)
                delta[hit[both]] = store.delta[donors[both]]
                continue
            codes[hit, n] = codes[donors, n]
            if name in store.value_names:
                g = store.value_names.index(name)
                values[hit, g] = values[donors, g]
        # What is drawn may be what was there.
        changed_T = (codes != store.codes).any(axis=1) | (np.nan_to_num(delta) != np.nan_to_num(store.delta))
        damaged_N = np.bincount(store.sequence_of_event()[changed_T], minlength=len(store)) > 0
        found = replace(store, codes=codes, values=values, delta=delta).take(damaged_N)
        return Corrupted(found, changed_T[np.repeat(damaged_N, store.lengths)])


def _scrambled(store: SequenceStore) -> list[str]:
    """Return the names of the fields, and after them of the gap, where there is time."""
    return [*(field.name for field in store.fields), *([GAP] if store.has_time else [])]


class Extreme(Corruption):
    """One number of some events is as large as hardly any.

    Parameters
    ----------
    top : share of the numbers of a column, the largest, that are drawn from
    """

    # In a sequence of many numbers one is large by chance, and members that answer to it would count for too much.
    units = ("event",)

    def __init__(self, *, top: float = 0.01, share: float = 0.3) -> None:
        super().__init__(share=share)
        self.top = top

    def applies(self, store: SequenceStore) -> bool:
        """Return whether there are numbers."""
        return len(store) > 1 and any(field.kind == "numeric" for field in store.fields)

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence with at least one event's number replaced by one of the largest."""
        touched = _some_events(store, self.share, rng)
        codes, values = np.array(store.codes), np.array(store.values)
        numeric = [f for f, field in enumerate(store.fields) if field.kind == "numeric"]
        field_T = rng.choice(numeric, store.n_events)
        for f in numeric:
            g = store.value_names.index(store.fields[f].name)
            largest = np.argsort(-np.nan_to_num(values[:, g], nan=-np.inf), kind="stable")
            largest = largest[: max(int(self.top * len(largest)), 1)]
            hit = np.flatnonzero(touched & (field_T == f))
            donors = rng.choice(largest, len(hit))
            codes[hit, f], values[hit, g] = store.codes[donors, f], store.values[donors, g]
        return Corrupted(replace(store, codes=codes, values=values), touched)


class HandOver(Corruption):
    """A whole sequence is put down to another entity."""

    def applies(self, store: SequenceStore) -> bool:
        """Return whether entities have profiles."""
        return store.n_entities > 2

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence under another of the store's entities."""
        shift = rng.integers(1, max(store.n_entities - 1, 2), len(store))
        entity = (store.entity - 1 + shift) % (store.n_entities - 1) + 1
        kept = store.entity > 0
        moved = replace(store, entity=entity.astype(np.int32)).take(kept)
        return Corrupted(moved, np.ones(moved.n_events, bool))


class Pace(Corruption):
    """The gaps of a piece are changed: a clockwork, a burst, or one long silence.

    Parameters
    ----------
    factor : gaps of a burst are divided by it, the silent one is multiplied
    """

    units = ("sequence",)

    def __init__(self, *, how: str = "burst", factor: float = 20.0, share: float = 0.5) -> None:
        super().__init__(share=share)
        self.how = how
        self.factor = factor

    def applies(self, store: SequenceStore) -> bool:
        """Return whether there is time."""
        return store.has_time and super().applies(store)

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence of at least three events at another pace."""
        store = store.take(store.lengths >= 3)
        delta, touched = np.array(store.delta), np.zeros(store.n_events, bool)
        for n in range(len(store)):
            length = int(store.lengths[n])
            size = 1 if self.how == "silence" else max(int(self.share * (length - 1)), 2)
            begin = int(store.offsets[n]) + int(rng.integers(1, length - size + 1))
            piece = slice(begin, begin + size)
            delta[piece] = self._paced(delta[piece])
            touched[piece] = True
        return Corrupted(replace(store, delta=delta), touched)

    def _paced(self, gaps: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.how == "clockwork":
            return np.full_like(gaps, np.median(gaps))
        return gaps / self.factor if self.how == "burst" else gaps * self.factor + 1.0


class Leave(Corruption):
    """An entity has been silent for many times as long when the observation ends.

    Parameters
    ----------
    factor : times as long, at most; twice at least
    """

    units = ("sequence",)

    def __init__(self, *, factor: float = 20.0, share: float = 0.3) -> None:
        super().__init__(share=share)
        self.factor = factor

    def applies(self, store: SequenceStore) -> bool:
        """Return whether final silences are known."""
        return len(store) > 1 and store.silence is not None and bool((store.silence > 0).any())

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence that is its entity's last, marked at its last event."""
        silence_N = np.zeros(len(store)) if store.silence is None else np.asarray(store.silence, np.float64)
        chosen = np.flatnonzero((silence_N > 0) & (store.lengths > 0))
        store = store.take(chosen)
        touched = np.zeros(store.n_events, bool)
        touched[store.offsets[1:] - 1] = True
        longer = (silence_N[chosen] * rng.uniform(2.0, self.factor, len(chosen))).astype(np.float32)
        return Corrupted(replace(store, silence=longer, context=np.zeros(len(store), np.int64)), touched)


def _some_events(store: SequenceStore, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark one event of every sequence for certain, and a share of up to `share` of its others."""
    rate_N = rng.uniform(0, share, len(store))
    touched = rng.random(store.n_events) < np.repeat(rate_N, store.lengths)
    filled = store.lengths > 0
    touched[store.offsets[:-1][filled] + (rng.random(filled.sum()) * store.lengths[filled]).astype(np.int64)] = True
    return touched
