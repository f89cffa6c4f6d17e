"""Packed batches hold what the store holds, piece by piece."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.sequences.batch import collate, cut, scoring_batches
from anomaly.sequences.store import SequenceStore


def store_of(lengths: list[int], seed: int = 0) -> SequenceStore:
    rng = np.random.default_rng(seed)
    t = sum(lengths)
    return SequenceStore.from_codes(
        rng.integers(0, 9, (t, 2)),
        lengths,
        delta=rng.exponential(size=t).astype(np.float32),
        values=rng.normal(size=(t, 3)).astype(np.float32),
        entity=rng.integers(0, 4, len(lengths)).astype(np.int32),
    )


ragged = st.lists(st.integers(0, 30), min_size=1, max_size=8)


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, longest=st.integers(1, 12), share=st.floats(0, 0.9))
def test_cuts_cover_every_event_once(lengths: list[int], longest: int, share: float) -> None:
    store, overlap = store_of(lengths), int(share * longest)
    pieces = cut(store, longest, overlap)
    if not store.n_events:
        assert not len(pieces)
        return
    assert (pieces.lengths <= longest).all()
    fresh = [np.arange(f, e) for f, e in zip(pieces.fresh, pieces.end, strict=True)]
    np.testing.assert_array_equal(np.concatenate(fresh), np.arange(store.n_events))
    owner = store.sequence_of_event()
    for n, begin, end, own in zip(pieces.sequence, pieces.begin, pieces.end, pieces.fresh, strict=True):
        assert (owner[begin:end] == n).all()
        context = own - begin
        assert context == (0 if begin == store.offsets[n] else overlap)
    assert set(pieces.sequence) == set(np.flatnonzero(store.lengths)), "a sequence without events has no piece"


@settings(deadline=None, max_examples=20)
@given(lengths=ragged, longest=st.integers(2, 12), more=st.integers(1, 20))
def test_where_a_piece_begins_does_not_depend_on_what_comes_later(lengths: list[int], longest: int, more: int) -> None:
    def places(some: list[int]) -> list[tuple[int, int, int]]:
        store = store_of(some)
        pieces = cut(store, longest, longest // 2)
        found = []
        for n, begin, end, fresh in zip(pieces.sequence, pieces.begin, pieces.end, pieces.fresh, strict=True):
            found += [(int(n), int(k - store.offsets[n]), int(begin - store.offsets[n])) for k in range(fresh, end)]
        return found

    short = set(places(lengths))
    assert short <= set(places([length + more for length in lengths]))


def test_whole_sequences_where_no_limit_is_given() -> None:
    store = store_of([3, 0, 40, 1])
    pieces = cut(store)
    np.testing.assert_array_equal(pieces.sequence, [0, 2, 3])
    np.testing.assert_array_equal(pieces.begin, [0, 3, 43])
    np.testing.assert_array_equal(pieces.end, [3, 43, 44])
    np.testing.assert_array_equal(pieces.fresh, pieces.begin)


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, seed=st.integers(0, 99))
def test_a_batch_is_a_gather_of_the_store(lengths: list[int], seed: int) -> None:
    lengths = [*lengths, 3]
    store, rng = store_of(lengths, seed), np.random.default_rng(seed)
    pieces = cut(store, 7)
    chosen = rng.permutation(len(pieces))[: max(len(pieces) // 2, 1)]
    batch = collate(store, pieces, chosen)
    for k, piece in enumerate(chosen):
        here = slice(int(batch.cu_seqlens[k]), int(batch.cu_seqlens[k + 1]))
        there, n = slice(pieces.begin[piece], pieces.end[piece]), pieces.sequence[piece]
        np.testing.assert_array_equal(batch.codes_TF[here], store.codes[there])
        np.testing.assert_array_equal(batch.values_TG[here], store.values[there])
        np.testing.assert_array_equal(batch.delta_T[here], store.delta[there])
        assert int(batch.entity_N[k]) == store.entity[n] and int(batch.index_N[k]) == n
        assert bool(batch.starts_N[k]) == (pieces.begin[piece] == store.offsets[n])
        assert bool(batch.ends_N[k]) == (pieces.end[piece] == store.offsets[n + 1])
    assert batch.codes_TF.dtype == torch.int64 and batch.values_TG.dtype == torch.float32
    np.testing.assert_array_equal(batch.lengths_N, pieces.lengths[chosen])


def test_as_population_hides_the_entities_and_nothing_else() -> None:
    store = store_of([3, 4])
    batch = replace(collate(store, cut(store), np.arange(2)), past_N=torch.tensor([0, 2]))
    crowd = batch.as_population()
    assert (crowd.entity_N == 0).all() and crowd.entity_N.shape == batch.entity_N.shape
    assert crowd.longest == batch.longest == 4
    tensors = [f.name for f in fields(batch) if f.name != "longest"]
    for name in set(tensors) - {"entity_N"}:
        assert torch.equal(getattr(crowd, name), getattr(batch, name)), name
    moved = batch.to("cpu")
    assert all(torch.equal(getattr(moved, name), getattr(batch, name)) for name in tensors)
    assert replace(batch, past_N=None).to("cpu").past_N is None


@settings(deadline=None, max_examples=20)
@given(lengths=ragged, tokens=st.integers(1, 60), windowed=st.booleans())
def test_scoring_visits_every_event_once(lengths: list[int], tokens: int, windowed: bool) -> None:
    store: Any = store_of(lengths)
    windows = (8, 4) if windowed else (None, 0)
    seen = np.zeros(store.n_events, int)
    for batch, pieces in scoring_batches(store, tokens, *windows):
        assert len(batch.entity_N) == len(pieces)
        np.testing.assert_array_equal(batch.lengths_N, pieces.lengths)
        for fresh, end in zip(pieces.fresh, pieces.end, strict=True):
            seen[fresh:end] += 1
    assert (seen == 1).all()
