"""scikit-learn's manners and PyOD's names, for every detector."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from anomaly.errors import NotFittedError


def test_constructor_stores_keyword_only_arguments(detector_case: Any) -> None:
    detector = detector_case.make(3)
    parameters = inspect.signature(type(detector)).parameters.values()
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters)
    assert set(vars(detector)) == {p.name for p in parameters}
    assert clone(detector).get_params().keys() == detector.get_params().keys()


def test_unfitted_says_so(detector_case: Any, bench: Any) -> None:
    with pytest.raises(NotFittedError, match="fit"):
        detector_case.make(0).decision_function(bench.test)


def test_fit_returns_self_and_keeps_scores(detector_case: Any, bench: Any) -> None:
    detector = detector_case.make(0)
    before = {k: repr(v) for k, v in detector.get_params(deep=False).items()}
    assert detector.fit(bench.train) is detector
    assert {k: repr(v) for k, v in detector.get_params(deep=False).items()} == before
    assert detector.decision_scores_.shape == (len(bench.kept),)
    assert np.isfinite(detector.decision_scores_).all()
    assert isinstance(detector.threshold_, float)


def test_scores_are_finite_float64(bench: Any) -> None:
    scores = bench.fitted().decision_function(bench.test)
    assert scores.dtype == np.float64
    assert scores.shape == (len(bench.test),)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1


def test_predict_follows_the_threshold(bench: Any) -> None:
    detector = bench.fitted()
    flags = detector.predict(bench.kept)
    assert set(np.unique(flags)) <= {0, 1}
    assert (flags == (detector.decision_scores_ > detector.threshold_)).all()


def test_statistics_are_named_and_finite(bench: Any) -> None:
    found = bench.fitted().statistics(bench.test)
    assert found.values.shape == (len(bench.test), len(found.names))
    assert found.values.dtype == np.float64
    assert np.isfinite(found.values).all()
    assert len(set(found.names)) == len(found.names) == len(found.tails)
    assert set(found.tails) <= {"upper", "both"}


def test_event_scores_are_sums_over_fields(event_bench: Any) -> None:
    detector = event_bench.fitted()
    fields = detector.score_fields(event_bench.test)
    assert fields.dtype == np.float32
    assert fields.shape == (event_bench.test.n_events, len(detector.field_names))
    np.testing.assert_allclose(
        detector.score_events(event_bench.test), fields.sum(1, dtype=float), rtol=1e-5, atol=1e-5
    )


def test_analysis_is_what_its_parts_are(event_bench: Any) -> None:
    detector, X = event_bench.fitted(), event_bench.test
    found = detector.analyse(X)
    np.testing.assert_allclose(found.statistics.values, detector.statistics(X).values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.fields_TF, detector.score_fields(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.event_statistics.values, detector.event_statistics(X).values, rtol=1e-5, atol=1e-5)
    assert found.event_statistics.values.shape == (X.n_events, len(found.event_statistics.names))
