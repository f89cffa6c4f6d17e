"""The six laws, for every detector."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from anomaly.artifact import codec
from anomaly.sequences.store import SequenceStore


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)


def test_law_1_alone_or_in_company(detector_case: Any, bench: Any) -> None:
    detector, X = bench.fitted(), bench.test
    together = detector.statistics(X).values
    alone = np.concatenate([detector.statistics(bench.take(X, [k])).values for k in range(len(X))])
    close(alone, together, detector_case.tolerance)


def test_law_1_order_and_copies(detector_case: Any, bench: Any) -> None:
    detector, X = bench.fitted(), bench.test
    expected = detector.decision_function(X)
    order = np.random.default_rng(0).permutation(len(X))
    close(detector.decision_function(bench.take(X, order)), expected[order], detector_case.tolerance)
    # A flood of copies must not hide itself.
    flood = np.zeros(300, np.int64)
    close(detector.decision_function(bench.take(X, flood)), expected[flood], detector_case.tolerance)


def test_law_1_threads(detector_case: Any, bench: Any) -> None:
    detector, X = bench.fitted(), bench.test
    with threadpool_limits(1):
        one = detector.decision_function(X)
    with threadpool_limits(2):
        two = detector.decision_function(X)
    close(one, two, detector_case.tolerance)


def test_law_1_events(event_case: Any, event_bench: Any) -> None:
    detector, X = event_bench.fitted(), event_bench.test
    alone = np.concatenate([detector.score_fields(event_bench.take(X, [k])) for k in range(len(X))])
    close(alone, detector.score_fields(X), max(event_case.tolerance, 1e-5))


def test_law_2_reloaded(detector_case: Any, bench: Any, tmp_path: Path) -> None:
    detector = bench.fitted()
    codec.dump(detector, tmp_path / "object")
    loaded = codec.load(tmp_path / "object")
    close(loaded.decision_function(bench.test), detector.decision_function(bench.test), 1e-6)
    close(loaded.decision_function(bench.kept), detector.decision_scores_, max(detector_case.tolerance, 1e-5))


def test_law_2_fitted_rows_score_alike_when_they_come_again(detector_case: Any, bench: Any) -> None:
    detector = bench.fitted()
    some = np.arange(5, 15)
    again = detector.decision_function(bench.take(bench.kept, some))
    close(again, detector.decision_scores_[some], detector_case.tolerance)


def test_law_3_one_seed_one_result(detector_case: Any, bench: Any) -> None:
    again = detector_case.make(0).fit(bench.train)
    np.testing.assert_array_equal(again.decision_scores_, bench.fitted().decision_scores_)


def test_law_3_global_random_states_stay(detector_case: Any, bench: Any) -> None:
    def states() -> list[Any]:
        torch = sys.modules.get("torch")
        seeds = torch.get_rng_state().tolist() if torch else []
        return [random.getstate(), np.random.get_state()[1].tolist(), seeds]  # noqa: NPY002

    detector_case.make(0)
    before = states()
    detector_case.make(0).fit(bench.train).decision_function(bench.test)
    assert states() == before


def test_law_5_unknown_labels_are_not_normal_ones(detector_case: Any, bench: Any) -> None:
    detector = detector_case.make(0)
    unknown = np.full(len(bench.train), -1)
    found = detector.fit(bench.train, unknown).decision_scores_
    np.testing.assert_array_equal(found, bench.fitted().decision_scores_)
    if not detector.uses_labels:
        mixed = np.arange(len(bench.train)) % 3 - 1
        found = detector_case.make(0).fit(bench.train, mixed).decision_scores_
        np.testing.assert_array_equal(found, bench.fitted().decision_scores_)


def test_law_6_later_events_change_nothing(event_case: Any, event_bench: Any) -> None:
    if not event_case.causal:
        pytest.skip("scores events where the whole sequence is at hand, and says so")
    detector, X = event_bench.fitted(), event_bench.test
    short = cut(X, np.maximum(X.lengths // 2, 1))
    kept = X.position() < np.repeat(short.lengths, X.lengths)
    close(detector.score_fields(short), detector.score_fields(X)[kept], max(event_case.tolerance, 1e-5))
    expected = detector.event_statistics(X).values[kept]
    close(detector.event_statistics(short).values, expected, max(event_case.tolerance, 1e-5))


def cut(X: SequenceStore, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> SequenceStore:
    """Return the first events of every sequence."""
    kept = X.position() < np.repeat(lengths, X.lengths)
    flat = {name: getattr(X, name)[kept] for name in ("codes", "values", "delta", "time", "row")}
    return replace(X, **flat, offsets=np.concatenate([[0], np.cumsum(lengths)]))
