"""Law 4, for every detector: odd input gives a score or a clear error, never NaN and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.errors import AnomalyError
from anomaly.sequences.store import UNKNOWN, SequenceStore

Shop = Callable[..., SequenceStore]


def assert_scores(detector: Any, X: Any) -> None:
    found = detector.statistics(X)
    assert found.values.shape == (len(X), len(found.names))
    assert np.isfinite(found.values).all()
    assert np.isfinite(detector.decision_function(X)).all()


def assert_fits_or_says_why(case: Any, X: Any) -> None:
    detector = case.make(0)
    try:
        detector.fit(X)
    except AnomalyError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert_scores(detector, X)


@pytest.mark.parametrize("n", [1, 2, 19])
def test_few_sequences(detector_case: Any, bench: Any, make_shop: Shop, n: int) -> None:
    assert_fits_or_says_why(detector_case, bench(make_shop(n)))


def test_no_sequence(detector_case: Any, bench: Any) -> None:
    nothing = bench.take(bench.train, np.zeros(0, np.int64))
    with pytest.raises(AnomalyError):
        detector_case.make(0).fit(nothing)
    assert len(bench.fitted().decision_function(nothing)) == 0


def test_single_events(detector_case: Any, bench: Any, make_shop: Shop) -> None:
    short = bench(make_shop(50, longest=2))
    assert_fits_or_says_why(detector_case, short)
    assert_scores(bench.fitted(), short)


def test_sequences_without_events(bench: Any, make_shop: Shop) -> None:
    X = make_shop(5, seed=2)
    lengths = np.insert(X.lengths, 2, 0)
    twice = [0, 1, 1, 2, 3, 4]
    holes = replace(
        X,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        entity=X.entity[twice],
        context=X.context[twice],
        sequence_ids=X.sequence_ids[twice],
        entity_ids=X.entity_ids[twice],
        silence=X.silence[twice],
    )
    assert_scores(bench.fitted(), bench(holes))


def test_identical_sequences(detector_case: Any, bench: Any) -> None:
    assert_fits_or_says_why(detector_case, bench.take(bench.train, np.full(60, 3)))


def test_constant_input(detector_case: Any, bench: Any, make_shop: Shop) -> None:
    X = make_shop(60)
    flat = replace(X, codes=np.full_like(X.codes, 4), values=X.values * 0, delta=X.delta * 0, entity=X.entity * 0)
    assert_fits_or_says_why(detector_case, bench(flat))
    assert_scores(bench.fitted(), bench(flat))


def test_unknown_values_and_entities(bench: Any, make_shop: Shop) -> None:
    X = make_shop(20, seed=5)
    strange = replace(X, codes=np.full_like(X.codes, UNKNOWN), entity=X.entity * 0)
    assert_scores(bench.fitted(), bench(strange))


def test_missing_values(detector_case: Any, bench: Any, make_shop: Shop) -> None:
    X = bench(make_shop(60))
    if isinstance(X, SequenceStore):
        holes: Any = replace(X, delta=np.full_like(X.delta, np.nan), time=X.time * 0, has_time=False)
    else:
        values = X.values.copy()
        values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
        values[:, 0], values[5, 1] = np.nan, np.inf
        holes = FeatureMatrix(values, X.names)
    assert_fits_or_says_why(detector_case, holes)
    if not isinstance(X, SequenceStore):
        assert_scores(bench.fitted(), holes)


@pytest.mark.parametrize("value", [1e6, 1e30, -1e30])
def test_huge_values(bench: Any, make_shop: Shop, value: float) -> None:
    X = make_shop(20, seed=6)
    huge = replace(X, values=X.values + np.float32(value), delta=X.delta + np.float32(abs(value) * 10))
    assert_scores(bench.fitted(), bench(huge))


def test_very_long_sequence(detector_case: Any, bench: Any, make_shop: Shop) -> None:
    X = make_shop(3, seed=7)
    places = np.arange(detector_case.longest) % X.n_events
    flat = {name: getattr(X, name)[places] for name in ("codes", "values", "delta", "time", "row")}
    one = X.take([0])
    long = replace(one, **flat, offsets=np.array([0, len(places)]))
    assert_scores(bench.fitted(), bench(long))


def test_past_is_read_and_not_reported(event_bench: Any) -> None:
    X = event_bench.test
    with_past = replace(X, context=np.minimum(X.lengths // 2, 3))
    assert_scores(event_bench.fitted(), with_past)
    assert_scores(event_bench.fitted(), replace(X, context=X.lengths))
