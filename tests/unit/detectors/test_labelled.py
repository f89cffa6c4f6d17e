"""A few labels in a table, the rest unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.labelled import LabelledForest
from anomaly.errors import DataError
from anomaly.metrics import average_precision


def data(seed: int) -> tuple[FeatureMatrix, Any]:
    """Return rows of which the anomalies lie inside the cloud, where nothing without labels finds them."""
    rng = np.random.default_rng(seed)
    odd = np.arange(600) < 30
    values = rng.normal(size=(600, 4))
    values[odd, 0], values[odd, 1] = 0.9 + 0.1 * rng.normal(size=30), -0.9 + 0.1 * rng.normal(size=30)
    return FeatureMatrix(values.astype(np.float32), ("a", "b", "c", "d")), odd.astype(np.int64)


def forest() -> LabelledForest:
    prior = PyODDetector(detector={"_target_": "pyod.models.iforest.IForest", "n_estimators": 30})
    return LabelledForest(prior=prior, trees=50)


def test_a_few_labels_find_what_the_prior_does_not() -> None:
    X, _ = data(0)
    new, truth = data(1)
    labels = np.where((np.arange(600) < 8), 1, -1)
    without = forest().fit(X, np.full(600, -1))
    found = forest().fit(X, labels)
    assert average_precision(truth, without.decision_function(new)) < 0.2
    assert average_precision(truth, found.decision_function(new)) > 0.6


def test_labelled_normal_rows_count_in_full() -> None:
    X, _ = data(0)
    labels = np.where(np.arange(600) < 8, 1, np.where(np.arange(600) % 3 == 0, 0, -1))
    found = forest().fit(X, labels)
    assert average_precision(data(1)[1], found.decision_function(data(1)[0])) > 0.6


def test_without_an_anomaly_it_is_the_prior() -> None:
    X, _ = data(0)
    expected = forest().fit(X).decision_scores_
    np.testing.assert_array_equal(forest().fit(X, np.zeros(600, np.int64)).decision_scores_, expected)
    assert forest().fit(X).forest_ is None


def test_labels_of_other_rows() -> None:
    with pytest.raises(DataError, match="3 labels for 600 rows"):
        forest().fit(data(0)[0], np.zeros(3, np.int64))
