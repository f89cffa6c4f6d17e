"""Loaders give every event of the training store once an epoch, and the held-out ones in a fixed order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly.sequences import datamodule
from anomaly.sequences.datamodule import SequenceDataModule
from anomaly.sequences.sampler import recurring
from anomaly.sequences.store import SequenceStore


def store_of(n: int, seed: int) -> SequenceStore:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 40, n)
    return SequenceStore.from_codes(rng.integers(3, 9, (int(lengths.sum()), 2)), lengths)


def data(tokens: int = 64, longest: int = 10) -> SequenceDataModule:
    return SequenceDataModule(train=store_of(30, 0), held_out=store_of(9, 1), tokens=tokens, longest=longest, seed=4)


def test_an_epoch_holds_every_event_once_in_pieces() -> None:
    module = data()
    loader = module.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader)
    assert sum(len(b.codes_TF) for b in batches) == module.train.n_events
    per_sequence = np.zeros(30, int)
    for batch in batches:
        assert int(batch.lengths_N.max()) <= 10
        np.add.at(per_sequence, batch.index_N.numpy(), batch.lengths_N.numpy())
    np.testing.assert_array_equal(per_sequence, module.train.lengths)
    assert sum(int(b.starts_N.sum()) for b in batches) == 30 == sum(int(b.ends_N.sum()) for b in batches)


def test_epochs_differ_and_repeat() -> None:
    def order(epoch: int) -> list[int]:
        loader = data().train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return [int(k) for batch in loader for k in batch.index_N]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert sorted(order(0)) == sorted(order(1))


def test_held_out_sequences_come_in_one_order() -> None:
    first, second = ([b.index_N.tolist() for b in data().val_dataloader()] for _ in range(2))
    assert first == second
    assert {k for batch in first for k in batch} == set(range(9))


def test_of_many_held_out_events_evenly_spread_pieces_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodule, "HELD_OUT_EVENTS", 40)
    every = store_of(9, 1).n_events
    judged = sum(len(batch.codes_TF) for batch in data().val_dataloader())
    assert 25 < judged < 60 < every


def test_the_past_of_held_out_events_is_not_judged() -> None:
    module = data()
    module.held_out = replace(module.held_out, context=module.held_out.lengths // 2)
    batches = list(module.val_dataloader())
    judged = sum(len(b.codes_TF) if b.past_N is None else int((b.lengths_N - b.past_N).sum()) for b in batches)
    assert judged == (module.held_out.lengths - module.held_out.context).sum()


def test_more_events_bring_no_new_shapes() -> None:
    def shapes(n: int) -> set[tuple[int, int]]:
        module = SequenceDataModule(train=store_of(n, 0), held_out=store_of(9, 1), tokens=512, longest=64)
        return {(len(batch.index_N), batch.longest) for batch in module.train_dataloader()}

    lengths = len(np.unique(recurring(np.arange(1, 40))))
    # The last batch has as many sequences as are left.
    assert len(shapes(3000)) <= lengths + 1
    assert len(shapes(6000)) <= lengths + 1
