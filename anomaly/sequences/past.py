"""What comes before the reported events: taken off, and put back.

Shapes: T events, N sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from anomaly.sequences.store import FLAT, SequenceStore, rows_at


def without_past(store: SequenceStore) -> tuple[SequenceStore, SequenceStore]:
    """Return the contexts of the sequences, and what is reported of them; both leave out where nothing is.

    Sequences are named by their place, so that `with_past` knows them again.
    """
    if not (store.lengths > store.context).all():
        store = store.take(store.lengths > store.context)
    kept_T = store.position() >= np.repeat(store.context, store.lengths)
    ids = pl.Series("sequence", np.arange(len(store)))
    fresh = store if kept_T.all() else store.keep_events(kept_T)
    return store.keep_events(~kept_T), replace(fresh, context=np.zeros(len(store), np.int64), sequence_ids=ids)


def with_past(past: SequenceStore, reported: SequenceStore, fresh: SequenceStore) -> SequenceStore:
    """Return what was made of reported events, each sequence after the context of the one that its id names.

    The first event keeps the gap that the first reported one had.
    """
    if not past.n_events:
        return fresh
    owner_N = fresh.sequence_ids.to_numpy()
    context_N = past.lengths[owner_N]
    lengths_N = context_N + fresh.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths_N)])
    nth_T = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths_N)
    old_T = nth_T < np.repeat(context_N, lengths_N)
    place_T = np.where(
        old_T,
        nth_T + np.repeat(past.offsets[owner_N] - past.offsets[0], lengths_N),
        nth_T + np.repeat(past.n_events + fresh.offsets[:-1] - fresh.offsets[0] - context_N, lengths_N),
    )
    flat: dict[str, Any] = {
        name: rows_at(np.concatenate([getattr(past, name), getattr(fresh, name)]), place_T) for name in FLAT
    }
    filled = (fresh.lengths > 0) & (context_N > 0)
    flat["delta"][(offsets[:-1] + context_N)[filled]] = reported.delta[reported.offsets[:-1]][owner_N[filled]]
    learnt = None if past.learnt is None or fresh.learnt is None else past.learnt[owner_N] + fresh.learnt
    return replace(fresh, **flat, offsets=offsets, context=context_N, event_ids=None, learnt=learnt)
