import numpy as np
import pytest

from anomaly.explain import rankings as module
from anomaly.explain.rankings import LEAST_FORESEEN, Rankings
from anomaly.scores.statistics import Ragged


@pytest.mark.parametrize("copied", [1 << 20, 200])
def test_of_a_very_long_sequence_fewer_events_are_foreseen(fitted, explained, monkeypatch, copied):
    monkeypatch.setattr(module, "COPIED", copied)
    asked = []
    ragged, T = Ragged(explained.offsets), explained.store.n_events
    rankings = Rankings(fitted[0], explained)

    def falls(first_T, gone_T):
        asked.append(ragged.sum(first_T.astype(float)))
        return np.where(first_T, 1.0, np.nan)

    monkeypatch.setattr(rankings.foresight, "falls", falls)
    for _ in range(2):
        rankings(np.ones(T, bool), np.zeros(T, bool))
    most = np.maximum(np.minimum(ragged.lengths / 2, copied // ragged.lengths), LEAST_FORESEEN)
    np.testing.assert_array_equal(asked[0], np.minimum(np.ceil(most), ragged.lengths))
    np.testing.assert_array_equal(asked[1], np.minimum(np.ceil(most / 2), ragged.lengths))
    assert ragged.lengths.max() > 2 * LEAST_FORESEEN
