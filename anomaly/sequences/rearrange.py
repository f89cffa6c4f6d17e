"""Trouble that only puts, drops or moves events: a sequence becomes a list of places in the store."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anomaly.sequences.corrupt import Corrupted, Corruption
from anomaly.sequences.store import rows_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Places = NDArray[np.int64]
    Rearranged = tuple[Places, NDArray[np.bool_]]


class Rearrangement(Corruption):
    """Trouble of one order: what becomes of a sequence is named by the places of its events."""

    units: ClassVar[tuple[str, ...]] = ("sequence",)
    shortest = 2

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return every sequence of at least `shortest` events, rearranged."""
        chosen = np.flatnonzero(store.lengths >= self.shortest)
        parts = [self._rearrange(store, int(n), _places(store, int(n)), rng) for n in chosen]
        if not store.closed:
            # Where ends say nothing, a length must not give the damage away.
            parts = [_cut_to(int(store.lengths[n]), *part) for n, part in zip(chosen, parts, strict=True)]
        places = np.concatenate([p for p, _ in parts]) if parts else np.empty(0, np.int64)
        touched = np.concatenate([t for _, t in parts]) if parts else np.empty(0, bool)
        return Corrupted(gather(store, places, chosen, np.array([len(p) for p, _ in parts], np.int64)), touched)

    @abstractmethod
    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        """Return places and which of them are damage, given the sequence's own, which may be written to."""

    def _piece(self, length: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the begin and the end of a piece of a sequence."""
        size = int(rng.integers(1, max(int(self.share * length), 1) + 1))
        begin = int(rng.integers(0, length - size + 1))
        return begin, begin + size


class Insert(Rearrangement):
    """A piece of somebody else's sequence is put in."""

    units = ("sequence", "event")
    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        donor = _other(rng, len(store), n, store.lengths)
        begin, end = self._piece(int(store.lengths[donor]), rng)
        foreign = store.offsets[donor] + np.arange(begin, min(end, begin + max(int(self.share * len(own)), 1)))
        return _put(own, foreign, int(rng.integers(0, len(own) + 1)))


class Skip(Rearrangement):
    """A piece is left out."""

    shortest = 3

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        begin, end = self._piece(len(own) - 1, rng)
        kept = np.delete(own, np.arange(begin, end))
        touched = np.zeros(len(kept), bool)
        touched[min(begin, len(kept) - 1)] = True
        return kept, touched


class Repeat(Rearrangement):
    """A piece happens again, later."""

    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        begin, end = self._piece(len(own), rng)
        return _put(own, own[begin:end], int(rng.integers(end, len(own) + 1)))


class Shuffle(Rearrangement):
    """A piece of at least three events is put into random order."""

    shortest = 4

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        size = int(np.clip(self.share * len(own), 3, len(own)))
        begin = int(rng.integers(0, len(own) - size + 1))
        touched = np.zeros(len(own), bool)
        touched[begin : begin + size] = True
        own[begin : begin + size] = rng.permutation(own[begin : begin + size])
        return own, touched


class Move(Rearrangement):
    """A piece happens earlier or later than it did."""

    shortest = 3

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        begin, end = self._piece(len(own) - 1, rng)
        rest = np.delete(own, np.arange(begin, end))
        spots = np.delete(np.arange(len(rest) + 1), begin)
        return _put(rest, own[begin:end], int(rng.choice(spots)))


class Truncate(Rearrangement):
    """The sequence breaks off early."""

    def applies(self, store: SequenceStore) -> bool:
        """Return whether ends mean something."""
        return store.closed and super().applies(store)

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        kept = own[: int(rng.integers(max(int((1 - self.share) * len(own)), 1), len(own)))]
        return kept, np.arange(len(kept)) == len(kept) - 1


class Splice(Rearrangement):
    """From some event on, the sequence is somebody else's."""

    units = ("sequence", "event")

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        donor = _other(rng, len(store), n, store.lengths)
        other = _places(store, donor)
        cut = int(rng.integers(1, len(own)))
        tail = other[min(cut, len(other) - 1) :]
        return np.concatenate([own[:cut], tail]), np.arange(cut + len(tail)) >= cut


class RandomEvents(Rearrangement):
    """Some events are replaced by events drawn from the population."""

    units = ("sequence", "event")
    shortest = 1

    def _rearrange(self, store: SequenceStore, n: int, own: Places, rng: np.random.Generator) -> Rearranged:
        touched = rng.permutation(len(own)) < int(rng.integers(1, max(int(self.share * len(own)), 1) + 1))
        own[touched] = rng.integers(store.offsets[0], store.offsets[-1], touched.sum())
        return own, touched


def gather(store: SequenceStore, places: Places, sequences: Places, lengths: NDArray[np.int64]) -> SequenceStore:
    """Return a store whose sequences are made of the named events; entity and ids are those of `sequences`."""
    empty = store.take(sequences)
    delta = np.array(store.delta[places])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if store.has_time and len(delta):
        # An event from a sequence's start has no gap of its own; where it lands it takes the median one.
        lost = (delta == 0) & np.isin(places, store.offsets[:-1])
        known = store.delta[~np.isnan(store.delta)]
        delta[lost] = np.median(known) if len(known) else np.nan
        delta[offsets[:-1][lengths > 0]] = 0.0
    flat: dict[str, Any] = {name: rows_at(column, places) for name, column in _flat(store).items()}
    context = np.zeros(len(lengths), np.int64)
    return replace(empty, **flat, delta=delta, offsets=offsets, event_ids=None, context=context)


def _places(store: SequenceStore, n: int) -> Places:
    return np.arange(store.offsets[n], store.offsets[n + 1])


def _flat(store: SequenceStore) -> dict[str, NDArray[Any]]:
    return {"codes": store.codes, "values": store.values, "time": store.time, "row": store.row}


def _cut_to(length: int, places: Places, touched: NDArray[np.bool_]) -> Rearranged:
    """Cut a lengthened sequence back, on the side that leaves more of the damage."""
    surplus = len(places) - length
    if surplus <= 0:
        return places, touched
    head = touched[:length].sum() >= touched[surplus:].sum()
    return (places[:length], touched[:length]) if head else (places[surplus:], touched[surplus:])


def _put(own: Places, piece: Places, spot: int) -> Rearranged:
    """Put a piece before the event at `spot`; the piece is what was touched."""
    places = np.concatenate([own[:spot], piece, own[spot:]])
    touched = np.zeros(len(places), bool)
    touched[spot : spot + len(piece)] = True
    return places, touched


def _other(rng: np.random.Generator, size: int, n: int, lengths: NDArray[np.int64]) -> int:
    """Draw a sequence other than n that has events; n itself where there is no other."""
    other = (n + int(rng.integers(1, size))) % size
    return other if lengths[other] else n
