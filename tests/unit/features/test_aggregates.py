"""Aggregates say what happened, under names that can be read."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.errors import DataError, NotFittedError
from anomaly.features.aggregates import SequenceAggregates
from anomaly.sequences.store import UNKNOWN, Field, SequenceStore


def store(n: int = 30, seed: int = 0, values: int = 5) -> SequenceStore:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, n)
    t = int(lengths.sum())
    delta = rng.exponential(30.0, t).astype(np.float32)
    delta[np.cumsum(lengths) - lengths] = 0
    fields = [Field("action", "categorical", values + 3), Field("amount", "numeric", values + 3)]
    codes = rng.integers(3, values + 3, (t, 2))
    numbers = rng.normal(size=(t, 1)).astype(np.float32)
    return SequenceStore.from_codes(codes, lengths, fields=fields, delta=delta, values=numbers)


def column(features: object, name: str) -> np.ndarray:  # type: ignore[type-arg]
    return features.values[:, features.names.index(name)]  # type: ignore[attr-defined,no-any-return]


def test_columns_equal_a_loop() -> None:
    X = store()
    found = SequenceAggregates().fit(X).transform(X)
    for n, (a, b) in enumerate(zip(X.offsets[:-1], X.offsets[1:], strict=True)):
        codes, gaps = X.codes[a:b, 0], X.delta[a + 1 : b]
        shares = np.unique(codes, return_counts=True)[1] / len(codes)
        assert column(found, "length.log")[n] == pytest.approx(np.log1p(b - a))
        assert column(found, "action=code 2")[n] == pytest.approx(np.log1p((codes == 5).sum()))
        assert column(found, "action.entropy")[n] == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-6)
        assert column(found, "action.unique_share")[n] == pytest.approx(len(shares) / len(codes))
        assert column(found, "value0.max")[n] == pytest.approx(X.values[a:b, 0].max())
        assert column(found, "value0.std")[n] == pytest.approx(X.values[a:b, 0].std(), abs=1e-6)
        if len(gaps):
            assert column(found, "gap.mean_log")[n] == pytest.approx(np.log1p(gaps).mean(), rel=1e-5)
            assert column(found, "gap.cv")[n] == pytest.approx(gaps.std() / gaps.mean(), rel=1e-3, abs=1e-3)
            assert column(found, "gap.min_log")[n] == pytest.approx(np.log1p(gaps.min()), rel=1e-5)
        else:
            assert np.isnan(column(found, "gap.mean_log")[n])


def test_names_are_unique_and_readable() -> None:
    X = store()
    labels = {"action": ["", "", "", "browse", "cart", "order", "pay", "return"]}
    names = SequenceAggregates().fit(X, labels).transform(X).names
    assert len(set(names)) == len(names)
    assert "action=order" in names
    assert any(name.startswith("action=browse > ") for name in names)


def test_caps_keep_the_most_frequent() -> None:
    codes = np.repeat([3, 4, 5, 6], [1, 5, 9, 2])
    X = SequenceStore.from_codes(codes, [len(codes)])
    names = SequenceAggregates(max_values=2, max_transitions=1).fit(X).transform(X).names
    assert {n for n in names if n.startswith("field0=")} == {"field0=code 1", "field0=code 2", "field0=code 2 > code 2"}


def test_blocks_change_nothing() -> None:
    X = store(80)
    whole = SequenceAggregates().fit(X).transform(X)
    pieces = SequenceAggregates(block_events=17).fit(X).transform(X)
    np.testing.assert_array_equal(whole.values, pieces.values)
    np.testing.assert_array_equal(whole.keys, X.keys())


def test_new_transitions_are_judged_without_the_sequence_itself() -> None:
    X = SequenceStore.from_codes([3, 4, 3, 4, 3, 5], [2, 2, 2])
    aggregates = SequenceAggregates().fit(X)
    found = column(aggregates.transform(X), "field0.new_transition_share")
    np.testing.assert_allclose(found, [0, 0, 1])
    again = SequenceStore.from_codes([3, 5, 3, 3, 5], [2, 3], fields=X.fields)
    np.testing.assert_allclose(column(aggregates.transform(again), "field0.new_transition_share"), [1, 0.5])


def test_past_is_left_out() -> None:
    X = store()
    later = replace(X, context=np.minimum(X.lengths - 1, 2))
    found = SequenceAggregates().fit(X).transform(later)
    np.testing.assert_allclose(column(found, "length.log"), np.log1p(X.lengths - later.context), rtol=1e-6)


def test_unknown_codes_are_a_share() -> None:
    X = store()
    aggregates = SequenceAggregates().fit(X)
    strange = replace(X, codes=np.full_like(X.codes, UNKNOWN))
    np.testing.assert_array_equal(column(aggregates.transform(strange), "action.unknown_share"), 1)


@settings(deadline=None, max_examples=15)
@given(n=st.integers(1, 12), seed=st.integers(0, 99), values=st.integers(1, 6))
def test_rows_do_not_depend_on_company(n: int, seed: int, values: int) -> None:
    X = store(n, seed, values)
    aggregates = SequenceAggregates().fit(X)
    together = aggregates.transform(X).values
    alone = np.concatenate([aggregates.transform(X.take([k])).values for k in range(n)])
    np.testing.assert_allclose(alone, together, rtol=1e-6)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(NotFittedError, match="fit"):
        SequenceAggregates().transform(store())
    with pytest.raises(DataError, match="fields are"):
        SequenceAggregates().fit(store()).transform(SequenceStore.from_codes([3], [1]))


def test_a_million_events_a_second_in_order_of_magnitude() -> None:
    rng = np.random.default_rng(0)
    X = SequenceStore.from_codes(rng.integers(3, 60, (200_000, 2)), np.full(10_000, 20))
    aggregates = SequenceAggregates().fit(X)
    start = time.perf_counter()
    aggregates.transform(X)
    assert time.perf_counter() - start < 3.0
