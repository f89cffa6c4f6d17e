"""Every learner: a pure fold of the labels over the unsupervised score, that survives the artifact."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest

from anomaly.active.aad import ActiveAnomalyDiscovery
from anomaly.active.items import EMBEDDING, MEMBERS, Items, Links
from anomaly.active.member_weights import MemberWeights
from anomaly.active.pine import PineForest
from anomaly.active.records import Belief, Labels
from anomaly.active.residual_gp import ResidualGP
from anomaly.active.router import Router
from anomaly.artifact import codec
from anomaly.base import FeatureMatrix, Learner


@cache
def crowd(n: int = 240, seed: int = 0) -> Items:
    """Return items of which every sixth is anomalous: far out in two columns, and by one of three members."""
    rng = np.random.default_rng(seed)
    odd = np.arange(n) % 6 == 0
    looks = rng.normal(size=(n, 4)).astype(np.float32)
    looks[odd, :2] += 3.0
    members = rng.exponential(size=(n, 3)).astype(np.float32)
    members[odd, 1] += 2.0
    views = {
        MEMBERS: FeatureMatrix(members, ("a", "b", "c")),
        "aggregates": FeatureMatrix(looks, ("w", "x", "y", "z")),
        EMBEDDING: FeatureMatrix(rng.normal(size=(n, 3)).astype(np.float32), ("e0", "e1", "e2")),
    }
    links = Links(np.arange(n + 1) * 2, rng.integers([0, 30], [30, 60], (n, 2)).ravel().astype(np.uint64))
    return Items(pl.Series([f"i{k}" for k in range(n)]), members.sum(1).astype(np.float64), views, links)


def verdicts(n: int = 40, seed: int = 3) -> Labels:
    items = np.random.default_rng(seed).permutation(240)[:n]
    return Labels.of(items, (items % 6 == 0).astype(np.int64), np.where(items % 5 == 0, 0.5, 1.0))


@cache
def shared(case: Any) -> Any:
    """Return a learner that one test after another teaches: what it was taught before must not matter."""
    return case.make(0).fit(crowd())


def test_without_labels_the_score_ranks(learner_case: Any) -> None:
    posterior = shared(learner_case).update(Labels.of()).rank()
    assert posterior.shape == (240,) and np.isfinite(posterior).all()
    np.testing.assert_array_equal(np.argsort(posterior, kind="stable"), np.argsort(crowd().scores, kind="stable"))


def test_a_replay_gives_the_same_floats(learner_case: Any) -> None:
    at_once = shared(learner_case).update(Labels.of()).update(verdicts()).belief()
    learner = learner_case.make(0).fit(crowd())
    for k in (1, 2, 5, 30, 40):
        learner.update(verdicts()[:k])
    np.testing.assert_array_equal(learner.belief().mean, at_once.mean)
    np.testing.assert_array_equal(learner.belief().std, at_once.std)


def test_undo_is_a_replay_without(learner_case: Any) -> None:
    learner, labels = shared(learner_case), verdicts()
    left = np.delete(np.arange(len(labels)), [7, 39])
    undone = learner.update(labels).update(labels[left]).rank()
    np.testing.assert_array_equal(undone, learner.update(Labels.of()).update(labels[left]).rank())
    assert not np.array_equal(undone, learner.update(labels).rank())


def test_what_is_unsure_moves_nothing(learner_case: Any) -> None:
    labels = verdicts()
    unsure = Labels.of(
        np.append(labels.items, [1, 2]), np.append(labels.verdicts, [-1, -1]), np.append(labels.confidences, [1, 1])
    )
    learner = shared(learner_case)
    np.testing.assert_array_equal(learner.update(unsure).rank(), learner.update(labels).rank())


def test_labels_part_the_kinds(learner_case: Any) -> None:
    learner, odd = shared(learner_case), np.arange(240) % 6 == 0

    def gap(posterior: Any) -> float:
        order = posterior.argsort().argsort()
        return float(order[odd].mean() - order[~odd].mean())

    before = gap(learner.update(Labels.of()).rank())
    assert gap(learner.update(verdicts(80)).rank()) > before + 5


def test_new_items_are_ranked_as_the_pool_is(learner_case: Any, tmp_path: Path) -> None:
    learner = shared(learner_case).update(verdicts())
    np.testing.assert_allclose(learner.score(crowd()), learner.rank(), atol=1e-4)
    codec.dump(learner, tmp_path / "learner")
    reloaded = codec.load(tmp_path / "learner")
    np.testing.assert_allclose(reloaded.score(crowd()), learner.rank(), atol=1e-4)
    alone = np.concatenate([reloaded.score(crowd().take([k])) for k in range(5)])
    np.testing.assert_allclose(alone, learner.score(crowd())[:5], atol=1e-6)


def test_one_seed_one_ranking(learner_case: Any) -> None:
    state = np.random.get_state()[1]  # noqa: NPY002
    ranks = [learner_case.make(5).fit(crowd()).update(verdicts()).rank() for _ in range(2)]
    np.testing.assert_array_equal(*ranks)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("damage", ["missing", "constant", "huge"])
def test_poor_items_get_a_finite_posterior(learner_case: Any, damage: str) -> None:
    X = crowd()
    values = X.views["aggregates"].values.copy()
    values[::3] = {"missing": np.nan, "constant": 0.0, "huge": 1e30}[damage]
    if damage != "huge":
        values[:] = values[0]
    views = dict(X.views) | {"aggregates": FeatureMatrix(values, X.views["aggregates"].names)}
    poor = replace(X, views=views, scores=np.zeros(240) if damage == "constant" else X.scores)
    learner = learner_case.make(0).fit(poor).update(verdicts())
    assert np.isfinite(learner.rank()).all() and np.isfinite(learner.score(poor)).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_items(learner_case: Any, n: int) -> None:
    few = crowd().take(np.arange(n))
    learner = learner_case.make(0).fit(few)
    for k in range(n):
        learner.update(Labels.of(np.arange(k + 1), [1, 0, 0, 0, 0][: k + 1]))
        assert np.isfinite(learner.rank()).all() and learner.score(few).shape == (n,)


def test_an_item_judged_twice_counts_twice(learner_case: Any) -> None:
    labels = verdicts(20)
    odd, usual = labels.items[labels.verdicts == 1][0], labels.items[labels.verdicts == 0][0]
    twice = Labels.of(np.append(labels.items, [odd, usual]), np.append(labels.verdicts, [0, 1]))
    assert np.isfinite(shared(learner_case).update(twice).rank()).all()


def test_the_router_goes_to_whoever_ranks_hidden_labels_better() -> None:
    labels = verdicts(60)
    # Weights of members that say nothing begin, and a process that reads what the items look like takes over.
    X = crowd()
    dull = FeatureMatrix(np.random.default_rng(1).exponential(size=(240, 3)).astype(np.float32), ("a", "b", "c"))
    X = replace(X, views=dict(X.views) | {MEMBERS: dull}, scores=dull.values.sum(1).astype(np.float64))
    router = Router(learners={"weights": MemberWeights(), "residual_gp": ResidualGP()}, first=20, crowd=100).fit(X)
    chosen = [router.update(labels[:k]).chosen_ for k in (0, 19, 20, 60, 19)]
    assert chosen == ["weights", "weights", "residual_gp", "residual_gp", "weights"]
    evidence = router.update(labels).evidence_
    assert [row["labels"] for row in evidence] == [20, 40]
    assert router.told()[0].startswith("residual_gp leads (average precision of hidden labels, 40 given: weights 0.")
    leads, weights = router.update(labels[:19]).told()
    assert (
        leads == "weights leads (no other compared yet: that is at 20 labels and at every doubling, 5 of them normal)"
        and weights.startswith("weights: ")
    )
    assert all(row["residual_gp"] > row["weights"] for row in evidence)  # type: ignore[operator]


def test_where_all_that_is_asked_is_anomalous_nothing_takes_over() -> None:
    X, found = crowd(), np.flatnonzero(np.arange(240) % 6 == 0)
    labels = Labels.of(np.r_[found[:36], 1, 2, 3, 4], np.r_[np.ones(36), np.zeros(4)])
    router = Router(learners={"weights": MemberWeights(), "residual_gp": ResidualGP()}, first=20, crowd=100).fit(X)
    assert router.update(labels).chosen_ == "weights" and not router.evidence_
    other = Labels.of(np.r_[labels.items, 5], np.r_[labels.verdicts, 0])
    router.first = len(other)
    assert router.update(other).evidence_


class AsScored(Learner):
    """Rank by the score, whatever the labels."""

    def fit(self, X: Items) -> Self:
        self._pool = X
        return self

    def update(self, labels: Labels) -> Self:
        return self

    def belief(self) -> Belief:
        return Belief(self._pool.scores, np.zeros(len(self._pool)))

    def score(self, X: Items) -> Any:
        return X.scores


def test_the_router_takes_the_last_verdict_of_an_item() -> None:
    labels = verdicts(40)
    X = replace(crowd(), scores=np.isin(np.arange(240), labels.items[labels.verdicts == 1]).astype(np.float64))
    corrected = Labels.of(np.tile(labels.items, 2), np.append(1 - labels.verdicts, labels.verdicts))
    (row,) = Router(learners={"scored": AsScored()}, first=80, crowd=100).fit(X).update(corrected).evidence_
    assert row["scored"] == 1.0


def test_weights_show_which_member_earns_its_keep() -> None:
    learner = MemberWeights().fit(crowd()).update(verdicts(80))
    assert next(iter(learner.table_)) == "b" and sum(learner.table_.values()) == pytest.approx(1.0)
    assert min(learner.table_.values()) >= 0
    assert learner.told()[0].startswith("weights: b ") and learner.update(Labels.of()).told() == []


def test_leaf_weights_lift_anomalous_labels_above_the_quantile() -> None:
    learner, labels = ActiveAnomalyDiscovery(tau=0.2).fit(crowd()), verdicts(40)
    odd, usual = labels.items[labels.verdicts == 1], labels.items[labels.verdicts == 0]
    bar = float(np.quantile(learner.update(labels).rank(), 0.8))
    assert (learner.rank()[odd] > bar - 1e-3).all() and (learner.rank()[usual] < bar + 1e-3).mean() > 0.9


def test_the_trees_that_are_kept_isolate_anomalous_labels_early() -> None:
    learner, labels = PineForest(trees=200, kept=40).fit(crowd()), verdicts(40)
    depth = np.take_along_axis(learner.depths_, learner._codes.astype(np.int64), axis=1)
    lead = depth[:, labels.items[labels.verdicts == 0]].mean(1) - depth[:, labels.items[labels.verdicts == 1]].mean(1)
    chosen = learner.update(labels).chosen_
    assert len(chosen) == 40 and lead[chosen].mean() > lead.mean() + lead.std()
