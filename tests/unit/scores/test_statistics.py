"""The bank against slow, plain references; and names that depend on the data's columns alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.scores.statistics import (
    BOTH,
    EventResiduals,
    Ragged,
    event_statistics,
    gap_evidence,
    kolmogorov_smirnov,
    lag_one,
    sequence_statistics,
    squared_spacings,
)

numbers = st.floats(-100, 100, allow_nan=False, width=32)
shares = st.floats(0.001, 0.999)


def test_a_scan_does_not_depend_on_what_else_was_scored() -> None:
    x = 5 * np.random.default_rng(0).normal(size=(100_000, 2))
    scan = Ragged(np.arange(len(x) + 1) * 2).scan(x.ravel())
    np.testing.assert_allclose(scan, np.maximum(x.max(axis=1), x.sum(axis=1)), rtol=0, atol=1e-8)


def ragged_of(parts: list[list[float]]) -> tuple[np.ndarray[Any, Any], Ragged]:
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return np.array([x for p in parts for x in p], np.float64), Ragged(offsets)


def largest_run(part: list[float]) -> float:
    if not part:
        return 0.0
    return max(sum(part[i:j]) for i in range(len(part)) for j in range(i + 1, len(part) + 1))


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(st.lists(numbers, max_size=9), min_size=1, max_size=7), k=st.integers(1, 6))
def test_reductions_equal_plain_loops(parts: list[list[float]], k: int) -> None:
    x, ragged = ragged_of(parts)
    plain = {
        "sum": [math.fsum(p) for p in parts],
        "mean": [math.fsum(p) / max(len(p), 1) for p in parts],
        "largest": [max(p, default=0.0) for p in parts],
        "top": [sum(sorted(p, reverse=True)[:k]) / max(min(len(p), k), 1) for p in parts],
        "scan": [largest_run(p) for p in parts],
    }
    found = {
        "sum": ragged.sum(x),
        "mean": ragged.mean(x),
        "largest": ragged.largest(x),
        "top": ragged.top_mean(x, k),
        "scan": ragged.scan(x),
    }
    for name, expected in plain.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(st.lists(shares, max_size=12), min_size=1, max_size=6))
def test_shapes_of_the_transform_equal_plain_loops(parts: list[list[float]]) -> None:
    u, ragged = ragged_of(parts)
    np.testing.assert_allclose(kolmogorov_smirnov(u, ragged), [plain_ks(p) for p in parts], atol=1e-9)
    np.testing.assert_allclose(lag_one(u, ragged), [plain_lag_one(p) for p in parts], atol=1e-6)
    np.testing.assert_allclose(squared_spacings(u, ragged), [plain_spacings(p) for p in parts], atol=1e-5)


def plain_ks(part: list[float]) -> float:
    n, distance = len(part), 0.0
    for i, u in enumerate(sorted(part)):
        distance = max(distance, (i + 1) / n - u, u - i / n)
    return math.sqrt(n) * distance


def plain_lag_one(part: list[float]) -> float:
    z = [NormalDist().inv_cdf(u) for u in part]
    products = sum(a * b for a, b in pairwise(z))
    return math.sqrt(len(z)) * products / max(sum(a * a for a in z), 1.0)


def plain_spacings(part: list[float]) -> float:
    if not part:
        return 2 * math.log(1e-6)
    tau = [-math.log(1 - u) for u in part]
    mean = sum(tau) / len(tau)
    share = sum(t * t for t in tau) / sum(tau) / mean
    return math.log(max(share, 1e-6)) + math.log(max(mean, 1e-6))


def test_subset_reduces_what_is_kept() -> None:
    x, ragged = ragged_of([[1, 2, 3], [], [4, 5]])
    kept = np.array([True, False, True, False, False])
    np.testing.assert_array_equal(ragged.subset(kept).sum(x[kept]), [4, 0, 0])


def residuals(lengths: list[int], seed: int = 0, **changes: Any) -> EventResiduals:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    T, N = int(offsets[-1]), len(lengths)
    pit = rng.uniform(size=T).astype(np.float32)
    pit[offsets[:-1][np.array(lengths) > 0]] = np.nan
    made = EventResiduals(
        surprisal_TF=rng.exponential(size=(T, 3)).astype(np.float32),
        expected_TF=rng.exponential(size=(T, 3)).astype(np.float32),
        tail_TF=rng.uniform(1e-6, 1, (T, 3)).astype(np.float32),
        upper_TG=np.zeros((T, 0), np.float32),
        gap_surprisal_T=np.nan_to_num(rng.normal(size=T) * ~np.isnan(pit)).astype(np.float32),
        gap_pit_T=pit,
        end_N=rng.exponential(size=N).astype(np.float32),
        contrast_T=rng.normal(size=T).astype(np.float32),
        embedding_ND=np.zeros((N, 2), np.float32),
        offsets=offsets,
        clock=np.array([False, True, False]),
    )
    return replace(made, **changes)


def one(found: EventResiduals, n: int) -> EventResiduals:
    begin, end = found.offsets[n], found.offsets[n + 1]
    flat = ("surprisal_TF", "expected_TF", "tail_TF", "upper_TG", "gap_surprisal_T", "gap_pit_T")
    cut: dict[str, Any] = {name: getattr(found, name)[begin:end] for name in flat}
    contrast = None if found.contrast_T is None else found.contrast_T[begin:end]
    return replace(found, **cut, contrast_T=contrast, end_N=found.end_N[n : n + 1], offsets=np.array([0, end - begin]))


@pytest.mark.parametrize("changes", [{}, {"closed": False}, {"timed": False}, {"contrast_T": None}])
def test_names_and_values_do_not_depend_on_the_batch(changes: dict[str, Any]) -> None:
    whole = residuals([4, 1, 9, 2], **changes)
    together = sequence_statistics(whole)
    assert np.isfinite(together.values).all()
    for n in range(4):
        alone = sequence_statistics(one(whole, n))
        assert alone.names == together.names and alone.tails == together.tails
        np.testing.assert_allclose(alone.values[0], together.values[n], rtol=1e-5, atol=1e-6)


def test_the_columns_say_what_exists() -> None:
    names = sequence_statistics(residuals([3, 2])).names
    assert {"mean", "largest", "top", "excess", "clock_mean", "gap_ks", "spacings", "lag_one"} < set(names)
    assert {"end", "length", "contrast", "contrast_scan"} < set(names)
    open_names = set(sequence_statistics(residuals([3, 2], closed=False)).names)
    assert set(names) - open_names == {"end", "length"}
    untimed = set(sequence_statistics(residuals([3, 2], timed=False)).names)
    assert set(names) - untimed == {"gap_mean", "gap_largest", "gap_ks", "spacings", "lag_one"}


def test_tails_follow_the_names() -> None:
    found = sequence_statistics(residuals([3, 2]))
    for name, tail in zip(found.names, found.tails, strict=True):
        assert tail == ("both" if name in BOTH else "upper")


def test_means_and_maxima_are_of_the_events_and_the_end() -> None:
    whole = residuals([4, 2])
    found = sequence_statistics(whole)
    column = {name: found.values[0, k] for k, name in enumerate(found.names)}
    event = whole.surprisal_TF[:4, [0, 2]].sum(1)
    with_end = [*event, whole.end_N[0]]
    assert column["mean"] == pytest.approx(np.mean(with_end), rel=1e-5)
    assert column["largest"] == pytest.approx(max(with_end), rel=1e-5)
    assert column["clock_mean"] == pytest.approx(whole.surprisal_TF[:4, 1].mean(), rel=1e-5)
    assert column["length"] == pytest.approx(np.log(5))
    assert column["gap_mean"] == pytest.approx(whole.gap_surprisal_T[1:4].mean(), rel=1e-5)
    assert column["contrast"] == pytest.approx(whole.contrast_T[:4].mean(), rel=1e-4)  # type: ignore[index]


def test_excess_is_zero_in_the_mean_where_the_model_is_right() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.7, 0.2, 0.1])
    drawn = rng.choice(3, size=4000, p=p)
    surprisal = -np.log(p[drawn])[:, None].astype(np.float32)
    entropy = np.full((4000, 1), -(p * np.log(p)).sum(), np.float32)
    made = residuals([4] * 1000, closed=False, timed=False, contrast_T=None)
    tails = np.full((4000, 1), 0.5, np.float32)
    right = replace(made, surprisal_TF=surprisal, expected_TF=entropy, tail_TF=tails, clock=np.array([False]))
    found = sequence_statistics(right)
    excess = found.values[:, found.names.index("excess")]
    assert abs(excess.mean()) < 0.1


def test_sequences_without_events_and_without_gaps_stay_finite() -> None:
    for lengths in ([0, 3], [1, 1], [0], [0, 0], [1]):
        found = sequence_statistics(residuals(lengths))
        assert found.values.shape == (len(lengths), len(found.names))
        assert np.isfinite(found.values).all(), lengths


def test_no_sequence_at_all() -> None:
    found = sequence_statistics(residuals([]))
    assert found.values.shape == (0, len(found.names))
    assert found.names == sequence_statistics(residuals([3])).names


def test_extreme_residuals_stay_finite() -> None:
    whole = residuals([3, 4])
    worst = replace(
        whole,
        surprisal_TF=np.full_like(whole.surprisal_TF, 1e30),
        tail_TF=np.full_like(whole.tail_TF, 1e-12),
        gap_pit_T=np.where(np.isnan(whole.gap_pit_T), np.nan, np.float32(1.0)),
        end_N=np.full_like(whole.end_N, 200.0),
    )
    assert np.isfinite(sequence_statistics(worst).values).all()
    assert np.isfinite(event_statistics(worst, ("a", "hour", "end", "gap")).values).all()


def test_evidence_of_a_gap_is_two_sided_and_none_where_there_is_none() -> None:
    pit = np.array([np.nan, 0.5, 0.01, 0.99, 0.0, 1.0], np.float32)
    evidence = gap_evidence(residuals([6], gap_pit_T=pit))
    np.testing.assert_allclose(evidence[:4], [0, 0, -np.log(0.02), -np.log(0.02)], atol=1e-4)
    assert np.isfinite(evidence).all() and evidence.dtype == np.float32


def test_event_statistics_have_a_column_per_field() -> None:
    whole = residuals([3, 2])
    found = event_statistics(whole, ("a", "hour", "end", "gap"))
    assert found.names == ("surprisal", "improbable", "field.a", "field.hour", "field.end", "gap", "contrast")
    np.testing.assert_allclose(found.values[:, 0], whole.surprisal_TF[:, [0, 2]].sum(1), rtol=1e-6)
    np.testing.assert_allclose(found.values[:, 2:5], whole.surprisal_TF, rtol=1e-6)


def test_large_and_small_numbers_are_told_apart() -> None:
    upper = np.array([[1e-5], [0.5], [1.0], [0.0], [0.9]], np.float32)
    found = event_statistics(residuals([3, 2], upper_TG=upper, ordered=("a",)), ("a", "hour", "end"))
    assert found.names == ("surprisal", "improbable", "field.hour", "field.end", "high.a", "low.a", "contrast")
    high, low = found.values[:, 4], found.values[:, 5]
    assert np.isfinite(found.values).all()
    assert high.argsort(kind="stable").tolist() == [2, 4, 1, 0, 3]
    assert high[0] == pytest.approx(-np.log(1e-5), rel=1e-3) and low[4] == pytest.approx(-np.log(0.1), rel=1e-3)


@pytest.mark.parametrize("closed", [True, False])
def test_clock_fields_alone_are_a_bank_too(closed: bool) -> None:
    whole = residuals([3, 2], clock=np.array([True, True, False]), closed=closed)
    assert np.isfinite(sequence_statistics(whole).values).all()
