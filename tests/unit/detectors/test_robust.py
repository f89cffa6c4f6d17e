"""Robust distances: what is far counts, what is missing or constant does not."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.detectors.robust import IQRDetector, RobustZDetector
from anomaly.errors import ConfigError


def matrix(values: object) -> FeatureMatrix:
    array = np.asarray(values, np.float32)
    return FeatureMatrix(array, tuple(f"c{k}" for k in range(array.shape[1])))


@pytest.mark.parametrize("kind", [RobustZDetector, IQRDetector])
def test_the_far_row_is_first(kind: type[RobustZDetector]) -> None:
    values = np.random.default_rng(0).normal(size=(200, 4))
    values[7, 2] = 30
    detector = kind().fit(matrix(values))
    assert detector.decision_scores_.argmax() == 7
    assert kind(statistic="largest").fit(matrix(values)).decision_scores_.argmax() == 7


def test_units_are_those_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=(20_000, 1))
    X = matrix(np.concatenate([values, [[13.0]]]))
    assert RobustZDetector().fit(X).distances(X)[-1, 0] == pytest.approx(5, abs=0.15)
    assert IQRDetector().fit(X).distances(X)[-1, 0] == pytest.approx((5 - 0.6745) / 1.349, abs=0.1)


def test_missing_and_constant_columns_add_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 1], values[3, 0] = 5.0, np.nan
    detector = RobustZDetector().fit(matrix(values))
    assert detector.names_ == ["c0", "c2"]
    assert detector.distances(matrix(values))[3, 0] == 0
    everything = RobustZDetector().fit(matrix(np.full((9, 2), np.nan)))
    np.testing.assert_array_equal(everything.decision_scores_, 0)


def test_a_column_that_is_mostly_one_value() -> None:
    values = np.zeros((100, 1))
    values[:3, 0] = [1, 2, 50]
    scores = RobustZDetector().fit(matrix(values)).decision_scores_
    assert scores.argmax() == 2
    assert (scores[3:] == 0).all()


def test_an_unknown_statistic_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mean_square"):
        IQRDetector(statistic="nonsense").fit(matrix(np.arange(6).reshape(3, 2)))
