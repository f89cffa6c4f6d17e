"""The adapter for PyOD and scikit-learn: same scores as theirs where theirs are sound, and sound where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.table import TablePreparer
from anomaly.detectors.tails import FrozenTails
from anomaly.errors import ConfigError, DataError
from anomaly.metrics import auroc


def matrix(values: Any, keys: Any = None) -> FeatureMatrix:
    array = np.asarray(values, np.float32)
    return FeatureMatrix(array, tuple(f"c{k}" for k in range(array.shape[1])), keys)


def cloud(n: int = 300, k: int = 5, odd: int = 10, seed: int = 0) -> tuple[FeatureMatrix, Any]:
    values = np.random.default_rng(seed).normal(size=(n, k))
    values[:odd] *= 5
    return matrix(values), (np.arange(n) < odd).astype(float)


PYOD = ["iforest.IForest", "lof.LOF", "knn.KNN", "ecod.ECOD", "copod.COPOD", "pca.PCA"]


@pytest.mark.parametrize("name", PYOD)
def test_higher_is_more_anomalous(name: str) -> None:
    X, y = cloud()
    assert auroc(y, PyODDetector(detector={"_target_": f"pyod.models.{name}"}).fit(X).decision_scores_) > 0.97


@pytest.mark.parametrize("detector", [IsolationForest(n_estimators=20), IsolationForest, LocalOutlierFactor()])
def test_estimators_and_classes_of_scikit_learn(detector: Any) -> None:
    X, y = cloud()
    assert auroc(y, PyODDetector(detector=detector).fit(X).decision_scores_) > 0.97


def test_lof_is_that_of_scikit_learn_and_leaves_the_row_itself_out() -> None:
    X, _ = cloud()
    detector = PyODDetector(detector={"_target_": "pyod.models.lof.LOF"}, scaling="none").fit(X)
    theirs = LocalOutlierFactor(n_neighbors=20).fit(X.values)
    np.testing.assert_allclose(detector.decision_scores_, -theirs.negative_outlier_factor_, rtol=0.03)


def test_copies_and_ties_leave_neighbours_well_defined() -> None:
    values = np.random.default_rng(0).integers(0, 3, (400, 4))
    values[:100] = values[0]
    detector = PyODDetector(detector={"_target_": "pyod.models.lof.LOF"}, scaling="none").fit(matrix(values))
    new = matrix(np.random.default_rng(1).integers(0, 4, (40, 4)))
    together = detector.decision_function(new)
    alone = [detector.decision_function(matrix(row[None]))[0] for row in new.values]
    np.testing.assert_allclose(alone, together, rtol=1e-4)
    assert detector.decision_scores_.max() < 100


@pytest.mark.parametrize("rule", ["ecod", "copod"])
def test_frozen_tails_equal_pyod_on_training_rows_and_one_new_row(rule: str) -> None:
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD

    X, _ = cloud(seed=1)
    new = np.random.default_rng(2).normal(size=(1, 5)).astype(np.float32)
    theirs = {"ecod": ECOD, "copod": COPOD}[rule]().fit(X.values)
    ours = FrozenTails(rule=rule).fit(X.values)  # type: ignore[arg-type]
    np.testing.assert_allclose(ours.decision_scores_, theirs.decision_scores_, rtol=1e-6)
    np.testing.assert_allclose(ours.decision_function(new), theirs.decision_function(new), rtol=1e-6)


def test_rows_are_known_by_their_key_or_their_content() -> None:
    X, _ = cloud()
    keys = np.arange(300, dtype=np.uint64)
    detector = PyODDetector(detector={"_target_": "pyod.models.knn.KNN"}).fit(matrix(X.values, keys))
    np.testing.assert_allclose(detector.decision_function(matrix(X.values, keys)), detector.decision_scores_)
    # Under a new key the same content finds itself in the reference, at distance nought.
    other = detector.decision_function(matrix(X.values, keys + np.uint64(1000)))
    assert (other <= detector.decision_scores_ + 1e-6).all()
    assert other.sum() < detector.decision_scores_.sum()
    by_content = PyODDetector(detector={"_target_": "pyod.models.knn.KNN"}).fit(X)
    np.testing.assert_allclose(by_content.decision_function(X), by_content.decision_scores_)


@pytest.mark.parametrize("name", ["lof.LOF", "pca.PCA", "ecod.ECOD"])
def test_a_stated_reference_bounds_the_rows_that_are_learnt(name: str) -> None:
    X, _ = cloud()
    assert len(PyODDetector(detector={"_target_": f"pyod.models.{name}"}, reference=100).fit(X).keys_) == 100


def test_a_forest_learns_from_a_stated_reference() -> None:
    X, _ = cloud()
    forest = {"_target_": "pyod.models.iforest.IForest"}
    assert PyODDetector(detector=forest, reference=100).fit(X).estimator_.max_samples_ == 100
    assert PyODDetector(detector=forest).fit(X).estimator_.max_samples_ == 256


def test_a_forest_does_not_score_its_training_rows_once_more() -> None:
    X, _ = cloud()
    forest = PyODDetector(detector={"_target_": "pyod.models.iforest.IForest"}).fit(X)
    assert forest.estimator_.contamination == "auto"


@pytest.mark.parametrize("name", ["sos.SOS", "cof.COF", "sod.SOD"])
def test_detectors_that_score_batches_are_refused(name: str) -> None:
    """Some of them cannot even score a few rows by themselves."""
    X, _ = cloud(60)
    with pytest.raises(ConfigError, match=f"{name[:3].upper()} .* choose another detector"):
        PyODDetector(detector={"_target_": f"pyod.models.{name}"}).fit(X)


def test_what_scores_no_rows_is_no_detector() -> None:
    with pytest.raises(ConfigError, match="DBSCAN cannot score new rows"):
        PyODDetector(detector={"_target_": "sklearn.cluster.DBSCAN"}).fit(cloud(60)[0])


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ({"_target_": "os.system"}, "neither in pyod.models nor in sklearn; .* anomaly.base.Detector"),
        ({"_target_": "pyod.models.lof.Nothing"}, "cannot be imported"),
        ("lof", "no estimator"),
        ({"_target_": "sklearn.linear_model.LogisticRegression"}, "needs labels"),
        ({"_target_": "pyod.models.lscp.LSCP"}, "LSCP refuses its arguments .*detector_list"),
    ],
)
def test_what_cannot_be_a_detector(detector: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PyODDetector(detector=detector).fit(cloud()[0])


def test_what_cannot_be_fitted_says_why() -> None:
    with pytest.raises(DataError, match="3 rows"):
        PyODDetector(detector={"_target_": "sklearn.mixture.GaussianMixture", "n_components": 50}).fit(cloud(3)[0])


class Given(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types.
    """A foreign detector whose scores of the fitted rows and of others are stated."""

    def __init__(self, fitted: Any = None, others: Any = None) -> None:
        self.fitted = fitted
        self.others = others

    def fit(self, X: Any, y: Any = None) -> Any:
        self.decision_scores_ = np.resize(np.asarray(self.fitted, float), len(X))
        return self

    def decision_function(self, X: Any) -> Any:
        return self.decision_scores_[0] + X[:, 0] if self.others is None else np.full(len(X), self.others)


@pytest.mark.parametrize(("fitted", "share"), [([np.nan], "60 of 60"), ([0.0, np.nan], "30 of 60")])
def test_fitted_rows_without_a_score_are_an_error(fitted: Any, share: str) -> None:
    with pytest.raises(DataError, match=f"Given: {share} scores of the rows that it was fitted on are NaN"):
        PyODDetector(detector=Given(fitted)).fit(cloud(60)[0])


def test_new_rows_without_a_score_are_an_error() -> None:
    detector = PyODDetector(detector=Given([0.0, 1.0], np.nan)).fit(cloud(60)[0])
    with pytest.raises(DataError, match="Given: 9 of 9 scores are NaN"):
        detector.decision_function(cloud(9, seed=1)[0])


def test_large_scores_keep_their_order_and_infinite_ones_lie_beyond() -> None:
    fitted = 9e15 * np.linspace(1, 2, 60)
    fitted[:2] = np.inf, -np.inf
    detector = PyODDetector(detector=Given(fitted)).fit(cloud(60)[0])
    scores = detector.decision_scores_
    assert np.isfinite(scores).all() and np.isfinite(scores.sum())
    np.testing.assert_array_equal(scores[2:], fitted[2:])
    assert scores[0] > 1e6 * fitted[2:].max() and scores[1] < -1e6 * fitted[2:].max()


def test_new_scores_far_beyond_those_of_the_fit_keep_their_order() -> None:
    """Those of a principal component analysis are such where a row leaves the plane that all others lie in."""
    detector = PyODDetector(detector=Given([1.0], None), scaling="none").fit(cloud(60)[0])
    new = np.zeros((3, 5)) + 1e16 * np.arange(1, 4)[:, None]
    assert (np.diff(detector.decision_function(matrix(new))) > 1e15).all()


@pytest.mark.parametrize("fitted", [[np.inf], [1e308, 0.0]])
def test_no_score_overflows_a_sum(fitted: Any) -> None:
    scores = PyODDetector(detector=Given(fitted, 1e308)).fit(cloud(60)[0]).decision_scores_
    assert np.isfinite((scores**1.5).sum())


def test_preparation_imputes_marks_drops_and_scales() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=(400, 4))
    values[:40, 0], values[:, 1], values[:, 2] = np.nan, 7.0, np.nan
    prepare = TablePreparer().fit(matrix(values))
    assert prepare.names_ == ["c0", "c3", "c0.missing"]
    found = prepare.transform(matrix(values))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:40, 0], 0, atol=1e-6)
    np.testing.assert_allclose(np.median(found[:, :2], axis=0), 0, atol=0.05)
    assert found[:, 1].std() == pytest.approx(1, abs=0.15)
    far = values.copy()
    far[0, 3] = 1e9
    assert prepare.transform(matrix(far))[0, 1] == 10


@pytest.mark.parametrize("n", [5, 11, 300])
def test_kernel_components_do_not_rebuild_every_row(n: int) -> None:
    values = np.random.default_rng(0).normal(size=(n, 3))
    values[0] += 8
    scores = PyODDetector(detector={"_target_": "pyod.models.kpca.KPCA"}).fit(matrix(values)).decision_scores_
    assert np.ptp(scores) > 0.01
    stated = {"_target_": "pyod.models.kpca.KPCA", "n_components": n - 1, "n_selected_components": 3}
    assert np.isfinite(PyODDetector(detector=stated).fit(matrix(values)).decision_scores_).all()


def test_kernel_components_of_one_row_many_times() -> None:
    same = PyODDetector(detector={"_target_": "pyod.models.kpca.KPCA"}, constants="keep").fit(matrix(np.ones((50, 3))))
    np.testing.assert_allclose(same.decision_scores_, 0.0, atol=1e-6)
