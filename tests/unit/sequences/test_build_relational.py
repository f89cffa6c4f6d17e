import numpy as np
import pytest

from anomaly.sequences import relational
from anomaly.sequences.relational import count_entities


def by_hand(value: np.ndarray, entity: np.ndarray, time: np.ndarray, window: int) -> list[float]:
    rows = np.arange(len(value))
    found = []
    for i in rows:
        before = (time < time[i]) | ((time == time[i]) & (rows <= i))
        active = before & (value == value[i]) & (time > time[i] - window)
        found.append(float(len(set(entity[active]))) if value[i] >= 0 else float("nan"))
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window", [1, 5, 40, 1 << 61])
def test_counts_are_those_of_the_definition(seed: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relational, "_SLICE", 13)
    rng = np.random.default_rng(seed)
    value = rng.integers(-1, 4, 120).astype(np.int32)
    entity = rng.integers(0, 6, 120).astype(np.int32)
    time = rng.integers(0, 60, 120)
    assert np.array_equal(
        count_entities(value, entity, time, window), by_hand(value, entity, time, window), equal_nan=True
    )


def test_later_uses_change_nothing() -> None:
    rng = np.random.default_rng(0)
    value, entity = rng.integers(0, 3, (2, 200)).astype(np.int32)
    time = np.sort(rng.integers(0, 400, 200))
    whole = count_entities(value, entity, time, 30)
    assert (count_entities(value[:90], entity[:90], time[:90], 30) == whole[:90]).all()


def test_nothing_to_count() -> None:
    assert len(count_entities(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), 5)) == 0
    assert np.isnan(count_entities(np.full(2, -1, np.int32), np.zeros(2, np.int32), np.zeros(2, np.int64), 5)).all()
