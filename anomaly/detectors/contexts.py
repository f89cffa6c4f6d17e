"""Which earlier codes each field is predicted from, chosen by leave-one-out likelihood.

A context part is (column, lag): lag 0 is an earlier column of the same event, lag 1 the event before.
Shapes: T events, N sequences, F columns; R = T rows, or T + N where each sequence adds its end symbol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.counts import ConditionalCounts, Float, Keys, Own, hash_columns
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
    contexts : one (R,) array of keys per order, from no context to the longest
    sequence : (R,) the place of each row's sequence
    kept : (R,) False for the events that are another sequence's past
    """

    value: NDArray[Any]
    contexts: list[Keys]
    sequence: NDArray[np.int64]
    kept: NDArray[np.bool_]

    def counted(self) -> Rows:
        """Return the rows that are counted in `fit`."""
        where = self.kept
        return Rows(self.value[where], [c[where] for c in self.contexts], self.sequence[where], self.kept[where])

    def own(self, known: NDArray[np.bool_]) -> Own:
        """Return the rows whose sequences are `known` (N,) from `fit`."""
        events = np.flatnonzero(self.kept & known[self.sequence])
        return Own(events, self.sequence[events])


def column_rows(X: SequenceStore, columns: list[int], k: int, chain: list[Part], end: int | None = None) -> Rows:
    """Return the rows of column `k`, followed by one row of value `end` per sequence where that is stated."""
    codes = X.codes[:, columns]
    parts = [_lagged(codes[:, j], X, lag) for j, lag in chain]
    value, sequence, kept = codes[:, k], X.sequence_of_event(), reported(X)[1]
    if end is not None:
        parts = [np.concatenate([p, _last(codes[:, j], X, lag)]) for p, (j, lag) in zip(parts, chain, strict=True)]
        value = np.concatenate([value, np.full(len(X), end)])
        sequence = np.concatenate([sequence, np.arange(len(X))])
        kept = np.concatenate([kept, np.ones(len(X), bool)])
    contexts = [np.full(len(value), hash_columns(0), np.uint64)]
    contexts += [hash_columns(*parts[: d + 1]) for d in range(len(parts))]
    return Rows(value, contexts, sequence, kept)


def surprisals(tables: list[ConditionalCounts], rows: Rows, size: int, own: Own) -> list[Float]:
    """Return (R,) surprisals in nats per order, from no context to the longest.

    Witten and Bell's smoothing (1991, method C): a context of t distinct values lends t events to the shorter one.
    """
    p: Float = np.full(len(rows.value), 1.0 / (size + 1))
    out = []
    for table, context in zip(tables, rows.contexts, strict=True):
        joint, total, types = table.look_up(context, rows.value, own)
        mass = np.maximum(types, 1.0)
        p = (joint + mass * p) / (total + mass)
        out.append(-np.log(p))
    return out


def choose_chains(
    X: SequenceStore, columns: list[int], sizes: list[int], order: int, seed: int, sample: int = 30_000
) -> list[list[Part]]:
    """Return each column's context: its natural first part, then those that most raise the held-out likelihood."""
    X = _sample(X, sample, seed)
    chains = []
    for k in range(len(columns)):
        # The first column follows itself; every other one follows the first column of its own event.
        chain: list[Part] = [(0, 1) if k == 0 else (0, 0)][:order]
        best = _loss(X, columns, sizes, k, chain)
        for _ in range(order - len(chain)):
            options = [part for part in _candidates(k, len(columns)) if part not in chain]
            losses = [_loss(X, columns, sizes, k, [*chain, part]) for part in options]
            if not losses or min(losses) > best - _GAIN:
                break
            best = min(losses)
            chain.append(options[losses.index(best)])
        chains.append(chain)
    return chains


def _candidates(k: int, n: int) -> list[Part]:
    return [*((j, 0) for j in range(k)), *((j, 1) for j in range(n)), (k, 2)]


def _loss(X: SequenceStore, columns: list[int], sizes: list[int], k: int, chain: list[Part]) -> float:
    """Return the mean surprisal of column `k` when each sequence is scored without itself."""
    rows = column_rows(X, columns, k, chain).counted()
    if not len(rows.value):
        return 0.0
    tables = [ConditionalCounts.of(c, rows.value) for c in rows.contexts]
    return float(surprisals(tables, rows, sizes[k], rows.own(np.ones(len(X), bool)))[-1].mean())


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
