"""Augmented batches are well-formed and change only what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.sequences.augment import Augmentation, Chain, Crop, Drop, LocalShuffle, Mask, TimeJitter, keep_events
from anomaly.sequences.batch import SequenceBatch, collate, cut
from anomaly.sequences.store import UNKNOWN, SequenceStore

EVERY = [Crop(rate=1.0), Drop(rate=0.5), Mask(rate=0.5), LocalShuffle(rate=1.0), TimeJitter(scale=1.0)]


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batch_of(lengths: list[int]) -> SequenceBatch:
    total = sum(lengths)
    codes = np.stack([np.arange(total) + 3, np.arange(total) % 5 + 3], axis=1)
    store = SequenceStore.from_codes(codes, lengths, delta=np.arange(total, dtype=np.float32) + 1)
    pieces = cut(store)
    return collate(store, pieces, np.arange(len(pieces)))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(EVERY), st.integers(0, 99))
def test_batches_stay_well_formed(lengths: list[int], augment: Augmentation, seed: int) -> None:
    torch.manual_seed(seed)
    before = batch_of(lengths)
    after = augment(before)
    assert after.cu_seqlens[-1] == len(after.codes_TF) == len(after.values_TG) == len(after.delta_T)
    assert (after.lengths_N >= 1).all() and (after.lengths_N <= before.lengths_N).all()
    assert torch.equal(after.index_N, before.index_N)
    assert before.codes_TF.shape[0] == sum(lengths)


def test_a_gap_reaches_back_to_the_event_kept_before() -> None:
    batch = batch_of([4, 2])
    after = keep_events(batch, torch.tensor([True, False, False, True, True, True]))
    assert after.lengths_N.tolist() == [2, 2]
    assert after.delta_T.tolist() == [1.0, 2.0 + 3.0 + 4.0, 5.0, 6.0]
    assert after.starts_N.all() and after.ends_N.all()


def test_what_is_cut_off_is_no_start_and_no_end() -> None:
    after = keep_events(batch_of([4, 2]), torch.tensor([False, True, True, False, True, True]))
    assert after.starts_N.tolist() == [False, True]
    assert after.ends_N.tolist() == [False, True]


def test_a_missing_time_stays_missing() -> None:
    batch = batch_of([4])
    after = keep_events(replace(batch, delta_T=torch.full((4,), torch.nan)), torch.tensor([True, False, True, True]))
    assert after.delta_T.isnan().all()


def test_masked_codes_are_unknown_and_others_stay() -> None:
    batch = batch_of([40])
    after = Mask(rate=0.5)(batch)
    changed = after.codes_TF != batch.codes_TF
    assert (after.codes_TF[changed] == UNKNOWN).all() and 0.3 < changed.float().mean() < 0.7


def test_a_shuffle_moves_events_a_little_and_within_their_sequence() -> None:
    batch = batch_of([30, 30])
    after = LocalShuffle(rate=1.0, reach=3.0)(batch)
    moved = (after.codes_TF[:, 0] - batch.codes_TF[:, 0]).abs()
    assert 0 < moved.max() <= 3
    assert torch.equal(after.codes_TF[:30, 0].sort().values, batch.codes_TF[:30, 0])


def test_a_chain_takes_its_steps_in_turn() -> None:
    batch = batch_of([40])
    after = Chain(steps={"mask": Mask(rate=1.0), "drop": Drop(rate=0.5)})(batch)
    assert (after.codes_TF == UNKNOWN).all() and len(after.codes_TF) < 40
