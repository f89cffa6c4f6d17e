"""Every strategy: open items only, none twice, each with its chance, the same again from the same state."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.active.items import MEMBERS, Items
from anomaly.active.records import Belief, Choice, Labels
from anomaly.base import FeatureMatrix


def pool(n: int = 60, seed: int = 0) -> tuple[Items, Belief]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 3)).astype(np.float32)
    items = Items(pl.Series(np.arange(n)), rng.normal(size=n), {MEMBERS: FeatureMatrix(values, ("a", "b", "c"))})
    return items, Belief(rng.normal(size=n).round(1), rng.uniform(size=n))


def ask(case: Any, n: int, open_: Any, labels: Labels | None = None, seed: int = 0) -> Choice:
    items, belief = pool(len(open_))
    rng = np.random.default_rng(seed)
    return case.make(0).query(belief, items, labels or Labels.of(), n, open_=open_, rng=rng)  # type: ignore[no-any-return]


@settings(deadline=None, max_examples=20)
@given(n=st.integers(0, 12), closed=st.sets(st.integers(0, 29)), found=st.integers(0, 8))
def test_open_items_once_with_a_chance(strategy_case: Any, n: int, closed: set[int], found: int) -> None:
    open_ = np.ones(30, np.bool_)
    open_[list(closed)] = False
    judged = np.array(sorted(closed), np.int64)
    choice = ask(strategy_case, n, open_, Labels.of(judged, (np.arange(len(judged)) < found).astype(np.int64)))
    assert len(choice) == len(choice.probabilities) == len(choice.policies) == min(n, int(open_.sum()))
    assert open_[choice.items].all() and len(set(choice.items.tolist())) == len(choice)
    assert ((choice.probabilities > 0) & (choice.probabilities <= 1)).all()
    assert all(choice.policies)


def test_the_same_again(strategy_case: Any) -> None:
    first, again = (ask(strategy_case, 5, np.ones(60, np.bool_)) for _ in range(2))
    np.testing.assert_array_equal(first.items, again.items)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_nothing_is_left(strategy_case: Any) -> None:
    assert len(ask(strategy_case, 3, np.zeros(60, np.bool_))) == 0


@pytest.mark.parametrize("n", [1, 2])
def test_small_pools(strategy_case: Any, n: int) -> None:
    assert len(ask(strategy_case, 5, np.ones(n, np.bool_))) == n


def test_chances_are_those_that_are_told(strategy_case: Any) -> None:
    """How often each item is chosen first agrees with the chance that it is told with."""
    told: dict[int, float] = {}
    times = np.zeros(8)
    for seed in range(600):
        choice = ask(strategy_case, 1, np.ones(8, np.bool_), seed=seed)
        item = int(choice.items[0])
        assert told.setdefault(item, float(choice.probabilities[0])) == pytest.approx(choice.probabilities[0])
        times[item] += 1
    for item, chance in told.items():
        assert abs(times[item] / 600 - chance) < 4 * np.sqrt(chance * (1 - chance) / 600) + 1e-9
    assert sum(told.values()) == pytest.approx(1.0, abs=0.1)
