"""The power report: a share per kind, which grows as the threshold falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anomaly.ensemble.combine import FisherCombiner
from anomaly.ensemble.power import power_rows
from anomaly.sequences.corrupt import Corrupted, Corruption
from anomaly.sequences.store import SequenceStore


def test_shares_per_kind() -> None:
    scores = {"insert": np.array([0.1, 2.0, 3.0, 1.0]), "skip": np.array([5.0])}
    assert power_rows(scores, 1.0) == [
        {"kind": "insert", "n": 4, "found": 0.5},
        {"kind": "skip", "n": 1, "found": 1.0},
    ]


def test_a_lower_threshold_finds_no_less() -> None:
    scores = {"a": np.random.default_rng(0).exponential(size=300)}
    found = [power_rows(scores, t)[0]["found"] for t in np.linspace(6, -1, 40)]
    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.05 and found[-1] == 1.0


def test_no_damaged_item_is_no_share() -> None:
    row = power_rows({"a": np.zeros(0)}, 1.0)[0]
    assert row["n"] == 0 and np.isnan(row["found"])


class Same(Corruption):
    """Trouble that changes nothing."""

    def corrupt(self, store: SequenceStore, rng: np.random.Generator) -> Corrupted:
        """Return the store as it is, all of it touched."""
        return Corrupted(store, np.ones(store.n_events, bool))


def test_damaged_items_are_judged_by_their_own_length(ensemble_of: Callable[..., Any], store_of: Any) -> None:
    X = store_of(800)
    # Two in three are short, so that there are two buckets of lengths.
    X = X.keep_events(X.position() < np.repeat(np.where(np.arange(800) % 3, 3, 99), X.lengths))
    ensemble = ensemble_of(corruptions={"same": Same()}, combiner=FisherCombiner()).fit(X)
    assert ensemble.evidence_calibrator_.held_out_.edges_[0] == 4
    held_out = X.take(ensemble._sequences(X)[1])
    np.testing.assert_allclose(ensemble.corrupted_scores_["same"], ensemble.score(held_out).score[1::2])
