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
from anomaly.active.strategies import Disagreement, Diverse, Staged, Top, Uncertainty, UpperConfidence
from anomaly.base import FeatureMatrix, QueryStrategy


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


def test_where_nobody_disagrees_the_top_is_asked_about() -> None:
    items = Items(pl.Series(np.arange(60)), np.arange(60.0))
    belief, rng = Belief(np.arange(60.0), np.zeros(60)), np.random.default_rng(0)
    choice = Disagreement().query(belief, items, Labels.of(), 3, open_=np.ones(60, np.bool_), rng=rng)
    assert choice.items.tolist() == [59, 58, 57]


def wanted(
    strategy: QueryStrategy, mean: Any, std: Any = None, labels: Labels | None = None, **views: Any
) -> list[int]:
    """Return the three items that a strategy asks about first."""
    mean = np.asarray(mean, np.float64)
    looks = {name: FeatureMatrix(v.astype(np.float32), tuple("abc"[: v.shape[1]])) for name, v in views.items()}
    items, belief = Items(pl.Series(np.arange(len(mean))), mean, looks), Belief(mean, np.zeros(len(mean)))
    belief = belief if std is None else Belief(mean, np.asarray(std, np.float64))
    labels, open_, rng = labels or Labels.of(), np.ones(len(mean), np.bool_), np.random.default_rng(0)
    open_[labels.items] = False
    return strategy.query(belief, items, labels, 3, open_=open_, rng=rng).items.tolist()  # type: ignore[no-any-return]


def test_the_upper_bound_is_what_may_be_anomalous() -> None:
    assert wanted(UpperConfidence(width=1.0), [3, 2, 1, 0], [0, 0, 2.5, 0.5]) == [2, 0, 1]


def test_the_uncertain_lie_where_the_kinds_meet() -> None:
    mean = np.arange(10.0)
    assert sorted(wanted(Uncertainty(), mean, labels=Labels.of([0, 9], [0, 1]))) in ([3, 4, 5], [4, 5, 6])
    assert wanted(Uncertainty(), mean, labels=Labels.of([9], [1])) == [8, 7, 6]


def test_the_diverse_come_from_different_clumps() -> None:
    clump = np.repeat(np.arange(4), 10)
    mean = np.array([3.0, 2.9, 2.8, 0.0])[clump]
    asked = wanted(Diverse(), mean, aggregates=np.eye(4)[clump, :3] * 5)
    assert [clump[i] for i in asked] == [0, 1, 2] and wanted(Top(), mean) == [0, 1, 2]


def test_the_disputed_divide_the_members() -> None:
    members = np.repeat(np.arange(40.0)[:, None], 3, axis=1)
    members[37, 0] = -5
    assert wanted(Disagreement(), np.arange(40.0), **{MEMBERS: members})[0] == 37


def test_stages_follow_what_is_found() -> None:
    staged = Staged(found=2, patience=6, boundary=3)

    def stages(*verdicts: int) -> list[str]:
        kinds = [staged.stage(Labels.of(range(k), verdicts[:k])) for k in range(len(verdicts) + 1)]
        return [type(kind).__name__[0] for kind in kinds]

    assert "".join(stages(1, 0, 1, 0, 0, 0, 1)) == "DDDUUUTT"
    assert "".join(stages(*[0] * 10)) == "DDDDDDUUUTT"
