"""The power report: a share per kind, which grows as the threshold falls."""

from __future__ import annotations

import numpy as np

from anomaly.ensemble.power import power_rows


def test_shares_per_kind() -> None:
    scores = {"insert": np.array([0.1, 2.0, 3.0, 1.0]), "skip": np.array([5.0])}
    assert power_rows(scores, 1.0) == [
        {"kind": "insert", "n": 4, "found": 0.5},
        {"kind": "skip", "n": 1, "found": 1.0},
    ]


def test_a_lower_threshold_finds_no_less() -> None:
    scores = {"a": np.random.default_rng(0).exponential(size=300)}
    found = [power_rows(scores, t)[0]["found"] for t in np.linspace(6, -1, 40)]
    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.05 and found[-1] == 1.0


def test_no_damaged_item_is_no_share() -> None:
    row = power_rows({"a": np.zeros(0)}, 1.0)[0]
    assert row["n"] == 0 and np.isnan(row["found"])
