"""Reductions over ragged events equal a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.features.segments import blocks, segment_max, segment_mean, segment_min, segment_sum, segment_top_mean
from anomaly.sequences.store import SequenceStore

lengths = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@settings(deadline=None, max_examples=30)
@given(lengths=lengths, seed=st.integers(0, 99))
def test_reductions_equal_a_loop(lengths: list[int], seed: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.random.default_rng(seed).normal(size=offsets[-1])
    pieces = [values[a:b] for a, b in pairwise(offsets)]
    expected = {
        segment_sum: [p.sum() for p in pieces],
        segment_mean: [p.mean() if len(p) else 0.0 for p in pieces],
        segment_max: [p.max() if len(p) else 0.0 for p in pieces],
        segment_min: [p.min() if len(p) else 0.0 for p in pieces],
    }
    for reduce, wanted in expected.items():
        np.testing.assert_allclose(reduce(values, offsets), wanted, atol=1e-12)
    top = [np.sort(p)[::-1][:3].mean() if len(p) else 0.0 for p in pieces]
    np.testing.assert_allclose(segment_top_mean(values, offsets, 3), top, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(lengths=lengths, events=st.integers(1, 20))
def test_blocks_are_all_sequences_once_in_order(lengths: list[int], events: int) -> None:
    store = SequenceStore.from_codes(np.arange(sum(lengths)) % 5 + 3, lengths)
    found = [i for block in blocks(store, events) for i in block.sequence_ids]
    assert found == list(range(len(lengths)))
