"""Batches under a token budget hold every sequence once, and are a function of seed and epoch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.sequences.sampler import TokenBudgetSampler, recurring, token_batches

ragged = st.lists(st.integers(0, 200), max_size=60)


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, tokens=st.integers(1, 500), shuffled=st.booleans())
def test_every_sequence_once_and_within_the_budget(lengths: list[int], tokens: int, shuffled: bool) -> None:
    sizes = np.array(lengths, np.int64)
    batches = token_batches(sizes, tokens, np.random.default_rng(0) if shuffled else None)
    assert sorted(k for batch in batches for k in batch) == list(range(len(sizes)))
    for batch in batches:
        padded = len(batch) * max(int(sizes[batch].max()), 1)
        assert padded <= tokens or len(batch) == 1
    if not shuffled:
        order = sizes[np.concatenate(batches)] if batches else sizes
        assert (np.diff(order) <= 0).all()


def test_few_sizes_recur() -> None:
    sizes = np.arange(1 << 14)
    found = recurring(sizes)
    assert (found >= sizes).all() and (found <= 1.125 * sizes).all()
    np.testing.assert_array_equal(recurring(found), found)
    assert len(np.unique(found)) < 100
    assert int(recurring(33)) == 36


def test_similar_lengths_share_a_batch() -> None:
    sizes = np.random.default_rng(1).integers(1, 300, 2000)
    batches = token_batches(sizes, 4096, np.random.default_rng(2))
    padded = sum(len(b) * sizes[b].max() for b in batches)
    assert padded < 1.05 * sizes.sum()


def test_the_sampler_is_a_function_of_seed_and_epoch() -> None:
    sizes = np.random.default_rng(3).integers(1, 50, 200)
    sampler, other = TokenBudgetSampler(sizes, 256, 5), TokenBudgetSampler(sizes, 256, 5)
    first = list(sampler)
    assert first == list(sampler) == list(other)
    assert len(first) == len(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first and len(list(sampler)) == len(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(TokenBudgetSampler(sizes, 256, 6)) != first
