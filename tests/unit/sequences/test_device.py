"""Columns on a device give the batches that the store gives; shares of batches are the batches."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from anomaly.sequences.batch import SequenceBatch, collate, cut
from anomaly.sequences.device import DeviceColumns, takes
from anomaly.sequences.sampler import TokenBudgetSampler, share
from anomaly.sequences.store import FIRST_VALUE, SequenceStore


def store(lengths: list[int]) -> SequenceStore:
    rng = np.random.default_rng(0)
    t = sum(lengths)
    codes = FIRST_VALUE + rng.integers(0, 9, (t, 2))
    delta, values = rng.random(t).astype(np.float32), rng.normal(size=(t, 1)).astype(np.float32)
    entity = np.arange(len(lengths), dtype=np.int32)
    return SequenceStore.from_codes(codes, lengths, delta=delta, values=values, entity=entity)


def test_a_batch_gathered_on_the_device_is_the_stores() -> None:
    X = store([5, 1, 9, 30]).take([3, 0, 2, 1])
    pieces = cut(X, 8, 2)
    columns = DeviceColumns(X, torch.device("cpu"))
    for chosen in ([0], [2, 1], np.arange(len(pieces))):
        found, expected = columns.collate(pieces, np.asarray(chosen)), collate(X, pieces, np.asarray(chosen))
        for field in fields(SequenceBatch):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            if isinstance(one, torch.Tensor):
                assert one.dtype == other.dtype and torch.equal(one, other), field.name
            else:
                assert one == other, field.name
    assert not takes(torch.device("cpu"), X), "a CPU gathers from the store itself"


def test_shares_of_all_ranks_are_the_whole() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 101)
    one = list(TokenBudgetSampler(lengths, 200, seed=3))
    ranks = [list(TokenBudgetSampler(lengths, 200, seed=3, ranks=(r, 3))) for r in range(3)]
    for batch, parts in zip(one, zip(*ranks, strict=True), strict=True):
        if len(batch) >= 3:
            assert sorted(batch) == sorted(place for part in parts for place in part)
        else:
            assert all(part == batch for part in parts)
    assert share([7], 1, 2) == [7], "no rank is without work"
