"""A value that comes again and again is odd where it usually does not."""

from __future__ import annotations

import numpy as np

from anomaly.detectors.repetition import RepetitionDetector
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

A, B, C = FIRST_VALUE, FIRST_VALUE + 1, FIRST_VALUE + 2


def _store(sequences: list[list[int]]) -> SequenceStore:
    return SequenceStore.from_codes(np.array([c for s in sequences for c in s]), [len(s) for s in sequences])


def test_it_is_the_geometric_tail_of_the_oddest_value() -> None:
    usual = [[A, A, A, B]] * 30 + [[A, A, B]] * 30
    store = _store([*usual, [A, B, B, B, B]])
    detector = RepetitionDetector().fit(store)
    scores = detector.decision_function(store)
    assert scores[-1] > 2 * scores[:-1].max()
    holders, uses = 61, 64
    pooled = (store.n_events - 2 * 61 + 0.5) / (store.n_events + 1)
    again = (uses - holders + 4 * pooled) / (uses + 4)
    np.testing.assert_allclose(scores[-1], -np.log((holders + 0.5) / 62) - 3 * np.log(again))


def test_the_uses_of_a_value_add_up() -> None:
    store = _store([[A, B, A, C], [B, A], [C, C, C]] * 10)
    detector = RepetitionDetector().fit(store)
    fields = detector.score_fields(store)[:, 0]
    per_value = [sum(fields[i] for i in range(4) if store.codes[i, 0] == v) for v in (A, B, C)]
    np.testing.assert_allclose(detector.decision_function(store)[0], max(per_value), rtol=1e-5)


def test_unseen_values_and_empty_sequences_are_scored() -> None:
    detector = RepetitionDetector().fit(_store([[A, B]] * 20))
    found = detector.decision_function(_store([[C + 5, C + 5], []]))
    assert found[0] > detector.decision_scores_.max()
    assert found[1] == 0
