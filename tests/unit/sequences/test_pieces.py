"""Pieces of sequences, scale by scale."""

from __future__ import annotations

import numpy as np

from anomaly.sequences.pieces import PIECE_EVENTS, PIECES, scales
from anomaly.sequences.store import SequenceStore


def store_of(lengths: list[int]) -> SequenceStore:
    n = sum(lengths)
    delta = np.full(n, 2.0, np.float32)
    return SequenceStore.from_codes(np.arange(n) % 50 + 3, lengths, delta=delta, closed=False)


def test_pieces_are_runs_of_events_of_their_owners() -> None:
    store = store_of([40, 3, 90, 0, 300])
    found = scales(store)
    assert len(found) == 3
    for pieces, longest in zip(found, (16, 64, 256), strict=True):
        made = pieces.of(store)
        assert ((made.lengths > longest // 4) & (made.lengths <= longest)).all()
        assert (store.lengths[pieces.owner_n] >= longest).all()
        assert made.n_events <= 1.1 * store.n_events
        np.testing.assert_array_equal(made.sequence_ids.to_numpy(), pieces.owner_n)
        places = pieces.first_n[made.sequence_of_event()] + made.position()
        np.testing.assert_array_equal(made.codes, store.codes[places])
        np.testing.assert_array_equal(store.sequence_of_event()[places], pieces.owner_n[made.sequence_of_event()])
        np.testing.assert_array_equal(made.delta == 0, made.position() == 0)
        assert not made.closed


def test_pieces_are_bounded_and_spread() -> None:
    store = store_of([90_000, 30_000, 200_000])
    for pieces in scales(store):
        assert len(pieces.length_n) <= PIECES and pieces.length_n.sum() < 1.5 * PIECE_EVENTS
    shares = np.bincount(scales(store)[2].owner_n) / PIECES
    np.testing.assert_allclose(shares, store.lengths / store.n_events, atol=0.01)


def test_short_sequences_have_no_pieces() -> None:
    assert scales(store_of([15, 3])) == []
    assert scales(store_of([15, 3]).take(np.zeros(0, np.int64))) == []
