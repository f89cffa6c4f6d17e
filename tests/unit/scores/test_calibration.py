"""Conformal p-values: valid where they are ranks, ordered without end beyond the largest reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, kstest

from anomaly.base import Statistics
from anomaly.scores.calibration import LARGEST_SHAPE, SplitConformal, length_edges, pareto_tail, upper_p, with_tail

Floats = np.ndarray[Any, np.dtype[np.float64]]


def column(x: Any, tail: Any = "upper") -> Statistics:
    return Statistics(np.asarray(x, np.float64)[:, None], ("x",), (tail,))


def p_of(reference: Any, x: Any, tail: Any = "upper", **options: Any) -> Floats:
    fitted = SplitConformal(**options).fit(column(reference, tail), np.ones(len(reference), np.int64))
    return fitted.p_values(column(x, tail), np.ones(len(x), np.int64))[:, 0]


@pytest.mark.parametrize("tail", ["upper", "both"])
@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
def test_exchangeable_data_yield_uniform_p_values(tail: str, draw: str) -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([p_of(*(getattr(rng, draw)(size=(2, 400))), tail) for _ in range(20)])
    assert kstest(p, "uniform").statistic < 0.04


def test_validity_within_the_reference() -> None:
    rng = np.random.default_rng(1)
    found = np.concatenate([p_of(*rng.gamma(2.0, size=(2, 99))) for _ in range(200)])
    for level in (0.05, 0.1, 0.3):
        assert (found <= level).mean() < level + 0.012


def test_within_the_bulk_it_is_the_conformal_rank() -> None:
    reference = np.arange(100.0)
    x = np.array([-5.0, 0.0, 10.5, 50.0])
    np.testing.assert_allclose(p_of(reference, x), [1.0, 1.0, 90 / 101, 51 / 101])


def test_the_top_is_ranked_without_ties() -> None:
    rng = np.random.default_rng(2)
    for reference in (rng.normal(size=300), rng.exponential(size=300), rng.standard_cauchy(300), rng.uniform(size=300)):
        span = reference.max() - reference.min()
        beyond = reference.max() + span * np.geomspace(1e-3, 5, 60)
        p = p_of(reference, beyond)
        assert (np.diff(p) < 0).all()
        assert p[0] < 3 / 301


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 80), ties=st.booleans(), tail=st.sampled_from(["upper", "both"]))
def test_p_values_are_in_0_1_and_monotone(seed: int, n: int, ties: bool, tail: str) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=n)
    reference = np.round(reference) if ties else reference
    x = np.concatenate([[-1e300, -1e30], np.linspace(-6, 6, 50), [1e6, 1e30, 1e300]])
    p = p_of(reference, x, tail)
    assert np.isfinite(p).all() and ((p > 0) & (p <= 1)).all()
    if tail == "upper":
        assert (np.diff(p) <= 1e-12).all()
    else:
        top = p.argmax()
        assert (np.diff(p[:top]) >= -1e-12).all() and (np.diff(p[top:])[p[top:-1] < 1] <= 1e-12).all()


def test_both_tails_are_odd_only_where_asked() -> None:
    reference = np.random.default_rng(3).normal(size=500)
    low = np.array([-8.0])
    assert p_of(reference, low)[0] == 1.0
    assert p_of(reference, low, "both")[0] < 0.005
    high = np.array([3.5])
    assert p_of(reference, high, "both")[0] == pytest.approx(2 * p_of(reference, high)[0])
    assert p_of(reference, np.array([0.0]), "both")[0] > 0.8


@pytest.mark.parametrize("value", [0.0, 7.0, -1e9, 1e30])
def test_a_constant_reference(value: float) -> None:
    with np.errstate(over="raise"):
        steps = [0.0, 1e-15, 1e-3, 1.0]
        p = p_of(np.full(50, value), [value + step * (1 + abs(value)) for step in steps])
    assert p[0] == p[1] == 1.0, "what differs by rounding is the same"
    assert p[2] <= 1 / 51 + 1e-12 and p[3] <= p[2]
    low = p_of(np.full(50, value), [value - abs(value) - 1], "both")
    assert low[0] <= 2 / 51 + 1e-12


def test_rounding_lifts_nothing_out_of_a_tie() -> None:
    reference = np.concatenate([np.ones(955), np.linspace(2, 3, 45)])
    p = p_of(reference, [1.0, 1.0 + 1e-12, 1.0 + 1e-9, 2.0])
    np.testing.assert_allclose(p[:3], 1.0)
    assert p[3] < 0.06


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_tiny_reference(n: int) -> None:
    p = p_of(np.arange(float(n)), [-1.0, n - 1.0, n + 0.5, 1e12])
    assert p[0] == 1.0
    assert ((p > 0) & (p <= 1)).all() and (np.diff(p) <= 0).all()


@pytest.mark.parametrize("n", [4, 8, 30, 100])
def test_a_small_reference_claims_no_more_than_it_knows(n: int) -> None:
    rng = np.random.default_rng(5)
    p = np.concatenate([p_of(*np.split(rng.exponential(size=n + 200), [n])) for _ in range(500)])
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() < 1.6 * level, level


def test_no_reference_claims_nothing() -> None:
    assert p_of([], [3.0])[0] == 1.0


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 100_000), min_size=1, max_size=300),
    smallest=st.integers(1, 60),
)
def test_every_bucket_is_large_enough(lengths: list[int], smallest: int) -> None:
    values = np.array(lengths, np.int64)
    edges = length_edges(values, smallest)
    assert (np.diff(edges) > 0).all() and set(edges) <= set(4 ** np.arange(1, 16))
    sizes = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    if len(values) >= smallest:
        assert sizes.min() >= smallest
    else:
        assert len(edges) == 0


def test_a_length_is_judged_among_its_like() -> None:
    lengths = np.repeat([2, 300], 100)
    values = np.concatenate([np.random.default_rng(4).normal(size=100), np.random.default_rng(5).normal(50, 1, 100)])
    fitted = SplitConformal(smallest_bucket=50).fit(column(values), lengths)
    p = fitted.p_values(column([50.0, 50.0, 50.0]), np.array([2, 300, 10**7]))[:, 0]
    assert p[0] < 0.01 < 0.1 < p[1] == p[2]


def test_the_tail_fit_finds_a_known_tail() -> None:
    for shape in (0.0, 0.2, 0.4):
        reference = np.sort(genpareto(shape, scale=2.0).rvs(size=20_000, random_state=6))
        threshold, p, scale, found = pareto_tail(reference, 2000)
        # Beyond a threshold a generalised Pareto keeps its shape, and its scale grows by shape times threshold.
        assert found == pytest.approx(shape, abs=0.08)
        assert scale == pytest.approx(2.0 + shape * threshold, rel=0.12)
        assert p == pytest.approx(0.1, abs=0.001)


def test_heavy_and_bounded_tails_stay_within_limits() -> None:
    rng = np.random.default_rng(7)
    heavy = pareto_tail(np.sort(np.abs(rng.standard_cauchy(5000)) ** 2), 250)
    bounded = pareto_tail(np.sort(rng.uniform(size=5000)), 250)
    assert heavy[3] == LARGEST_SHAPE
    assert bounded[3] == 0.0 and bounded[2] > 0


def test_columns_do_not_mix() -> None:
    rng = np.random.default_rng(8)
    both = Statistics(rng.normal(size=(200, 2)) * [1, 100], ("a", "b"), ("upper", "both"))
    ones = np.ones(200, np.int64)
    found = SplitConformal().fit(both, ones).p_values(both, ones)
    for k in range(2):
        np.testing.assert_array_equal(found[:, k], p_of(both.values[:, k], both.values[:, k], both.tails[k]))


def test_a_little_beyond_what_many_share_is_as_usual_as_they() -> None:
    reference = np.repeat([0.9, 1.0, 1.1], 200)
    p = upper_p(np.array([1.1, 1.1008, 1.2, 9.0]), *with_tail(reference))
    assert p[1] == pytest.approx(p[0], rel=0.02)
    assert 0.05 < p[2] < p[1]
    assert p[3] == pytest.approx(1 / 601)
