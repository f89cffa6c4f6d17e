"""The past is taken off sequences and put back before what was made of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly.sequences.corrupt import Extreme, HandOver, Pace, Scramble
from anomaly.sequences.past import with_past, without_past
from anomaly.sequences.rearrange import Insert, Skip
from anomaly.sequences.store import SequenceStore


def store(context: list[int]) -> SequenceStore:
    rng = np.random.default_rng(0)
    lengths = [6, 5, 4, 7]
    made = SequenceStore.from_codes(
        rng.integers(3, 9, (sum(lengths), 2)),
        lengths,
        delta=rng.exponential(9.0, sum(lengths)).astype(np.float32),
        entity=np.array([1, 2, 3, 4], np.int32),
    )
    return replace(made, context=np.array(context))


def test_what_is_taken_off_and_put_back_is_what_it_was() -> None:
    X = replace(store([2, 0, 4, 3]), learnt=np.array([2, 0, 1, 3]))
    past, fresh = without_past(X)
    assert fresh.lengths.tolist() == [4, 5, 4]
    back = with_past(past, fresh, fresh)
    whole = X.take([0, 1, 3])
    for name in ("codes", "delta", "time", "row", "offsets", "context", "entity", "learnt"):
        np.testing.assert_array_equal(getattr(back, name), getattr(whole, name))


@pytest.mark.parametrize("kind", [Insert(), Skip(), HandOver(), Scramble(), Pace()])
def test_damage_leaves_the_past_and_the_gap_after_it(kind: Insert) -> None:
    X = store([2, 1, 1, 3])
    past, fresh = without_past(X)
    damaged = kind.corrupt(fresh, np.random.default_rng(1))
    back = with_past(past, fresh, damaged.store)
    assert back.n_events == len(damaged.touched) + back.context.sum()
    for n, owner in enumerate(damaged.store.sequence_ids):
        begin, first = back.offsets[n], back.offsets[n] + back.context[n]
        old = X.offsets[owner]
        np.testing.assert_array_equal(back.codes[begin:first], X.codes[old : old + X.context[owner]])
        assert back.delta[first] == X.delta[old + X.context[owner]]


def test_a_store_without_past_is_left_alone() -> None:
    X = store([0, 0, 0, 0])
    past, fresh = without_past(X)
    assert not past.n_events
    assert with_past(past, fresh, fresh) is fresh
    assert not Extreme().applies(fresh)
