"""Every combiner: finite evidence that rises as p-values fall, with or without corrupted items to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anomaly.artifact import codec


def p_values(n: int = 400, m: int = 5, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(1e-4, 1.0, (n, m))


def damaged() -> tuple[Any, Any]:
    found = p_values(200, seed=3)
    kinds = np.arange(200) % 2
    found[kinds == 0, 0] **= 4
    found[kinds == 1, 1] **= 4
    return found, kinds


def test_evidence_is_finite_and_repeatable(combiner_case: Any) -> None:
    for extra in ((), damaged()):
        first, second = (combiner_case.make(0).fit(p_values(), *extra).combine(p_values(seed=1)) for _ in range(2))
        assert first.shape == (400,)
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


def test_smaller_p_values_are_more_evidence(combiner_case: Any) -> None:
    combiner = combiner_case.make(0).fit(p_values(), *damaged())
    evidence = combiner.combine(np.stack([np.full(5, p) for p in (1.0, 0.5, 0.1, 1e-3, 1e-8, 1e-300)]))
    assert np.isfinite(evidence).all()
    assert (np.diff(evidence) >= 0).all()
    assert evidence[-1] > evidence[0]


def test_alone_or_in_company(combiner_case: Any) -> None:
    combiner = combiner_case.make(0).fit(p_values(), *damaged())
    X = p_values(30, seed=4)
    np.testing.assert_allclose(np.concatenate([combiner.combine(row[None]) for row in X]), combiner.combine(X))


def test_reloaded(combiner_case: Any, tmp_path: Path) -> None:
    combiner = combiner_case.make(0).fit(p_values(), *damaged())
    codec.dump(combiner, tmp_path / "object")
    np.testing.assert_allclose(
        codec.load(tmp_path / "object").combine(p_values(seed=1)), combiner.combine(p_values(seed=1))
    )
