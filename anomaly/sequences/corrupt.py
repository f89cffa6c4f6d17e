"""Trouble of known kinds, made from unlabelled sequences.

A corruption takes held-out sequences and returns them damaged, with a mark on every event it touched. What the
members say of the damaged against the untouched tells, without a label, what a run can see (the power report), and
is what a combiner may learn from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anomaly.base import Estimator
from anomaly.sequences.store import rows_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Places = NDArray[np.int64]


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

    @abstractmethod
    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence of the store, damaged; sequences too short to damage are left out."""


class Rearrangement(Corruption):
    """Trouble that only puts, drops or moves events: a sequence becomes a list of places in the store."""

    units: ClassVar[tuple[str, ...]] = ("sequence",)
    shortest = 2

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence of at least `shortest` events, rearranged."""
        chosen = np.flatnonzero(store.lengths >= self.shortest)
        parts = [self._rearrange(store, int(n), rng) for n in chosen]
        if not store.closed:
            # Where ends say nothing, a length must not give the damage away.
            parts = [_cut_to(int(store.lengths[n]), *part) for n, part in zip(chosen, parts, strict=True)]
        places = np.concatenate([p for p, _ in parts]) if parts else np.empty(0, np.int64)
        touched = np.concatenate([t for _, t in parts]) if parts else np.empty(0, bool)
        return Corrupted(gather(store, places, chosen, np.array([len(p) for p, _ in parts], np.int64)), touched)

    @abstractmethod
    def _rearrange(
        self, store: SequenceStore, n: int, rng: np.random.Generator
    ) -> tuple[Places, NDArray[np.bool_]]: ...

    def _piece(self, length: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the begin and the end of a piece of a sequence."""
        size = int(rng.integers(1, max(int(self.share * length), 1) + 1))
        begin = int(rng.integers(0, length - size + 1))
        return begin, begin + size


class Insert(Rearrangement):
    """A piece of somebody else's sequence is put in."""

    units = ("sequence", "event")
    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        donor = _other(rng, len(store), n, store.lengths)
        begin, end = self._piece(int(store.lengths[donor]), rng)
        foreign = store.offsets[donor] + np.arange(begin, min(end, begin + max(int(self.share * len(own)), 1)))
        return _put(own, foreign, int(rng.integers(0, len(own) + 1)))


class Skip(Rearrangement):
    """A piece is left out."""

    shortest = 3

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        begin, end = self._piece(len(own) - 1, rng)
        kept = np.delete(own, np.arange(begin, end))
        touched = np.zeros(len(kept), bool)
        touched[min(begin, len(kept) - 1)] = True
        return kept, touched


class Repeat(Rearrangement):
    """A piece happens again, later."""

    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        begin, end = self._piece(len(own), rng)
        return _put(own, own[begin:end], int(rng.integers(end, len(own) + 1)))


class Stutter(Rearrangement):
    """One event happens again and again, right after itself."""

    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        spot = int(rng.integers(0, len(own)))
        times = int(rng.integers(2, max(int(self.share * len(own)), 4) + 1))
        return _put(own, np.full(times, own[spot]), spot + 1)


class Shuffle(Rearrangement):
    """A piece of at least three events is put into random order."""

    shortest = 4

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        size = int(np.clip(self.share * len(own), 3, len(own)))
        begin = int(rng.integers(0, len(own) - size + 1))
        touched = np.zeros(len(own), bool)
        touched[begin : begin + size] = True
        own[begin : begin + size] = rng.permutation(own[begin : begin + size])
        return own, touched


class Move(Rearrangement):
    """A piece happens earlier or later than it did."""

    shortest = 3

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        begin, end = self._piece(len(own) - 1, rng)
        rest = np.delete(own, np.arange(begin, end))
        spots = np.delete(np.arange(len(rest) + 1), begin)
        return _put(rest, own[begin:end], int(rng.choice(spots)))


class Truncate(Rearrangement):
    """The sequence breaks off early."""

    def applies(self, store: SequenceStore) -> bool:
        """Return whether ends mean something."""
        return store.closed and super().applies(store)

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        kept = own[: int(rng.integers(max(int((1 - self.share) * len(own)), 1), len(own)))]
        return kept, np.arange(len(kept)) == len(kept) - 1


class Splice(Rearrangement):
    """From some event on, the sequence is somebody else's."""

    units = ("sequence", "event")

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        donor = _other(rng, len(store), n, store.lengths)
        other = np.arange(store.offsets[donor], store.offsets[donor + 1])
        cut = int(rng.integers(1, len(own)))
        tail = other[min(cut, len(other) - 1) :]
        return np.concatenate([own[:cut], tail]), np.arange(cut + len(tail)) >= cut


class RandomEvents(Rearrangement):
    """Some events are replaced by events drawn from the population."""

    units = ("sequence", "event")
    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
        own = np.arange(store.offsets[n], store.offsets[n + 1])
        touched = rng.permutation(len(own)) < int(rng.integers(1, max(int(self.share * len(own)), 1) + 1))
        own[touched] = rng.integers(store.offsets[0], store.offsets[-1], touched.sum())
        return own, touched


class Scramble(Corruption):
    """One field of some events takes values drawn from the population."""

    def applies(self, store: SequenceStore) -> bool:
        """Return whether there is more than one field: with one, `RandomEvents` is the same."""
        return len(store) > 1 and len(store.fields) > 1

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence with at least one event's field redrawn."""
        touched = _some_events(store, self.share, rng)
        codes, values = np.array(store.codes), np.array(store.values)
        field_T = rng.integers(0, len(store.fields), store.n_events)
        for f, field in enumerate(store.fields):
            hit = np.flatnonzero(touched & (field_T == f))
            donors = rng.integers(0, store.n_events, len(hit))
            codes[hit, f] = codes[donors, f]
            if field.name in store.value_names:
                g = store.value_names.index(field.name)
                values[hit, g] = values[donors, g]
        return Corrupted(replace(store, codes=codes, values=values), touched)


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


def gather(store: SequenceStore, places: Places, sequences: Places, lengths: NDArray[np.int64]) -> SequenceStore:
    """Return a store whose sequences are made of the named events; entity and ids are those of `sequences`."""
    empty = store.take(sequences)
    delta = np.array(store.delta[places])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if store.has_time and len(delta):
        # An event from a sequence's start has no gap of its own; where it lands it takes the median one.
        lost = (delta == 0) & np.isin(places, store.offsets[:-1])
        delta[lost] = np.median(store.delta)
        delta[offsets[:-1][lengths > 0]] = 0.0
    flat: dict[str, Any] = {name: rows_at(column, places) for name, column in _flat(store).items()}
    context = np.zeros(len(lengths), np.int64)
    return replace(empty, **flat, delta=delta, offsets=offsets, event_ids=None, context=context)


def _flat(store: SequenceStore) -> dict[str, NDArray[Any]]:
    return {"codes": store.codes, "values": store.values, "time": store.time, "row": store.row}


def _cut_to(length: int, places: Places, touched: NDArray[np.bool_]) -> tuple[Places, NDArray[np.bool_]]:
    """Cut a lengthened sequence back, on the side that leaves more of the damage."""
    surplus = len(places) - length
    if surplus <= 0:
        return places, touched
    head = touched[:length].sum() >= touched[surplus:].sum()
    return (places[:length], touched[:length]) if head else (places[surplus:], touched[surplus:])


def _put(own: Places, piece: Places, spot: int) -> tuple[Places, NDArray[np.bool_]]:
    """Put a piece before the event at `spot`; the piece is what was touched."""
    places = np.concatenate([own[:spot], piece, own[spot:]])
    touched = np.zeros(len(places), bool)
    touched[spot : spot + len(piece)] = True
    return places, touched


def _other(rng: np.random.Generator, size: int, n: int, lengths: NDArray[np.int64]) -> int:
    """Draw a sequence other than n that has events; n itself where there is no other."""
    other = (n + int(rng.integers(1, size))) % size
    return other if lengths[other] else n


def _some_events(store: SequenceStore, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark one event of every sequence for certain, and a share of up to `share` of its others."""
    rate_N = rng.uniform(0, share, len(store))
    touched = rng.random(store.n_events) < np.repeat(rate_N, store.lengths)
    filled = store.lengths > 0
    touched[store.offsets[:-1][filled] + (rng.random(filled.sum()) * store.lengths[filled]).astype(np.int64)] = True
    return touched
