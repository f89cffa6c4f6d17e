"""Every detector that ships as a choice: it ranks, scores a row alone, and survives a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anomaly.artifact import codec
from anomaly.base import FeatureMatrix
from anomaly.commands.compose import choices, compose
from anomaly.commands.plan import plan
from anomaly.metrics import auroc

NETWORKS = {"autoencoder", "vae", "deep_svdd", "lunar", "dif"}
SETS = {"default", "counts", "table", "table_labelled", "none"}
ON_SEQUENCES = {"own_past", "repetition", "silence"}


def cloud() -> tuple[FeatureMatrix, FeatureMatrix]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 5)).astype(np.float32)
    values[:6] *= 6
    names = tuple("abcde")
    return FeatureMatrix(values, names), FeatureMatrix(rng.normal(size=(7, 5)).astype(np.float32), names)


@pytest.mark.parametrize("name", sorted(set(choices("detector")) - NETWORKS - SETS - ON_SEQUENCES))
def test_a_preset_ranks_and_scores_rows_alone(name: str, tmp_path: Path) -> None:
    X, new = cloud()
    members = plan(compose("train", ["run=x", "table.path=x", f"detector={name}"])).ensemble.members
    if name not in members:
        pytest.skip("a set of members, not a preset of one")
    detector = members[name].fit(X)
    assert auroc((np.arange(300) < 6).astype(float), detector.decision_scores_) > 0.9
    together = detector.decision_function(new)
    alone = [detector.decision_function(FeatureMatrix(row[None], new.names))[0] for row in new.values]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
    codec.dump(detector, tmp_path / "object")
    np.testing.assert_allclose(codec.load(tmp_path / "object").decision_function(new), together, rtol=1e-6)


def test_several_presets_are_named_in_a_list() -> None:
    members = plan(compose("train", ["run=x", "table.path=x", "detector=[ecod,knn]"])).ensemble.members
    assert list(members) == ["ecod", "knn"]
