from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anomaly.sweeps.datasets import TableSet

HERE = Path(__file__).parent


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., TableSet]:
    def make(name: str = "set", *, anomalous: int = 12, rows: int = 200, cap: int | None = None) -> TableSet:
        rng = np.random.default_rng(3)
        X = rng.normal(size=(rows, 4))
        X[:anomalous] += 4
        np.savez(tmp_path / f"{name}.npz", X=X, y=(np.arange(rows) < anomalous).astype(int))
        return TableSet(tmp_path / f"{name}.npz", cap)

    return make


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    """Put the rivals on the path, of child processes too, and return how one is configured."""
    monkeypatch.syspath_prepend(str(HERE))

    def config(name: str, **options: object) -> dict[str, object]:
        return {"_target_": f"rivals.{name}", **options}

    return config
