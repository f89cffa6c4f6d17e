"""The core: anomalies that come in numbers must not hide each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.core import CoreDetector
from anomaly.errors import ConfigError
from anomaly.metrics import auroc


def knn() -> PyODDetector:
    return PyODDetector(detector={"_target_": "pyod.models.knn.KNN"}, scaling="standard", constants="keep")


def members() -> dict[str, Any]:
    return {"iforest": PyODDetector(detector={"_target_": "pyod.models.iforest.IForest"}), "knn": knn()}


def clump(seed: int = 0) -> tuple[FeatureMatrix, Any]:
    """Return a cloud with a tight clump of one row in twenty beside it."""
    rng = np.random.default_rng(seed)
    odd = np.arange(400) < 20
    values = rng.normal(size=(400, 4))
    values[odd] = 5.0 + 0.2 * rng.normal(size=(20, 4))
    return FeatureMatrix(values.astype(np.float32), ("a", "b", "c", "d")), odd.astype(float)


def test_a_clump_hides_from_neighbours_and_not_from_the_core() -> None:
    X, y = clump()
    alone = auroc(y, knn().fit(X).decision_scores_)
    core = CoreDetector(members=members(), on_core=["knn"]).fit(X)
    found = core.statistics(X)
    assert found.names == ("iforest", "knn")
    assert alone < 0.5
    assert auroc(y, found.values[:, 1]) > 0.95
    assert auroc(y, core.decision_scores_) > 0.95


def test_a_column_that_is_constant_in_the_core_still_counts() -> None:
    X, _ = clump()
    values = np.concatenate([X.values, np.zeros((400, 1))], axis=1).astype(np.float32)
    values[399, 4] = 1.0
    core = CoreDetector(members=members(), on_core=["knn"], keep=0.5).fit(FeatureMatrix(values, (*X.names, "flag")))
    # Nothing else is odd about the row.
    assert (core.statistics(FeatureMatrix(values, (*X.names, "flag"))).values[:, 1] > 5).sum() < 60
    assert core.statistics(FeatureMatrix(values[399:], (*X.names, "flag"))).values[0, 1] > 5


def test_unknown_member() -> None:
    with pytest.raises(ConfigError, match="on_core=lof: there is no such member; there are iforest, knn"):
        CoreDetector(members=members(), on_core=["lof"]).fit(clump()[0])
    with pytest.raises(ConfigError, match="names every member"):
        CoreDetector(members=members(), on_core=["knn", "iforest"]).fit(clump()[0])
