"""Plain combiners against what their sources say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from anomaly.ensemble.convex import ConvexCombiner
from anomaly.ensemble.simple import (
    LARGEST_P,
    AgreementCombiner,
    BucketCombiner,
    CauchyCombiner,
    MeanRankCombiner,
    MinimumPCombiner,
    StoufferCombiner,
)

P = np.random.default_rng(0).uniform(1e-3, LARGEST_P, (200, 6))


def combined(combiner: Any) -> Any:
    return combiner.fit(P).combine(P)


@pytest.mark.parametrize(("combiner", "method"), [(StoufferCombiner(), "stouffer"), (MinimumPCombiner(), "tippett")])
def test_same_p_values_as_scipy(combiner: Any, method: Any) -> None:
    theirs = [stats.combine_pvalues(row, method=method).pvalue for row in P]
    np.testing.assert_allclose(stats.rankdata(-combined(combiner)), stats.rankdata(theirs))
    if method == "tippett":
        np.testing.assert_allclose(np.exp(-combined(combiner)), theirs, rtol=1e-9)


def test_cauchy_is_a_p_value() -> None:
    total = np.tan((0.5 - P) * np.pi).mean(1)
    np.testing.assert_allclose(np.exp(-combined(CauchyCombiner())), stats.cauchy.sf(total), rtol=1e-9)


@pytest.mark.parametrize("combiner", [StoufferCombiner(), CauchyCombiner()])
def test_a_silent_statistic_does_not_outweigh_one_that_tells(combiner: Any) -> None:
    odd, usual = combiner.fit(P).combine(np.array([[1e-6, 1.0, 0.5, 0.5], [0.4, 0.4, 0.4, 0.4]]))
    assert odd > usual


def test_buckets_lie_between_the_average_and_the_maximum() -> None:
    x = -np.log(P)
    np.testing.assert_allclose(combined(BucketCombiner(rule="aom", buckets=1)), x.max(1))
    np.testing.assert_allclose(combined(BucketCombiner(rule="moa", buckets=1)), x.mean(1))
    for rule in ("aom", "moa"):
        found = combined(BucketCombiner(rule=rule, buckets=3))  # type: ignore[arg-type]
        assert (found <= x.max(1) + 1e-12).all() and (found >= x.mean(1) - 1e-12).all()


def test_mean_rank() -> None:
    np.testing.assert_allclose(combined(MeanRankCombiner()), 1 - P.mean(1))


def planted() -> tuple[Any, Any]:
    """Return p-values of which three of five statistics see the same 20 items, and these items."""
    rng = np.random.default_rng(1)
    found, odd = rng.uniform(1e-3, 1, (400, 5)), np.arange(400) < 20
    found[:20, :3] *= 0.05
    return found, odd.astype(np.int64)


def test_agreement_finds_those_that_agree() -> None:
    found, _ = planted()
    weights = AgreementCombiner().fit(found).weights_
    assert weights.sum() == pytest.approx(1)
    assert weights[:3].min() > 5 * weights[3:].max()


def test_convex_weights_from_labels() -> None:
    found, y = planted()
    y[::7] = -1
    combiner = ConvexCombiner().fit(found[y == 0], found[y == 1])
    assert combiner.weights_.sum() == pytest.approx(1)
    assert (combiner.weights_ >= 0).all() and combiner.weights_[:3].sum() > 0.9
    np.testing.assert_allclose(ConvexCombiner().fit(found).weights_, 0.2)
