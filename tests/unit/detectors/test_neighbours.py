"""Nearest neighbours: those of scikit-learn where all rows are compared, nearly all of them where there are many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import neighbors

from anomaly.artifact import codec
from anomaly.detectors.neighbours import LocalOutlierFactor, NearestDistance, Neighbours, _smallest
from anomaly.errors import DataError


def rows(n: int, k: int = 16, seed: int = 0) -> Any:
    """Return rows of which a third of the columns can be told from the rest."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(k // 3 + 1, k))
    return (rng.normal(size=(n, k // 3 + 1)) @ mix + 0.3 * rng.normal(size=(n, k))).astype(np.float32)


@pytest.mark.parametrize("n", [3, 100, 128, 129, 3_000])
def test_all_rows_compared_are_the_neighbours_of_scikit_learn(n: int) -> None:
    X, new, k = rows(n), rows(50, seed=1), min(20, n - 1)
    theirs, ours = neighbors.NearestNeighbors(n_neighbors=k).fit(X), Neighbours().fit(X)
    for found, expected in ((ours.of_fitted(k), theirs.kneighbors()), (ours.of(new, k), theirs.kneighbors(new))):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        assert (found[1] == expected[1]).mean() > 0.999
    np.testing.assert_allclose(ours.rows(), X, atol=1e-5)


@pytest.mark.parametrize("n", [21, 2_000])
def test_factors_are_those_of_scikit_learn(n: int) -> None:
    X, new = rows(n), rows(60, seed=1)
    new[:5] *= 4
    theirs = neighbors.LocalOutlierFactor(n_neighbors=20, novelty=True).fit(X)
    ours = LocalOutlierFactor(n_neighbors=20).fit(X)
    np.testing.assert_allclose(ours.decision_scores_, -theirs.negative_outlier_factor_, rtol=1e-5)
    np.testing.assert_allclose(ours.decision_function(new), -theirs.score_samples(new), rtol=1e-5)


def test_of_many_rows_nearly_all_neighbours_are_found() -> None:
    X, new = rows(12_000), rows(400, seed=1)
    ours = Neighbours().fit(X)
    expected, place = neighbors.NearestNeighbors(n_neighbors=20, algorithm="brute").fit(X).kneighbors(new)
    distance, found = ours.of(new, 20)
    assert np.mean([np.isin(*pair).mean() for pair in zip(place, found, strict=True)]) > 0.95
    assert (distance >= expected * (1 - 1e-5)).all() and (distance / expected).mean() < 1.01
    np.testing.assert_allclose(distance, np.linalg.norm(new[:, None] - X[found], axis=2), rtol=1e-5)
    itself = ours.of_fitted(20)[1] == np.arange(len(X))[:, None]
    assert not itself.any()


@pytest.mark.parametrize("exact", [0, 10_000])
def test_a_row_has_the_same_neighbours_alone_and_in_company(exact: int) -> None:
    ours, new = Neighbours(exact=exact, probes=4).fit(rows(4_000)), rows(100, seed=1)
    distance, place = ours.of(new, 10)
    alone = [ours.of(row[None], 10) for row in new]
    np.testing.assert_array_equal(np.concatenate([found for _, found in alone]), place)
    np.testing.assert_array_equal(np.concatenate([far for far, _ in alone]), distance)


def test_copies_have_finite_scores() -> None:
    X = rows(2_000)
    X[:1_500] = X[0]
    distance, place = Neighbours(exact=0, probes=2).fit(X).of_fitted(20)
    assert np.isfinite(distance).all() and (place != np.arange(2_000)[:, None]).all()
    for detector in (LocalOutlierFactor().fit(X), NearestDistance().fit(X)):
        assert np.isfinite(detector.decision_scores_).all()
        assert np.isfinite(detector.decision_function(X[:3])).all()
    assert LocalOutlierFactor().fit(np.zeros((50, 3))).decision_scores_ == pytest.approx(1)


@pytest.mark.parametrize(("method", "summary"), [("largest", np.max), ("mean", np.mean), ("median", np.median)])
def test_distances_are_summed_up_as_named(method: Any, summary: Any) -> None:
    X = rows(300)
    distance = neighbors.NearestNeighbors(n_neighbors=5).fit(X).kneighbors()[0]
    found = NearestDistance(method=method).fit(X).decision_scores_
    np.testing.assert_allclose(found, summary(distance, axis=1), rtol=1e-5)


def test_more_neighbours_than_the_nearest_cells_hold() -> None:
    X = rows(1_500)
    distance, place = Neighbours(exact=0, probes=1).fit(X).of(X[:10], 700)
    assert np.isfinite(distance).all()
    assert all(len(set(line)) == 700 for line in place.tolist())
    with pytest.raises(DataError, match="1501 neighbours among 1500 rows"):
        Neighbours().fit(X).of(X[:1], 1_501)


def test_kept_and_loaded(tmp_path: Any) -> None:
    ours, new = LocalOutlierFactor().fit(rows(500)), rows(20, seed=1)
    codec.dump(ours, tmp_path / "object")
    np.testing.assert_array_equal(codec.load(tmp_path / "object").decision_function(new), ours.decision_function(new))


@pytest.mark.parametrize("values", [4, 1_000])
@pytest.mark.parametrize("k", [1, 5, 24])
def test_the_smallest_are_found_among_ties_infinities_and_nan(values: int, k: int) -> None:
    rng = np.random.default_rng(k)
    far = rng.integers(0, values, (50, 390)).astype(np.float32)
    far[rng.random(far.shape) < 0.1] = np.inf
    far[0], far[1] = np.nan, np.inf
    far[2, 3:] = np.nan
    found = _smallest(far, k)
    assert found.shape == (50, k) and all(len(set(row)) == k for row in found.tolist())
    np.testing.assert_array_equal(np.sort(np.take_along_axis(far, found, 1), 1), np.sort(far, axis=1)[:, :k])


def test_what_is_fitted_anew_forgets_the_rows_before() -> None:
    ours = Neighbours().fit(rows(300))
    ours.of(rows(5, seed=2), 3)
    again, fresh = ours.fit(rows(200, seed=3)), Neighbours().fit(rows(200, seed=3))
    np.testing.assert_array_equal(again.of(rows(5, seed=2), 3)[1], fresh.of(rows(5, seed=2), 3)[1])
