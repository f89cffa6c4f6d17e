"""Rare values and rare pairs of values score high."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly import base
from anomaly.detectors.rarity import RarityDetector
from anomaly.errors import ConfigError
from anomaly.sequences.store import SequenceStore


def pairs(n: int = 400) -> SequenceStore:
    """Return events whose two fields agree, but for the last, which joins two usual values in an unusual way."""
    codes = np.repeat(np.arange(n * 4)[:, None] % 2 + 3, 2, axis=1)
    codes[-1] = [3, 4]
    return SequenceStore.from_codes(codes, np.full(n, 4))


def test_an_unusual_pair_of_usual_values() -> None:
    X = pairs()
    detector = RarityDetector().fit(X)
    assert detector.decision_scores_.argmax() == 399
    assert detector.event_statistics(X).values[:, 1].argmax() == 1599
    assert detector.event_statistics(X).values[:, 0].max() < 1


def test_of_many_rows_some_are_scored_for_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    X = pairs()
    every = RarityDetector(contamination=0.25).fit(X)
    monkeypatch.setattr(base, "THRESHOLD_ROWS", 100)
    some = RarityDetector(contamination=0.25).fit(X)
    assert "decision_scores_" not in vars(some)
    assert some.threshold_ == pytest.approx(every.threshold_)
    np.testing.assert_array_equal(some.decision_scores_, every.decision_scores_)


def test_an_unseen_value_is_rarer_than_every_seen_one() -> None:
    X = SequenceStore.from_codes(np.repeat([3, 4], [99, 1]), np.ones(100, np.int64))
    detector = RarityDetector().fit(X)
    new = SequenceStore.from_codes([3, 4, 1], [1, 1, 1], fields=X.fields)
    usual, seen, unseen = detector.decision_function(new)
    assert usual < seen
    assert usual < unseen


def test_a_sequence_of_fit_is_scored_as_new() -> None:
    X = SequenceStore.from_codes(np.array([3] * 50 + [4] * 5), [50, 5])
    left_out = RarityDetector().fit(X).decision_function(X.take([1]))
    as_new = RarityDetector().fit(X.take([0])).decision_function(X.take([1]))
    np.testing.assert_allclose(left_out, as_new)
    assert RarityDetector(leave_out=False).fit(X).decision_function(X.take([1])) < left_out


def test_the_pairs_that_depend_on_each_other_are_kept() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(3, 9, (2, 2000))
    X = SequenceStore.from_codes(np.stack([a, b, a, rng.integers(3, 9, 2000)], 1), np.full(200, 10))
    assert RarityDetector(max_pairs=1).fit(X).pairs_ == [(0, 2)]


def test_an_unknown_statistic_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"pair\.largest"):
        RarityDetector(statistic="nonsense").fit(pairs())
