"""Numbers against their own past: causal, judged by the crowd first, silent where there are no numbers."""

from __future__ import annotations

import numpy as np

from anomaly.detectors.ownpast import OwnPastDetector
from anomaly.sequences.store import FIRST_VALUE, SequenceStore


def _store(values: np.ndarray, lengths: list[int]) -> SequenceStore:
    codes = np.full((len(values), 1), FIRST_VALUE)
    return SequenceStore.from_codes(codes, lengths, values=values.astype(np.float32))


def test_what_is_usual_for_all_may_be_odd_for_its_owner() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(-1, 0.1, 50), rng.normal(1, 0.1, 50)
    small[-1] = 1.0
    store = _store(np.concatenate([small, large])[:, None], [50, 50])
    scores = OwnPastDetector().fit(store).score_events(store)
    assert scores[49] > 4
    assert scores[49] > 2 * scores[60:].max()


def test_it_is_the_plain_posterior() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(3, 2, (30, 2))
    store = _store(values, [12, 18])
    detector = OwnPastDetector(prior=4.0).fit(store)
    z = (store.values.astype(np.float64) - detector.mean_) / detector.spread_
    past = np.clip(z[12:20], -2, 2)
    mean = past.sum(0) / (8 + 4)
    variance = ((past**2).sum(0) + 4) / (8 + 4) - mean**2
    expected = np.abs(z[20] - mean) / np.sqrt(variance)
    np.testing.assert_allclose(detector.score_fields(store)[20], expected, rtol=1e-5)


def test_without_numbers_there_is_no_statistic() -> None:
    store = SequenceStore.from_codes(np.full(10, FIRST_VALUE), [4, 6])
    detector = OwnPastDetector().fit(store)
    assert detector.statistics(store).values.shape == (2, 0)
    assert detector.event_statistics(store).values.shape == (10, 0)
    np.testing.assert_array_equal(detector.decision_function(store), [0, 0])


def test_an_event_is_also_judged_by_everybody() -> None:
    store = _store(np.array([1.0, 1.2, 0.8, 1.1, 40.0, 1.0])[:, None], [3, 3])
    found = OwnPastDetector().fit(store).event_statistics(store)
    assert [name.split(".")[0] for name in found.names] == ["contrast", "crowd"]
    assert found.values[:, 1].argmax() == 4
