"""The loop in Python: ask, be told, take back, rank."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anomaly.active.items import Items
from anomaly.active.learner import ActiveLearner
from anomaly.active.strategies import Audited, Top
from anomaly.base import FeatureMatrix
from anomaly.errors import DataError


def pool(n: int = 80) -> Items:
    rng = np.random.default_rng(0)
    looks = FeatureMatrix(rng.normal(size=(n, 3)).astype(np.float32), ("a", "b", "c"))
    return Items(pl.Series([f"case {k}" for k in range(n)]), rng.exponential(size=n), {"looks": looks})


def test_a_session() -> None:
    loop = ActiveLearner(pool())
    first = loop.query(3)
    assert first == loop.query(3) and len(set(first)) == 3
    before = loop.posterior_
    loop.teach(first[0], "anomalous").teach(first[1], "normal").teach(first[2], "unsure", confidence=0.5)
    assert not set(first) & set(loop.query(10))
    ranking = loop.ranking_
    assert ranking["posterior"].is_sorted(descending=True) and ranking["item"].n_unique() == 80
    told = dict(zip(ranking["item"], ranking["verdict"], strict=True))
    assert [told[i] for i in first] == ["anomalous", "normal", "unsure"]
    assert ranking["verdict"].null_count() == 77
    assert [loop.undo() for _ in range(3)] == first[::-1]
    np.testing.assert_array_equal(loop.posterior_, before)


def test_a_replayed_session_asks_the_same() -> None:
    loop = ActiveLearner(pool(), query=Audited(strategy=Top(), share=0.5), random_state=4)
    for k in range(12):
        loop.teach(loop.query()[0], k % 2)
    again = ActiveLearner(pool(), query=Audited(strategy=Top(), share=0.5), random_state=4).replay(loop.taught)
    np.testing.assert_array_equal(again.posterior_, loop.posterior_)
    assert again.query() == loop.query()
    assert {t.policy for t in loop.taught} == {"top", "audit"}
    assert all(0 < t.probability <= 1 for t in loop.taught)


def test_what_was_not_asked_about_has_no_chance() -> None:
    taught = ActiveLearner(pool()).teach("case 7", "anomalous").taught[0]
    assert taught.policy == "" and np.isnan(taught.probability)


def test_what_is_taken_back_and_said_again_was_chosen_as_before() -> None:
    loop = ActiveLearner(pool(), query=Audited(strategy=Top(), share=0.5), random_state=4)
    item = loop.query()[0]
    first = loop.teach(item, "anomalous").taught[0]
    assert loop.undo() == item and loop.teach(item, "anomalous").taught[0] == first


def test_items_on_another_screen_are_left_out() -> None:
    loop = ActiveLearner(pool())
    held = loop.query(2)
    assert not set(held) & set(loop.query(5, exclude=held))
    assert loop.query(500, exclude=held) and len(loop.query(500, exclude=held)) == 78


@pytest.mark.parametrize(
    ("item", "verdict", "confidence"),
    [
        ("nobody", "normal", 1.0),
        ([1], "normal", 1.0),
        ("case 1", "fraud", 1.0),
        ("case 1", ["normal"], 1.0),
        ("case 1", "normal", 0.0),
    ],
)
def test_what_cannot_be_taught(item: object, verdict: str, confidence: float) -> None:
    with pytest.raises(DataError):
        ActiveLearner(pool()).teach(item, verdict, confidence=confidence)  # type: ignore[arg-type]


def test_nothing_to_undo() -> None:
    with pytest.raises(DataError, match="nothing to undo"):
        ActiveLearner(pool()).undo()


def test_no_fewer_than_no_items_can_be_asked_for() -> None:
    assert ActiveLearner(pool()).query(0) == []
    with pytest.raises(DataError, match="n=-1"):
        ActiveLearner(pool()).query(-1)


def test_two_items_of_one_id_cannot_be_told_apart() -> None:
    with pytest.raises(DataError, match="'b' more than once"):
        ActiveLearner(Items(pl.Series(["a", "b", "b"]), np.arange(3.0)))


def test_items_must_fit_together() -> None:
    with pytest.raises(DataError, match="differ in number"):
        Items(pl.Series([1, 2]), np.zeros(3))
    with pytest.raises(DataError, match="not finite"):
        Items(pl.Series([1]), np.array([np.nan]))
