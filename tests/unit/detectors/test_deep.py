"""PyOD's networks: run, scored row by row, kept without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly.artifact import codec
from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.deep import DeepEstimator
from anomaly.metrics import auroc

QUICK: dict[str, dict[str, Any]] = {
    "auto_encoder.AutoEncoder": {"epoch_num": 5},
    "vae.VAE": {"epoch_num": 5},
    "deep_svdd.DeepSVDD": {"epochs": 5},
    "lunar.LUNAR": {"n_epochs": 5},
    "dif.DIF": {"n_ensemble": 2, "n_estimators": 3},
}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_network_is_a_detector_like_any_other(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(97, 4)).astype(np.float32)
    values[:4] *= 8
    X = FeatureMatrix(values, ("a", "b", "c", "d"))
    new = FeatureMatrix(rng.normal(size=(9, 4)).astype(np.float32), X.names)
    before = np.random.get_state()[1].sum()  # noqa: NPY002
    detector = PyODDetector(detector={"_target_": f"pyod.models.{name}", **QUICK[name]}).fit(X)
    assert auroc((np.arange(97) < 4).astype(float), detector.decision_scores_) > 0.9
    together = detector.decision_function(new)
    alone = [detector.decision_function(FeatureMatrix(row[None], X.names))[0] for row in new.values]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
    codec.dump(detector, tmp_path / "object")
    np.testing.assert_allclose(codec.load(tmp_path / "object").decision_function(new), together, rtol=1e-5)
    assert np.random.get_state()[1].sum() == before  # noqa: NPY002
    assert not list(tmp_path.rglob("*.pkl")) and capsys.readouterr().out == ""


def test_fewer_rows_than_a_batch() -> None:
    X = FeatureMatrix(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32), ("a", "b", "c"))
    target = {"_target_": "pyod.models.auto_encoder.AutoEncoder", "epoch_num": 1}
    assert np.isfinite(PyODDetector(detector=target).fit(X).decision_scores_).all()


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_reloaded_network_is_not_trained_in_full(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets state no epochs; the scores are those of the live one, bit for bit."""
    X = FeatureMatrix(np.random.default_rng(0).normal(size=(97, 4)).astype(np.float32), ("a", "b", "c", "d"))
    new = FeatureMatrix(np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32), X.names)
    options = QUICK[name] if name.startswith("dif") else {}
    detector = PyODDetector(detector={"_target_": f"pyod.models.{name}", **options}).fit(X)
    codec.dump(detector, tmp_path / "object")
    made: list[dict[str, Any]] = []
    make = DeepEstimator._make
    monkeypatch.setattr(DeepEstimator, "_make", lambda self, X, told: made.append(told) or make(self, X, told))
    again = codec.load(tmp_path / "object")
    np.testing.assert_array_equal(again.decision_function(new), detector.decision_function(new))
    assert name.startswith("dif") or [v for k, v in made[0].items() if "epoch" in k] == [1]
