"""The likelihood ratio: each kind of trouble speaks at its own scale, and useless statistics are quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomaly.ensemble.ratio import LESSONS, LikelihoodRatio

Floats = np.ndarray[Any, np.dtype[np.float64]]


def clean(n: int = 4000, m: int = 4, seed: int = 0) -> Floats:
    return 1 - np.random.default_rng(seed).random((n, m))


def damaged(easy: float = 30.0, hard: float = 3.0, seed: int = 1) -> tuple[Floats, Any]:
    """Return two kinds: statistic 0 tells the first easily, statistic 1 the second hardly, 2 and 3 tell neither."""
    p, kinds = clean(800, seed=seed), np.arange(800) % 2
    p[kinds == 0, 0] **= easy
    p[kinds == 1, 1] **= hard
    return np.maximum(p, 1e-300), kinds


def test_weights_are_shares_of_what_finds_trouble() -> None:
    found = LikelihoodRatio().fit(clean(), *damaged(6, 6))
    assert (found.weights_ >= 0).all() and found.weights_.sum() == pytest.approx(1)
    assert found.weights_[:2].min() > 3 * found.weights_[2:].max()


def test_each_kind_is_at_its_own_scale() -> None:
    """Of untouched items the mean likelihood ratio is about 1 for every kind, however easily it is told."""
    x = LikelihoodRatio(least_trust=1.0).fit(clean(), *damaged())
    ratio = np.exp(x._ratios(x._evidence(clean(seed=9)))).mean(axis=0)
    assert (ratio < 3).all()


def test_without_lessons_all_count_the_same() -> None:
    found = LikelihoodRatio(least_trust=1.0).fit(clean())
    np.testing.assert_allclose(found.weights_, 0.25)


def test_a_smaller_p_value_is_never_less_evidence() -> None:
    found = LikelihoodRatio().fit(clean(), *damaged())
    p = clean(200, seed=3)
    for k in range(4):
        less = p.copy()
        less[:, k] *= 0.1
        assert (found.combine(less) >= found.combine(p) - 1e-12).all()


def test_contributions_add_up() -> None:
    found = LikelihoodRatio().fit(clean(), *damaged())
    p = clean(200, seed=4)
    parts = found.contributions(p)
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(axis=1), found.combine(p))


def test_nothing_to_learn_is_no_error() -> None:
    found = LikelihoodRatio().fit(np.ones((50, 3)), np.ones((20, 3)), np.zeros(20, np.int64))
    assert np.isfinite(found.combine(np.ones((4, 3)))).all()


def test_many_items_are_thinned_for_the_lessons() -> None:
    few, many = (LikelihoodRatio().fit(clean(n), *damaged()) for n in (LESSONS, 4 * LESSONS))
    np.testing.assert_allclose(few.weights_, many.weights_, atol=0.05)
