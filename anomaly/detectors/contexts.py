"""Which earlier codes each field is predicted from, chosen by leave-one-out likelihood.

A context part is (column, lag): lag 0 is an earlier column of the same event, lag 1 the event before.
Shapes: T events, N sequences, F columns; R = T rows, or T + N where each sequence adds its end symbol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.counts import ConditionalCounts, Float, Own, as_ints
from anomaly.detectors.dictionary import Dictionary, Ints
from anomaly.features.segments import reported
from anomaly.sequences.store import PAD

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Part = tuple[int, int]

_GAIN = 0.01
"""Nats per event that one more part of the context must save."""


@dataclass(frozen=True)
class Rows:
    """One column of some events, ready to be counted or looked up.

    Attributes
    ----------
    value : (R,) codes
    contexts : one (R,) array of context ids per order, from no context to the longest
    sequence : (R,) the place of each row's sequence
    fold : (R,) the fold that is left out when it is scored, see `SequenceStore.fold_of_event`
    kept : (R,) False for the events that are another sequence's past
    """

    value: Ints
    contexts: list[Ints]
    sequence: Ints
    fold: Ints
    kept: NDArray[np.bool_]

    def counted(self) -> Rows:
        """Return the rows that are counted in `fit`."""
        where = self.kept
        if where.all():
            return self
        contexts = [c[where] for c in self.contexts]
        return Rows(self.value[where], contexts, self.sequence[where], self.fold[where], self.kept[where])

    def own(self, counted: NDArray[np.bool_]) -> Own:
        """Return the rows that were `counted` in `fit`, see `were_counted`."""
        events = np.flatnonzero(self.kept & counted[: len(self.value)])
        return Own(events, self.fold[events])


@dataclass(frozen=True)
class Chain:
    """A column of the store, the parts of its context, and the contexts of two and more parts that were seen.

    Attributes
    ----------
    column : of the store's codes
    parts : (column of the store, lag) each
    sizes : number of codes of each part
    n_values : number of codes of the column, one for the end symbol and one for codes that it does not have
    ends : whether each sequence adds an end symbol
    prefixes : per order from 2, the seen pairs of a shorter context and a further code
    """

    column: int
    parts: list[Part]
    sizes: list[int]
    n_values: int
    ends: bool
    prefixes: list[Dictionary]

    @classmethod
    def of(cls, X: SequenceStore, column: int, parts: list[Part], ends: bool = False) -> Self:
        """Learn the contexts of the reported events."""
        sizes = [X.fields[j].size + 1 for j, _ in parts]
        chain = cls(column, list(parts), sizes, X.fields[column].size + 2, ends, [])
        kept = reported(X)[1]
        if ends:
            kept = np.concatenate([kept, np.ones(len(X), bool)])
        codes = [c[kept] for c in chain._part_codes(X)]
        for d in range(1, len(parts)):
            shorter = chain._contexts(codes[:d])[-1]
            span = chain.n_contexts()[d] * sizes[d]
            chain.prefixes.append(Dictionary.of(shorter * sizes[d] + codes[d], span))
        return chain

    def n_contexts(self) -> list[int]:
        """Return the number of known contexts of each order."""
        return [1, *self.sizes[:1], *map(len, self.prefixes)]

    def rows(self, X: SequenceStore) -> Rows:
        """Return the column's rows; the end symbols follow after all events."""
        value, kept = as_ints(X.codes[:, self.column], self.n_values - 1), reported(X)[1]
        # A code that the column does not have is not its end.
        value += value == self.n_values - 2
        sequence = self._with_ends(X.sequence_of_event(), X)
        fold = sequence if X.learnt is None else self._with_ends(X.fold_of_event(), X)
        if self.ends:
            value = np.concatenate([value, np.full(len(X), self.n_values - 2)])
            kept = np.concatenate([kept, np.ones(len(X), bool)])
        contexts = [np.zeros(len(value), np.int64), *self._contexts(self._part_codes(X))]
        return Rows(value, contexts, sequence, fold, kept)

    def _with_ends(self, of_event: Ints, X: SequenceStore) -> Ints:
        return np.concatenate([of_event, np.arange(len(X))]) if self.ends else of_event

    def _part_codes(self, X: SequenceStore) -> list[Ints]:
        out = []
        for (column, lag), size in zip(self.parts, self.sizes, strict=True):
            codes = as_ints(X.codes[:, column], size)
            lagged = _lagged(codes, X, lag)
            out.append(np.concatenate([lagged, _last(codes, X, lag)]) if self.ends else lagged)
        return out

    def _contexts(self, codes: list[Ints]) -> list[Ints]:
        """Return context ids per order from 1; an unknown context has the id after the last known one."""
        out = codes[:1]
        for part, size, seen in zip(codes[1:], self.sizes[1:], self.prefixes, strict=False):
            out.append(seen.places(out[-1] * size + part))
        return out


def count(rows: Rows, chain: Chain) -> list[ConditionalCounts]:
    """Return the counts of each order."""
    return [
        ConditionalCounts.of(context, n, rows.value, chain.n_values)
        for context, n in zip(rows.contexts, [k + (d > 1) for d, k in enumerate(chain.n_contexts())], strict=True)
    ]


def surprisals(tables: list[ConditionalCounts], rows: Rows, own: Own) -> list[Float]:
    """Return (R,) surprisals in nats per order, from no context to the longest.

    Witten and Bell's smoothing (1991, method C): a context of t distinct values lends t events to the shorter one.
    """
    p: Float = np.full(len(rows.value), 1.0 / (tables[0].n_values - 1))
    out = []
    for table, context in zip(tables, rows.contexts, strict=True):
        joint, total, types = table.look_up(context, rows.value, own)
        mass = np.maximum(types, 1.0)
        p = (joint + mass * p) / (total + mass)
        out.append(-np.log(p))
    return out


def choose_parts(X: SequenceStore, columns: list[int], order: int, seed: int, sample: int = 30_000) -> list[list[Part]]:
    """Return each column's context: its natural first part, then those that most raise the held-out likelihood."""
    # A sequence's own events must not choose its contexts, whatever the items are: whole sequences are left out.
    X = _sample(replace(X, learnt=None), sample, seed)
    chosen = []
    for k, column in enumerate(columns):
        # The first column follows itself; every other one follows the first column of its own event.
        parts: list[Part] = [(columns[0], 1 if k == 0 else 0)][:order]
        best = _loss(X, column, parts)
        for _ in range(order - len(parts)):
            options = [part for part in _candidates(columns, k) if part not in parts]
            losses = [_loss(X, column, [*parts, part]) for part in options]
            if not losses or min(losses) > best - _GAIN:
                break
            best = min(losses)
            parts.append(options[losses.index(best)])
        chosen.append(parts)
    return chosen


def _candidates(columns: list[int], k: int) -> list[Part]:
    return [*((j, 0) for j in columns[:k]), *((j, 1) for j in columns), (columns[k], 2)]


def _loss(X: SequenceStore, column: int, parts: list[Part]) -> float:
    """Return the mean surprisal of a column when each sequence is scored without itself."""
    chain = Chain.of(X, column, parts)
    rows = chain.rows(X).counted()
    if not len(rows.value):
        return 0.0
    return float(surprisals(count(rows, chain), rows, rows.own(np.ones(len(rows.value), bool)))[-1].mean())


def _sample(X: SequenceStore, events: int, seed: int) -> SequenceStore:
    """Return whole sequences of about that many events, and the beginning of the first where it is longer."""
    if X.n_events <= events:
        return X
    order = np.random.default_rng(seed).permutation(len(X))
    n = max(int(np.searchsorted(np.cumsum(X.lengths[order]), events, side="right")), 1)
    chosen = X.take(np.sort(order[:n]))
    return chosen if chosen.n_events <= events else _cut(chosen, events)


def _cut(X: SequenceStore, events: int) -> SequenceStore:
    """Return the first events of a single long sequence, in pieces that can be left out one at a time."""
    pieces, first = np.linspace(0, events, 9).astype(np.int64), np.zeros(8, np.int64)
    return replace(
        X,
        codes=X.codes[:events],
        values=X.values[:events],
        delta=X.delta[:events],
        time=X.time[:events],
        row=X.row[:events],
        offsets=pieces,
        entity=X.entity[first],
        context=first,
        sequence_ids=X.sequence_ids[first],
        entity_ids=X.entity_ids[first],
        event_ids=None,
    )


def _lagged(codes: NDArray[Any], X: SequenceStore, lag: int) -> NDArray[Any]:
    """Return the code `lag` events earlier in the same sequence, `PAD` before its start."""
    if lag == 0:
        return codes
    out = np.full(len(codes), PAD, codes.dtype)
    out[lag:] = codes[:-lag]
    out[X.position() < lag] = PAD
    return out


def _last(codes: NDArray[Any], X: SequenceStore, lag: int) -> NDArray[Any]:
    """Return (N,) the code that lies `lag` events before each sequence's end."""
    padded = np.append(codes, PAD)
    place = np.where(X.lengths >= lag, X.offsets[1:] - lag, len(codes))
    return np.asarray(padded[place])
