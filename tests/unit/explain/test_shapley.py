"""Shapley values beside the parts that explanations are made of."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.gaussian import GaussianDetector
from anomaly.errors import AnomalyError
from anomaly.explain.shapley import cross_checks, shapley_values

NAMES = ("a", "b", "c", "d")
FOREST = {"_target_": "pyod.models.iforest.IForest", "n_estimators": 50}


@pytest.fixture(scope="module")
def rows():
    values = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    values[0, 2], values[1, 0] = 9.0, -9.0
    return FeatureMatrix(values, NAMES)


@pytest.mark.parametrize("member", [PyODDetector(detector=FOREST), GaussianDetector()], ids=["forest", "gaussian"])
def test_they_add_up_to_the_score_and_name_the_odd_feature(rows, member):
    pytest.importorskip("shap")
    member.fit(rows)
    odd, usual = FeatureMatrix(rows.values[:2], NAMES), FeatureMatrix(rows.values[2:22], NAMES)
    found = shapley_values(member, odd, usual)
    above = member.decision_function(odd) - member.decision_function(usual).mean()
    np.testing.assert_allclose(found.sum(axis=1), above, rtol=1e-4)
    assert found.argmax(axis=1).tolist() == [2, 0]


def test_explained_sequences_are_checked_member_by_member(explainer, explained):
    pytest.importorskip("shap")
    few = explained.take(np.arange(2))
    checks = list(cross_checks(explainer, few))
    assert len(checks) == 2
    for one in checks:
        assert [check.member for check in one] == list(explainer.ensemble.bank_.table_members_)
        assert all(0 <= check.agreement <= 1 and len(check.parts) <= 5 for check in one)
    assert np.mean([check.agreement for one in checks for check in one]) > 0.2


def test_without_the_package_one_line_says_what_to_install(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(AnomalyError, match=r"anomaly\[explain\]"):
        shapley_values(GaussianDetector().fit(rows), rows, rows)
