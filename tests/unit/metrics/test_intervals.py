import numpy as np
import pytest

from anomaly.metrics import auroc, average_precision, clopper_pearson, rank_curve, wilson
from anomaly.metrics.intervals import (
    MAX_CELLS,
    bootstrap_auroc,
    bootstrap_average_precision,
    precision_band,
    resample,
    roc_band,
)


def ranking(n=400, rate=0.2, shift=1.0, seed=0, digits=1):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < rate).astype(int)
    return labels, np.round(rng.normal(size=n) + shift * labels, digits)


def test_cells_lose_nothing():
    labels, scores = ranking()
    replicates = resample(rank_curve(labels, scores), n_bootstrap=2)
    areas = bootstrap_auroc(rank_curve(labels, scores), replicates)
    assert areas.value == auroc(labels, scores)
    assert replicates.found[-1] == labels.sum()
    assert replicates.alarms[-1] == (1 - labels).sum()
    assert (replicates.found_Bc[:, -1] == labels.sum()).all()


def test_agrees_with_a_row_by_row_bootstrap():
    labels, scores = ranking(n=300)
    got = resample(rank_curve(labels, scores), n_bootstrap=800)
    rng, rows = np.random.default_rng(1), [np.flatnonzero(labels == k) for k in (0, 1)]
    plain = []
    for _ in range(400):
        draw = np.concatenate([rng.choice(r, len(r)) for r in rows])
        plain.append((auroc(labels[draw], scores[draw]), average_precision(labels[draw], scores[draw])))
    low, high = np.quantile(plain, [0.025, 0.975], axis=0)
    curve = rank_curve(labels, scores)
    for k, interval in enumerate((bootstrap_auroc(curve, got), bootstrap_average_precision(curve, got))):
        assert interval.low == pytest.approx(low[k], abs=0.015)
        assert interval.high == pytest.approx(high[k], abs=0.015)


def test_seed_decides():
    curve = rank_curve(*ranking())
    one, two, other = (resample(curve, n_bootstrap=5, random_state=s).found_Bc for s in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        curve = rank_curve(*ranking(n=200, seed=seed, digits=6))
        interval = bootstrap_auroc(curve, resample(curve, n_bootstrap=200))
        hits += interval.low <= 0.7602 <= interval.high  # normal(1, 1) above normal(0, 1)
    assert 88 <= hits <= 100


def test_many_anomalies_are_resampled_in_coarser_cells():
    labels, scores = ranking(n=60_000, rate=0.5, digits=9)
    curve = rank_curve(labels, scores)
    replicates = resample(curve, n_bootstrap=20)
    interval = bootstrap_average_precision(curve, replicates)
    assert len(replicates.found) <= MAX_CELLS
    assert interval.value == average_precision(labels, scores)
    assert 0 < interval.high - interval.low < 0.03


def test_bands_hold_the_curve_and_end_where_curves_end():
    curve = rank_curve(*ranking())
    replicates, grid = resample(curve, n_bootstrap=200), np.linspace(0, 1, 21)
    roc, precision = roc_band(replicates, grid), precision_band(replicates, grid)
    assert roc.value[-1] == 1
    assert (np.diff(roc.value) >= 0).all()
    assert precision.value[-1] >= curve.n_anomalous / 400
    for band in (roc, precision):
        assert (band.low <= band.high).all()
        assert np.mean((band.low <= band.value) & (band.value <= band.high)) > 0.8


def test_rate_intervals_match_published_values():
    # Newcombe 1998, table I: 81 of 263.
    low, high = wilson(81, 263)
    assert (round(float(low), 4), round(float(high), 4)) == (0.2553, 0.3662)
    low, high = clopper_pearson(81, 263)
    assert (round(float(low), 4), round(float(high), 4)) == (0.2527, 0.3676)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_rate_intervals_at_the_ends(interval):
    low, high = interval([0, 5, 0], [5, 5, 0])
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert low[0] == pytest.approx(0)
    assert high[1] == pytest.approx(1)
    assert (low[2], high[2]) == (0, 1)
