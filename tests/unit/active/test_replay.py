"""The replay answers from known labels, at every mark, with the faults that are asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anomaly.active.items import Items
from anomaly.active.replay import Analysts, halves, replay
from anomaly.active.residual_gp import ResidualGP
from anomaly.active.strategies import Top
from anomaly.base import FeatureMatrix
from anomaly.errors import ConfigError


def pool(n: int = 120) -> tuple[Items, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = (np.arange(n) % 12 == 0).astype(np.int64)
    looks = rng.normal(size=(n, 3)).astype(np.float32)
    looks[truth == 1] += 2.5
    return Items(
        pl.Series(np.arange(n)), np.abs(looks).sum(1).astype(float), {"a": FeatureMatrix(looks, tuple("abc"))}
    ), truth


def test_every_mark_is_given_even_after_the_last_item() -> None:
    items, truth = pool(60)
    done = replay(items, truth, ResidualGP(), Top(), budget=100, held_out=(items, truth))
    assert list(done.found) == list(done.ap_pool) == list(done.ap_held_out) == [0, 10, 20, 50, 100]
    assert done.found[0] == 0 and done.found[100] == truth.sum()
    assert sorted(done.asked) == list(range(60)) and done.update_ms > 0
    assert done.ap_pool[100] == 1.0


def test_labels_pay() -> None:
    items, truth = pool(600)
    done = replay(items, truth, ResidualGP(), Top(), budget=50)
    without = int(truth[np.argsort(-items.scores)[:50]].sum())
    assert done.found[50] > without and done.ap_pool[50] > done.ap_pool[0]


def test_the_same_seed_the_same_pass() -> None:
    items, truth = pool()
    runs = [
        replay(items, truth, ResidualGP(), Top(), budget=30, analysts=Analysts(wrong=0.2), random_state=2) for _ in "ab"
    ]
    assert runs[0].asked == runs[1].asked and runs[0].ap_pool == runs[1].ap_pool


def test_late_verdicts_come_late() -> None:
    items, truth = pool()
    prompt = replay(items, truth, ResidualGP(), Top(), budget=30)
    late = replay(items, truth, ResidualGP(), Top(), budget=30, analysts=Analysts(delay=30))
    unsupervised = np.argsort(-items.scores, kind="stable")[:30].tolist()
    assert late.asked == unsupervised != prompt.asked
    assert late.ap_pool[20] == late.ap_pool[0]


def test_verdicts_that_are_due_when_the_items_end_still_come() -> None:
    items, truth = pool(60)
    done = replay(items, truth, ResidualGP(), Top(), budget=100, analysts=Analysts(delay=20))
    assert done.ap_pool[100] == 1.0 and len(done.asked) == 60


def test_annotators_err_as_often_as_they_are_said_to() -> None:
    rng = np.random.default_rng(0)
    team = Analysts(wrong=0.2, spread=0.5, count=3)
    errors = np.array([[team.judge(0, turn, rng) for turn in range(3)] for _ in range(3000)]).mean(axis=0)
    np.testing.assert_allclose(errors, [0.1, 0.2, 0.3], atol=0.03)
    assert Analysts().judge(1, 5, rng) == 1


@pytest.mark.parametrize("faults", [{"wrong": 0.5}, {"wrong": 0.3, "spread": 1.0}, {"count": 0}, {"delay": -1}])
def test_impossible_annotators(faults: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Analysts(**faults)  # type: ignore[arg-type]


def test_halves_share_the_anomalies() -> None:
    truth = (np.arange(31) < 7).astype(np.int64)
    first, second = halves(truth, 3)
    assert sorted([*first, *second]) == list(range(31))
    assert abs(truth[first].sum() - truth[second].sum()) <= 1
    # Their order tells nothing of the file's, nor which are anomalous.
    assert [*first] != sorted(first) and [*truth[first]] != sorted(truth[first])
