"""Few long sequences calibrate with pieces of themselves; short ones of the same process are then nothing odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomaly.ensemble import pipeline
from anomaly.metrics.ranking import auroc
from anomaly.scores.calibration import SplitConformal
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

Make = Callable[..., Any]


def walks(lengths: Any, seed: int, *, planted: int = 0, closed: bool = False) -> SequenceStore:
    """Return walks around a ring of eight codes that slip at times; the last `planted` ones slip at every step."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    n, t = len(lengths), int(lengths.sum())
    owner = np.repeat(np.arange(n), lengths)
    entity = (1 + np.arange(n) % 5).astype(np.int32)
    slips = np.where((rng.random(t) < 0.05) | (owner >= n - planted), rng.integers(0, 8, t), 1)
    page = np.cumsum(slips) % 8
    shelf = (page + np.repeat(entity, lengths) + (rng.random(t) < 0.1)) % 6
    delta = rng.exponential(30.0, t).astype(np.float32)
    delta[np.cumsum(lengths) - lengths] = 0.0
    fields = (Field("page", "categorical", FIRST_VALUE + 8), Field("shelf", "categorical", FIRST_VALUE + 6))
    codes = FIRST_VALUE + np.stack([page, shelf], 1)
    store = SequenceStore.from_codes(codes, lengths, fields=fields, delta=delta, entity=entity, closed=closed)
    return replace(store, n_entities=6)


@pytest.fixture(scope="module")
def long() -> SequenceStore:
    return walks(np.random.default_rng(1).integers(1500, 4000, 60), 1)


@pytest.fixture(scope="module")
def fitted(ensemble_of: Make, long: SequenceStore) -> Any:
    return ensemble_of(calibrator=SplitConformal()).fit(long)


@pytest.mark.parametrize(("low", "high"), [(6, 16), (20, 60), (100, 250), (300, 1000)])
def test_short_sequences_alarm_as_often_as_they_should(fitted: Any, low: int, high: int) -> None:
    X = walks(np.random.default_rng(2).integers(low, high, 200), 3)
    p = fitted.score(X).p_value
    assert 0.01 <= np.mean(p <= 0.05) <= 0.11
    # Some sixty pieces calibrate: over draws of the training set the median is .5 give or take .08.
    assert 0.3 < np.median(p) < 0.7


def test_long_sequences_are_judged_by_long_ones(fitted: Any) -> None:
    p = fitted.score(walks(np.random.default_rng(4).integers(1500, 4000, 60), 5)).p_value
    assert np.mean(p <= 0.05) <= 0.15


def test_short_odd_sequences_are_found(fitted: Any) -> None:
    X = walks(np.random.default_rng(6).integers(20, 200, 100), 7, planted=20)
    scored = fitted.score(X)
    assert auroc(np.arange(100) >= 80, scored.score) > 0.95
    rows = np.array([90, 3, 57])
    np.testing.assert_allclose(fitted.score(X.take(rows)).score, scored.score[rows], atol=1e-9)


def test_every_scale_is_damaged_within_its_bounds(fitted: Any) -> None:
    assert {row["kind"].partition(".")[0] for row in fitted.power(1.0)} == set(fitted.corruptions)
    assert all(10 <= row["n"] <= 500 for row in fitted.power(1.0))
    assert len(fitted.reference_scores_) > 400


def test_one_seed_one_result(ensemble_of: Make, long: SequenceStore, fitted: Any) -> None:
    again = ensemble_of(calibrator=SplitConformal()).fit(long)
    X = walks([30, 300, 1200], 8)
    np.testing.assert_array_equal(again.decision_function(X), fitted.decision_function(X))


@pytest.mark.parametrize("case", ["closed", "many", "event"])
def test_where_wholes_suffice_there_are_no_pieces(case: str, ensemble_of: Make, monkeypatch: Any) -> None:
    X = walks(np.random.default_rng(9).integers(20, 90, 60), 9, closed=case == "closed")
    if case == "many":
        monkeypatch.setattr(pipeline, "FEW", 5)
    unit = "event" if case == "event" else "sequence"
    options: dict[str, Any] = {"unit": unit} | ({"combiner": None} if unit == "event" else {})
    found = ensemble_of(**options).fit(X)
    monkeypatch.setattr(pipeline, "scales", lambda _: pytest.fail("pieces were asked for"))
    again = ensemble_of(**options).fit(X)
    np.testing.assert_array_equal(found.decision_function(X), again.decision_function(X))
    if unit == "sequence":
        assert len(found.reference_scores_) == 12


def test_few_windows_alarm_seldom(ensemble_of: Make) -> None:
    found = [ensemble_of().fit(walks(np.full(60, 40), seed)) for seed in (10, 11, 12)]
    scored = walks(np.full(200, 40), 13)
    assert np.mean([one.score(scored).p_value <= 0.05 for one in found]) < 0.13
