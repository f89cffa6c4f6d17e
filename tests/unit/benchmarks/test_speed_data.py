from __future__ import annotations

import numpy as np
import pytest
from speed_data import SIZES, interleave, ratio, speed_store


def test_the_data_are_as_described() -> None:
    store = speed_store(3_000)
    assert sum(store.sizes) == sum(SIZES) == 618
    assert store.lengths.mean() == pytest.approx(33, rel=0.1)
    assert store.lengths.max() > 5 * store.lengths.mean()
    assert (store.codes < np.array(SIZES)).all() and (store.codes >= 3).all()
    again = speed_store(3_000)
    assert np.array_equal(store.codes, again.codes)
    assert speed_store(50, n_entities=5, timed=True).n_entities == 6


def test_jobs_take_turns() -> None:
    turns: list[tuple[str, int]] = []

    def job(name: str, spins: int) -> int:
        turns.append((name, spins))
        return len(list(range(200_000)))

    rates = interleave({"a": lambda t: job("a", t), "b": lambda t: job("b", t)}, 2)
    assert turns == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    found = ratio(rates, "a", "b")
    assert found["quarter"] <= found["median"] <= found["three_quarters"]
