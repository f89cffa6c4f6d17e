"""The rank-one steps are the closed form, and cost no more than that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.active.items import EMBEDDING, Items, Links
from anomaly.active.kernel import ItemKernel
from anomaly.active.leaves import Forests, LeafMap, look_up
from anomaly.active.records import Labels
from anomaly.active.replay import replay
from anomaly.active.residual_gp import ResidualGP
from anomaly.active.strategies import Top
from anomaly.base import FeatureMatrix


def items(n: int = 150, seed: int = 0) -> Items:
    rng = np.random.default_rng(seed)
    looks = FeatureMatrix(rng.normal(size=(n, 5)).astype(np.float32), tuple("abcde"))
    space = FeatureMatrix(rng.normal(size=(n, 4)).astype(np.float32), tuple("wxyz"))
    links = Links(np.arange(n + 1), (np.arange(n) // 3).astype(np.uint64))
    return Items(pl.Series(np.arange(n)), rng.exponential(size=n), {"looks": looks, EMBEDDING: space}, links)


def full_kernel(learner: ResidualGP, X: Items) -> Any:
    marks = learner.kernel_.marks(X)
    return np.stack([learner.kernel_.row(marks.take(np.array([k])), marks) for k in range(len(X))]).astype(np.float64)


def test_steps_are_the_closed_form() -> None:
    X = items()
    labels = Labels.of([3, 90, 40, 3, 77], [1, 0, 1, 1, 0], [1, 1, 0.5, 0.8, 1])
    learner = ResidualGP(noise=0.2, guided=0.0, trust=0.8).fit(X)
    prior = learner.rank()
    belief = learner.update(labels).belief()
    place = (X.scores - X.scores.min()) / np.ptp(X.scores)
    K = full_kernel(learner, X) + 0.8**2 * np.outer(place, place)
    inner = K[np.ix_(labels.items, labels.items)] + np.diag(0.2 / labels.confidences**2)
    gain = np.linalg.solve(inner, K[labels.items]).T
    np.testing.assert_allclose(belief.mean, prior + gain @ (labels.verdicts - prior[labels.items]), atol=2e-4)
    variance = np.diag(K) - np.einsum("ij,ji->i", gain, K[labels.items])
    np.testing.assert_allclose(belief.std, np.sqrt(variance), atol=2e-4)


def test_other_items_are_scored_as_the_pool_is() -> None:
    X = items()
    learner = ResidualGP(guided=0.0).fit(X).update(Labels.of([3, 90, 40, 77], [1, 0, 1, 0]))
    np.testing.assert_allclose(learner.score(X.take(np.arange(50))), learner.rank()[:50], atol=1e-5)


def test_a_sum_of_likenesses_is_that_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X, rng = items(), np.random.default_rng(1)
    # Some items hold several values, some none.
    X = replace(X, links=Links(np.r_[0, 0, 3, np.arange(3, 151)], (np.arange(150) % 50).astype(np.uint64)))
    kernel = ItemKernel().fit(X)
    marks, named, weights = kernel.marks(X), np.array([3, 90, 0, 1, 77]), rng.normal(size=5)
    rows = [kernel.row(marks.take(np.array([k])), marks) for k in named]
    monkeypatch.setattr("anomaly.active.kernel._ROWS", 64)
    np.testing.assert_allclose(kernel.sums(weights, marks.take(named), marks), weights @ np.stack(rows), atol=1e-5)


def test_labels_tell_how_far_the_score_is_believed() -> None:
    X = items(300)
    top = np.argsort(-X.scores)[:8]
    slopes = [ResidualGP(guided=0.0).fit(X).update(Labels.of(top, [v] * 8)).slope_ for v in (0, 1)]
    learner = ResidualGP(guided=0.0).fit(X)
    trusted = learner.high - learner.low
    assert slopes[0] < trusted < slopes[1]
    assert learner.told() == []
    (line,) = learner.update(Labels.of(top, [0] * 8)).told()
    assert f"{learner.slope_ / trusted:.0%}" in line
    assert ResidualGP(guided=0.0, trust=0.0).fit(X).update(Labels.of(top, [0] * 8)).slope_ == trusted


def test_where_the_odd_are_normal_the_search_leaves_the_top() -> None:
    # Scattered rows are harmless, a dense clump is not; the score, an outlier's, says the opposite.
    rng = np.random.default_rng(3)
    scattered, clump = rng.normal(size=(400, 2)) * 5, rng.normal(size=(60, 2)) * 0.1 + 1
    values, truth = np.concatenate([scattered, clump]).astype(np.float32), np.repeat([0, 1], [400, 60])
    X = Items(pl.Series(np.arange(460)), np.linalg.norm(values, axis=1), {"looks": FeatureMatrix(values, ("a", "b"))})
    found = [replay(X, truth, ResidualGP(low=0.25, trust=t), Top(), budget=200).found[200] for t in (0.0, 0.5)]
    assert found[1] > found[0]


def test_the_kernel_is_one() -> None:
    X = items()
    K = full_kernel(ResidualGP().fit(X), X)
    np.testing.assert_allclose(np.diag(K), 1.0, atol=1e-6)
    np.testing.assert_allclose(K, K.T, atol=1e-6)
    assert np.linalg.eigvalsh(K).min() > -1e-5
    assert K.min() >= 0 and K.max() <= 1 + 1e-6


def test_a_shared_device_carries_a_label() -> None:
    learner = ResidualGP(kernel=ItemKernel(links=1.0)).fit(items())
    moved = learner.update(Labels.of([30], [1])).rank() - ResidualGP(kernel=ItemKernel(links=1.0)).fit(items()).rank()
    others = np.delete(moved, [30, 31, 32])
    assert min(moved[31], moved[32]) > others.max()


def test_a_doubtful_label_moves_less() -> None:
    X = items()
    moves = [
        float(ResidualGP().fit(X).update(Labels.of([5], [1], [c])).rank()[5] - ResidualGP().fit(X).rank()[5])
        for c in (0.2, 0.6, 1.0)
    ]
    assert 0 < moves[0] < moves[1] < moves[2]


def test_what_is_kept_grows_with_the_labels_only() -> None:
    kept = [ResidualGP().fit(items(n)).update(Labels.of([1, 2], [1, 0])).labelled_ for n in (100, 400)]
    assert len(kept[0]) == len(kept[1]) == 2


def test_a_leaf_is_a_byte_and_its_depth_is_the_forest_s() -> None:
    X = items(600)
    for view in X.views.values():
        forest = LeafMap(trees=20).fit(view)
        codes = forest.codes(view)
        assert codes.dtype == np.uint8 and codes.shape == (20, 600)
        depth = look_up(forest.depths(), codes) / 20
        score = forest.forest_.score_samples(forest.prepare_.transform(view))
        assert np.corrcoef(depth, score)[0, 1] > 0.99


def test_trees_are_shared_among_views_and_grow_on_the_score_where_there_is_none() -> None:
    assert Forests(trees=30).fit(items()).codes(items()).shape == (30, 150)
    bare = Items(pl.Series(np.arange(50)), np.arange(50.0))
    assert len(np.unique(Forests(trees=10).fit(bare).codes(bare), axis=1).T) > 10


@pytest.mark.parametrize("n", [64, 512])
def test_codes_do_not_depend_on_company(n: int) -> None:
    forests = Forests(trees=10).fit(items())
    X = items(n, seed=4)
    np.testing.assert_array_equal(forests.codes(X)[:, :7], forests.codes(X.take(np.arange(7))))


def test_the_forest_grows_at_few_numbers_of_labels_and_forgets_what_is_taken_back() -> None:
    X = items(300)
    rng = np.random.default_rng(1)
    told = Labels.of(rng.permutation(300)[:40], rng.integers(0, 2, 40))
    learner = ResidualGP().fit(X)
    assert not learner.forest_.pool().any() and not learner.update(told[:9]).forest_.pool().any()
    grown = [len(learner.update(told[:k]).forest_._grown_on) for k in range(10, 41)]
    assert sorted(set(grown)) == [10, 14, 19, 27, 38]
    once = learner.update(told[:12]).rank()
    np.testing.assert_array_equal(once, ResidualGP().fit(X).update(told[:12]).rank())
    np.testing.assert_allclose(learner.score(X), once, atol=1e-5)


def test_the_forest_finds_the_column_that_matters() -> None:
    X = items(400)
    column = X.views["looks"].values[:, 0]
    told = Labels.of(np.arange(60), column[:60] > 0.5)
    ranked = [ResidualGP(guided=g).fit(X).update(told).rank()[60:] for g in (0.0, 1.0)]
    first, second = (np.corrcoef(column[60:] > 0.5, each)[0, 1] for each in ranked)
    assert second > first + 0.2


def test_columns_that_are_constant_leave_no_forest() -> None:
    same = FeatureMatrix(np.ones((40, 2), np.float32), ("a", "b"))
    X = Items(pl.Series(np.arange(40)), np.ones(40), {"looks": same})
    learner = ResidualGP().fit(X).update(Labels.of(range(12), [0, 1] * 6))
    assert np.isfinite(learner.rank()).all() and np.isfinite(learner.score(X)).all()
