"""What `anomaly replay` shows of its figures."""

from __future__ import annotations

import numpy as np

from anomaly.commands.replay import _at_marks


def test_a_budget_between_two_marks_is_a_mark() -> None:
    assert list(_at_marks(np.ones(5, np.int64), 5).items())[-1] == (5, 5)
