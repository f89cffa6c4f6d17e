"""Eight annotators at once, for seconds in place of the benchmark's minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelling import Annotator, check, crowd

from anomaly.active.labels import Label
from anomaly.active.labels_log import LabelLog
from anomaly.commands.dispatch import dispatch
from anomaly.simulation.shop import Shop


@pytest.mark.slow
def test_eight_annotators_lose_and_double_nothing(tmp_path: Path) -> None:
    Shop(users=80, days=20, sessions_per_user=10).simulate().save(tmp_path / "shop")
    roles = [f"events.path={tmp_path / 'shop' / 'events.parquet'}", "events=shop", "quiet=true"]
    counts = ["model=none", "detector=counts", "corruption=none"]
    assert dispatch(["train", f"run={tmp_path / 'run'}", *roles, *counts]) == 0
    found = crowd(tmp_path / "run", 8, 20.0, 0.1, tmp_path / "labels.sqlite")
    assert found["labels"] > 40
    assert (found["lost"], found["doubled"], found["judged_by_three"], found["held_by_two"]) == (0, 0, 0, 0)
    assert found["refused"] == []


def test_what_is_lost_or_doubled_is_counted(tmp_path: Path) -> None:
    person = Annotator.__new__(Annotator)
    person.name, person.said, person.seconds, person.refused = "ann", [("k1", "a"), ("k2", "b")], [0.1], []
    with LabelLog(tmp_path / "l", session="s") as log:
        log.extend([Label("a", "normal", "ann", key="k1"), Label("a", "normal", "ann", key="k3")])
    found = check([person], tmp_path / "l", "s")
    assert (found["lost"], found["doubled"]) == (1, 1)
