import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.gaussian import GaussianDetector
from anomaly.detectors.robust import IQRDetector, RobustZDetector
from anomaly.ensemble.combine import CorruptionMixture, FisherCombiner
from anomaly.explain.features import feature_parts

NAMES = tuple("abcd")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 4)).astype(np.float32)
    values[0, 2], values[1, 0] = 12.0, -9.0
    return FeatureMatrix(values, NAMES)


@pytest.mark.parametrize(
    "detector",
    [
        RobustZDetector(),
        IQRDetector(),
        GaussianDetector(),
        PyODDetector(detector={"_target_": "pyod.models.iforest.IForest", "n_estimators": 50}),
        PyODDetector(detector={"_target_": "pyod.models.lof.LOF"}),
        PyODDetector(detector={"_target_": "pyod.models.ecod.ECOD"}),
    ],
    ids=["z", "iqr", "gaussian", "iforest", "lof", "ecod"],
)
def test_the_odd_feature_is_named(detector, rows):
    fitted = detector.fit(rows)
    for weight, _ in feature_parts(fitted, rows).values():
        assert weight.shape == rows.values.shape and (weight >= 0).all()
        assert weight[0].argmax() == 2 and weight[1].argmax() == 0
        alone = feature_parts(fitted, FeatureMatrix(rows.values[:1], NAMES))
        assert any(np.allclose(part[0][0], weight[0]) for part in alone.values())


def test_frozen_tails_add_up(rows):
    fitted = PyODDetector(detector={"_target_": "pyod.models.ecod.ECOD"}).fit(rows)
    new = FeatureMatrix(rows.values + np.float32(0.01), NAMES)
    weight, exact = feature_parts(fitted, new)[""]
    assert exact
    np.testing.assert_allclose(weight.sum(axis=1), fitted.decision_function(new), rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_contributions_sum_to_the_evidence(seed, questions):
    rng = np.random.default_rng(seed)
    clean, damaged = rng.uniform(size=(200, 6)), rng.uniform(size=(80, 6)) ** 2
    asked = np.arange(6) % questions
    mixture = CorruptionMixture().fit(clean, damaged, np.repeat([0, 1], 40), questions=asked)
    for combiner in (mixture, CorruptionMixture().fit(clean), FisherCombiner().fit(clean)):
        P = np.concatenate([rng.uniform(size=(20, 6)) ** 4, np.ones((1, 6))])
        np.testing.assert_allclose(combiner.contributions(P).sum(axis=1), combiner.combine(P), atol=1e-9)
        assert (combiner.contributions(P) >= -1e-12).all()
