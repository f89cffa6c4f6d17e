"""Pictures of a leaderboard."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anomaly.sweeps.pictures import cost


@pytest.mark.parametrize("seed", range(5))
def test_names_of_neighbours_do_not_lie_on_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = np.sort(rng.normal(size=(12, 2)), axis=0)
    lines = [
        {"competitor": f"pyod.name_{k}", "fit_seconds": 10**a, "score_seconds": None, "ap": 0.5 + b / 10}
        for k, (a, b) in enumerate(spread.tolist())
    ]
    board: Any = SimpleNamespace(lines=lines, against="pyod.name_0")
    figure = cost(board)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == len(lines)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].padded(-1).overlaps(pair[1].padded(-1))]
