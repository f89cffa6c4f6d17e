"""A normal distribution of the features: broken relations, rows scored as new, parts that add up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from anomaly.base import FeatureMatrix
from anomaly.detectors.gaussian import GaussianDetector
from anomaly.explain.features import feature_parts

NAMES = ("opened", "closed", "pace", "gap")


def related(n: int = 400) -> NDArray[np.float32]:
    """Return rows whose second column repeats the first, give or take a hundredth."""
    values = np.random.default_rng(0).normal(size=(n, 4))
    values[:, 1] = values[:, 0] + 0.01 * values[:, 1]
    return values.astype(np.float32)


def matrix(values: NDArray[np.float32]) -> FeatureMatrix:
    return FeatureMatrix(values, NAMES, np.arange(len(values), dtype=np.uint64))


def test_a_broken_relation_is_odd_though_each_column_is_usual() -> None:
    values = related()
    values[7, :2] = 0.5, -0.5
    detector = GaussianDetector().fit(matrix(values))
    assert detector.decision_scores_.argmax() == 7
    assert set(np.argsort(-detector.parts(matrix(values))[7])[:2]) == {0, 1}


def test_a_fitted_row_is_scored_as_if_it_had_not_been() -> None:
    # Few rows for the columns: fitted ones draw the covariance to themselves.
    values = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    X = matrix(values)
    detector = GaussianDetector(ridge=1e-9).fit(X)
    rows = detector.prepare_.transform(X).astype(np.float64)
    for k in range(3):
        others = np.delete(rows, k, axis=0)
        step = rows[k] - others.mean(axis=0)
        expected = step @ np.linalg.solve(np.cov(others.T, bias=True), step)
        assert detector.decision_scores_[k] == pytest.approx(np.sqrt(expected), rel=1e-6)


def test_parts_add_up_and_are_told_by_feature() -> None:
    values = related()
    values[3, 2] = np.nan
    X = FeatureMatrix(values, NAMES)
    detector = GaussianDetector().fit(X)
    weight, exact = feature_parts(detector, X)[""]
    assert exact and weight.shape == values.shape
    np.testing.assert_allclose(np.sqrt(weight.sum(axis=1)), detector.decision_function(X), rtol=1e-9)


def test_more_columns_than_rows_and_columns_that_repeat_others() -> None:
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(20, 60)).astype(np.float32)
    wide[:, 30:] = wide[:, :30]
    names = tuple(f"c{k}" for k in range(60))
    detector = GaussianDetector().fit(FeatureMatrix(wide, names, np.arange(20, dtype=np.uint64)))
    assert np.isfinite(detector.decision_scores_).all()
    new = rng.normal(size=(500, 60)).astype(np.float32)
    new[:, 30:] = new[:, :30]
    # Rows of one distribution have like scores, whether they were fitted or not.
    fresh = np.median(detector.decision_function(FeatureMatrix(new, names)))
    assert 0.6 < np.median(detector.decision_scores_) / fresh < 1.6


def test_columns_of_one_value_tell_nothing() -> None:
    constant = GaussianDetector().fit(FeatureMatrix(np.ones((9, 4), np.float32), NAMES))
    np.testing.assert_array_equal(constant.decision_scores_, 0.0)
