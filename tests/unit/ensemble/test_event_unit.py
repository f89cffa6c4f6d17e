"""Single events with their past as the items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.detectors.robust import IQRDetector
from anomaly.metrics.ranking import auroc

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def fitted(ensemble_of: Make, store_of: Make) -> Any:
    members = {"rarity": RarityDetector(), "ngram": NGramDetector(), "iqr": IQRDetector()}
    return ensemble_of(unit="event", members=members).fit(store_of(120, closed=False))


def test_every_reported_event_is_scored(fitted: Any, store_of: Make) -> None:
    X = store_of(30, seed=2, closed=False)
    scored = fitted.score(X)
    np.testing.assert_array_equal(scored.item_event, np.arange(X.n_events))
    with_past = replace(X, context=np.minimum(X.lengths, np.arange(30) % 7))
    part = fitted.score(with_past)
    expected = np.flatnonzero(X.position() >= np.repeat(with_past.context, X.lengths))
    np.testing.assert_array_equal(part.item_event, expected)
    assert len(part.score) == len(part.member_scores) == len(expected)


def test_members_without_events_take_no_part(fitted: Any) -> None:
    assert not any(name.startswith("iqr") for name in fitted.weights_)


def test_an_event_is_judged_by_its_past_alone(fitted: Any, store_of: Make) -> None:
    X = store_of(20, seed=3, closed=False)
    kept = X.position() < np.repeat(X.lengths // 2, X.lengths)
    short = fitted.score(X.keep_events(kept))
    np.testing.assert_allclose(short.score, fitted.score(X).score[kept], atol=1e-6)


def test_planted_events_rank_first(fitted: Any, store_of: Make) -> None:
    X = store_of(60, seed=4, closed=False)
    rng = np.random.default_rng(0)
    hit = np.sort(rng.choice(X.n_events, 25, replace=False))
    codes = X.codes.copy()
    codes[hit, 0] = 3 + (codes[hit, 0] - 3 + 4) % 8
    scored = fitted.score(replace(X, codes=codes))
    labels = np.zeros(X.n_events, int)
    labels[hit] = 1
    assert auroc(labels, scored.score) > 0.9


def test_power_counts_events(fitted: Any) -> None:
    rows = fitted.power(1.0)
    assert rows and all(0 <= row["found"] <= 1 for row in rows)


def test_all_context_reports_nothing(fitted: Any, store_of: Make) -> None:
    X = store_of(5, closed=False)
    assert len(fitted.score(replace(X, context=X.lengths)).score) == 0
