"""What labels add to a score: more where they say something, nothing where they say nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from anomaly.active.items import Items, Links
from anomaly.active.posterior import LabelledPosterior
from anomaly.base import FeatureMatrix
from anomaly.metrics.ranking import average_precision
from anomaly.models.finetune import make_folds


def pool(seed: int, n: int = 1500, informative: bool = True) -> tuple[Items, NDArray[np.int64]]:
    """Return items of which a twentieth are odd in the second member, to which the score is nearly deaf."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(n) < n // 20).astype(np.int64)
    members = rng.exponential(0.43, (n, 4))
    members[:, 1] += 2.0 * truth * informative
    score = members[:, 0] + 0.3 * truth
    looks = FeatureMatrix(rng.normal(size=(n, 3)).astype(np.float32), ("a", "b", "c"))
    terminal = np.where(truth == 1, rng.integers(0, 3, n), rng.integers(3, 200, n)).astype(np.uint64)
    views = {"members": FeatureMatrix(members.astype(np.float32), tuple("wxyz")), "event": looks}
    links = Links(np.arange(n + 1), terminal if informative else rng.integers(0, 200, n).astype(np.uint64))
    return Items(pl.Series(np.arange(n)), score, views, links), truth


def shown(truth: NDArray[np.int64], size: int, seed: int = 0) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    y = np.full(len(truth), -1)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(truth == label))[: size // 2]
        y[rows] = label
    return y


@pytest.mark.parametrize("size", [10, 50])
def test_labels_raise_what_the_score_is_deaf_to(size: int) -> None:
    X, truth = pool(0)
    Z, of_new = pool(1)
    y = shown(truth, size)
    fitted = LabelledPosterior().fit(X, y, None, make_folds(y, 5))
    assert average_precision(of_new, fitted.mean(Z)) > 2 * average_precision(of_new, Z.scores)
    assert fitted.evidence_ is not None and fitted.evidence_.posterior > fitted.evidence_.prior


def test_one_item_scores_as_among_others() -> None:
    X, truth = pool(0)
    y = shown(truth, 20)
    fitted = LabelledPosterior().fit(X, y, None, make_folds(y, 5))
    whole = fitted.mean(X)
    few = np.array([3, 700, 11])
    np.testing.assert_allclose(fitted.mean(X.take(few)), whole[few], atol=1e-6)


def test_a_network_that_knows_is_heard() -> None:
    X, truth = pool(0, informative=False)
    Z, of_new = pool(1, informative=False)
    y = shown(truth, 40)
    rng = np.random.default_rng(2)
    fitted = LabelledPosterior().fit(X, y, 3.0 * truth + rng.normal(size=len(truth)), make_folds(y, 5))
    head = 3.0 * of_new + rng.normal(size=len(of_new))
    assert average_precision(of_new, fitted.mean(Z, head)) > 1.5 * average_precision(of_new, Z.scores)


def test_the_prior_follows_the_score() -> None:
    X, truth = pool(0)
    fitted = LabelledPosterior().fit(X, shown(truth, 10))
    assert fitted.evidence_ is None
    assert np.array_equal(np.argsort(fitted.prior(X.scores), kind="stable"), np.argsort(X.scores, kind="stable"))


def test_folds_hold_both_classes_or_there_are_none() -> None:
    y = np.array([1, 1, 1, 0, 0, -1])
    folds = make_folds(y, 5)
    assert len(folds) == 2 and all({0, 1} <= set(y[fold]) for fold in folds)
    assert sorted(np.concatenate(folds)) == [0, 1, 2, 3, 4]
    assert make_folds(np.array([1, 0, 0, 0]), 5) == []
