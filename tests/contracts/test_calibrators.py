"""Every calibrator: p-values that are valid, ordered, and defined for whatever comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from anomaly.artifact import codec
from anomaly.base import Statistics

LENGTHS = np.arange(600) % 50 + 1


def sample(n: int = 600, seed: int = 0) -> Statistics:
    values = np.random.default_rng(seed).gamma(2.0, size=(n, 2))
    return Statistics(values, ("large", "odd"), ("upper", "both"))


def fitted(case: Any) -> Any:
    return case.make(0).fit(sample(), LENGTHS)


def test_p_values_are_p_values(calibrator_case: Any) -> None:
    found = fitted(calibrator_case).p_values(sample(seed=1), LENGTHS)
    assert found.shape == (600, 2)
    assert ((found > 0) & (found <= 1)).all()
    # Validity: the share below a level exceeds the level by no more than chance, four standard errors.
    for level in (0.05, 0.2, 0.5):
        assert ((found <= level).mean(0) < level + 4 * np.sqrt(level * (1 - level) / 600) + 0.02).all()


def test_larger_is_smaller_p(calibrator_case: Any) -> None:
    grid = np.linspace(0, 100, 200)
    found = fitted(calibrator_case).p_values(
        Statistics(np.stack([grid, grid], 1), ("large", "odd"), ("upper", "both")), np.full(200, 7)
    )
    assert (np.diff(found[:, 0]) <= 0).all()
    assert len(np.unique(found[-50:, 0])) == 50, "the very top is ranked, not tied"
    assert found[0, 1] < np.median(found[:20, 1]), "where both tails are odd, the smallest is odd too"


def test_alone_or_in_company(calibrator_case: Any) -> None:
    calibrator, test = fitted(calibrator_case), sample(40, seed=2)
    together = calibrator.p_values(test, LENGTHS[:40])
    alone = [
        calibrator.p_values(Statistics(v[None], test.names, test.tails), LENGTHS[k : k + 1])
        for k, v in enumerate(test.values)
    ]
    np.testing.assert_allclose(np.concatenate(alone), together)


def test_degenerate_samples(calibrator_case: Any) -> None:
    for values in (np.zeros((19, 1)), np.ones((1, 1)), np.repeat([[1.0], [2.0]], 30, axis=0)):
        lengths = np.ones(len(values), np.int64)
        found = (
            calibrator_case.make(0)
            .fit(Statistics(values, ("a",)), lengths)
            .p_values(Statistics(values, ("a",)), lengths)
        )
        assert ((found > 0) & (found <= 1)).all()


def test_reloaded(calibrator_case: Any, tmp_path: Path) -> None:
    calibrator = fitted(calibrator_case)
    assert repr(clone(calibrator)) == repr(calibrator)
    codec.dump(calibrator, tmp_path / "object")
    found = codec.load(tmp_path / "object").p_values(sample(seed=1), LENGTHS)
    np.testing.assert_allclose(found, calibrator.p_values(sample(seed=1), LENGTHS))
