import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anomaly.events.binning import MISSING, QuantileBins


def test_missing_zero_and_beyond_have_bins_of_their_own() -> None:
    sample = np.random.default_rng(0).lognormal(3, 1, 10_000).astype(np.float32)
    bins = QuantileBins().fit(np.append(sample, [0, np.nan]).astype(np.float32))
    probe = np.array([np.nan, -1, 0, sample.min(), np.median(sample), sample.max(), 1e9, np.inf], np.float32)
    codes = bins.transform(probe)
    assert codes[0] == MISSING
    assert codes[1] == MISSING + 1
    assert (np.diff(codes[1:]) >= 0).all()
    assert codes[6] == codes[7] == bins.size - 1 > codes[5]
    assert (bins.transform(sample) != codes[2]).all()
    assert bins.counts_.sum() == 10_002
    assert 30 <= bins.size <= 45


def test_the_tails_are_finer() -> None:
    sample = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    shares = np.sort(QuantileBins().fit(sample).counts_[MISSING:] / len(sample))
    shares = shares[shares > 0]
    assert shares.min() < 0.002 < 0.03 < shares.max()


def test_few_distinct_values_have_a_bin_each() -> None:
    values = np.array([-2, -1, 0, 1, 2, 5], np.float32)
    bins = QuantileBins().fit(np.repeat(values, 50))
    assert len(np.unique(bins.transform(values))) == 6
    assert [bins.text(int(c)) for c in bins.transform(np.array([0, np.nan, 9, -9], np.float32))] == [
        "0",
        "missing",
        "above 5",
        "below -2",
    ]


def test_heavy_tails_are_scaled_by_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    assert QuantileBins().fit(rng.normal(size=5000).astype(np.float32)).log_scale_ == 0
    heavy = rng.lognormal(3, 1.5, 5000).astype(np.float32)
    bins = QuantileBins().fit(heavy)
    assert bins.log_scale_ > 0
    scaled = bins.scale(heavy)
    assert abs(np.median(scaled)) < 0.05
    assert 0.5 < scaled.std() < 2


@pytest.mark.parametrize("sample", [[], [np.nan], [3.0], [0.0, 0.0], [1e38, -1e38], [np.inf, 1.0]])
def test_degenerate_samples(sample: list[float]) -> None:
    bins = QuantileBins().fit(np.array(sample, np.float32))
    probe = np.array([np.nan, 0, 3, -np.inf, np.inf], np.float32)
    assert np.isfinite(bins.scale(probe)).all()
    assert (bins.transform(probe) < bins.size).all()


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(width=32, allow_nan=True)))
def test_codes_rise_with_values_and_fit_their_intervals(sample: np.ndarray) -> None:
    bins = QuantileBins().fit(sample)
    codes = bins.transform(sample)
    known = ~np.isnan(sample)
    order = np.argsort(sample[known])
    assert (np.diff(codes[known][order]) >= 0).all()
    assert (codes[~known] == MISSING).all()
    for code, value in zip(codes[known], sample[known], strict=True):
        low, high = bins.interval(int(code))
        assert low <= value and (value < high or np.isinf(value))
    assert np.abs(bins.scale(sample)).max() <= 8
