"""What the audit says: right on average, and its interval holds as often as it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.active.estimates import Reach, progress
from anomaly.active.items import Items
from anomaly.active.records import Belief, Labels
from anomaly.active.strategies import Audited, QueryStrategy, Random, Top


def session(query: QueryStrategy, seed: int, labels: int = 60, n: int = 200) -> tuple[Any, float]:
    """Label a pool whose score finds half of the anomalies at the top, without a learner."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.1).astype(np.int64)
    belief = Belief(rng.normal(size=n) + 3 * truth * (rng.random(n) < 0.5), np.zeros(n))
    items, open_ = Items(pl.Series(np.arange(n)), belief.mean), np.ones(n, np.bool_)
    chances, policies, verdicts = [], [], []
    for _ in range(labels):
        choice = query.query(belief, items, Labels.of(), 1, open_=open_, rng=rng)
        open_[choice.items] = False
        chances += choice.probabilities.tolist()
        policies += choice.policies
        verdicts += truth[choice.items].tolist()
    return progress(n, verdicts, chances, policies), float(truth.mean())


@pytest.mark.parametrize("query", [Audited(strategy=Top(), share=0.3), Random()])
def test_prevalence_is_unbiased_and_its_interval_holds(query: QueryStrategy) -> None:
    found = [session(query, seed) for seed in range(250)]
    errors = np.array([f.prevalence - truth for f, truth in found])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(errors))
    assert np.mean([f.low <= truth <= f.high for f, truth in found]) >= 0.94
    recall = [(f.recall_low, f.n_found / max(truth * 200, 1)) for f, truth in found]
    assert np.mean([low <= true + 1e-9 for low, true in recall]) >= 0.94


def crowd(seed: int, labels: int = 80, n: int = 120, people: int = 5, spares: int = 2) -> tuple[float, float]:
    """Label a small pool with several annotators who hold a case and spares; by what else is known, and without."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.1).astype(np.int64)
    belief = Belief(rng.normal(size=n) + 3 * truth * (rng.random(n) < 0.5), np.zeros(n))
    items, query = Items(pl.Series(np.arange(n)), belief.mean), Audited(strategy=Top(), share=0.3)
    judged = np.zeros(n, np.bool_)
    held: dict[int, tuple[int, int, Any]] = {}  # of an item: who holds it, since when, its draw while on screen
    rows: list[tuple[Any, ...]] = []
    for moment in range(labels):
        who = int(rng.integers(people))
        on_screen = next((item for item, (a, _, draw) in held.items() if a == who and draw), None)
        if on_screen is not None:
            _, since, (q, policy, chosen) = held.pop(on_screen)
            judged[on_screen] = True
            rows.append((int(truth[on_screen]), q, policy, who, since, chosen))
        for spare in [False] + [True] * spares:
            own = [item for item, (a, _, _) in held.items() if a == who]
            if spare and len(own) > spares:
                break
            open_ = ~judged
            open_[[item for item in held if spare or held[item][0] != who]] = False
            if not open_.any():
                break
            choice = query.query(belief, items, Labels.of(), 1, open_=open_, rng=rng)
            item, time = int(choice.items[0]), moment * 10 + len(own)
            draw = None if spare else (float(choice.probabilities[0]), choice.policies[0], time)
            held[item] = (who, held[item][1] if item in held else time, draw)
    y, q, policies, people_, since, chosen = (list(column) for column in zip(*rows, strict=True))
    reach = Reach.of(y, [str(p) for p in people_], since, chosen)
    told, naive = progress(n, y, q, policies, reach=reach), progress(n, y, q, policies)
    return told.prevalence - truth.mean(), naive.prevalence - truth.mean()


def test_prevalence_is_unbiased_where_several_hold_cases() -> None:
    errors = np.array([crowd(seed) for seed in range(400)])
    mean, error = errors.mean(axis=0), errors.std(axis=0) / np.sqrt(len(errors))
    assert abs(mean[0]) < 3 * error[0]
    assert mean[1] < -3 * error[1], "to leave out what others hold puts it low"


def test_without_an_audit_nothing_is_claimed() -> None:
    told = progress(1000, [1, 0, 1], [1.0, 1.0, 1.0], ["top"] * 3)
    assert np.isnan(told.prevalence) and told.n_found == 2 and told.stop == ""
    assert told.low == pytest.approx(0.002) and told.high == pytest.approx(0.999)
    assert progress(10, [], [], []).recall_low == 0


def test_what_was_certain_to_be_asked_estimates_nothing() -> None:
    sure = progress(1000, [1] * 100, [1.0] * 100, ["top"] * 100)
    drawn = [0.1 / 900 + 0.9] * 2 + [0.1 / 900]
    both = progress(1000, [1] * 100 + [0, 0, 1], [1.0] * 100 + drawn, ["top"] * 102 + ["audit"])
    assert np.isnan(sure.prevalence)
    assert both.prevalence == pytest.approx((100 * 3 + 1 / drawn[-1]) / 3 / 1000)
    assert np.isnan(progress(1, [1], [1.0], ["random"]).prevalence)


def test_time_to_stop() -> None:
    everything = progress(40, [1, 1] + [0] * 38, [1 / 40] * 40, ["random"] * 40)
    assert everything.recall_low == 1 and "found" in everything.stop
    dry = progress(5000, [1] + [0] * 60, [1.0] * 61, ["top"] * 61)
    assert "nothing" in dry.stop
    assert progress(5000, [0] * 61, [1.0] * 61, ["top"] * 61).stop == ""
