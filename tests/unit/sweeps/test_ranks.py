from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare
from scipy.stats import rankdata as ranked

from anomaly.sweeps.ranks import groups, holm, mean_interval, rank, signed_rank


def test_ranks_share_ties_and_a_missing_figure_is_last() -> None:
    found = rank(np.array([[0.9, 0.9, 0.1], [0.5, np.nan, 0.4]]))
    assert found.mean.tolist() == [1.25, 2.25, 2.5]


def test_a_clear_order_is_significant_and_equal_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    figures = rng.normal(size=(40, 4)) * 0.01 + np.array([0.9, 0.5, 0.5, 0.1])
    found = rank(figures)
    assert found.friedman == pytest.approx(friedmanchisquare(*ranked(-figures, axis=1).T).pvalue)
    assert found.friedman is not None and found.friedman < 1e-6
    # Demsar (2006), table 5: q at 5% for four competitors is 2.569.
    assert found.distance == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 40)), rel=1e-3)
    assert found.apart is not None and found.apart[0, 3] < 0.001 < 0.05 < found.apart[1, 2]
    assert groups(found.mean, found.apart) == [(1, 2)]


def test_too_little_is_no_test() -> None:
    assert rank(np.array([[0.1, 0.2]])).friedman is None
    assert rank(np.full((5, 3), 0.5)).friedman is None
    assert rank(np.zeros((0, 3))).mean.shape == (3,)
    assert signed_rank(np.array([1.0, 2]), np.array([0.0, 1])) is None


def test_wilcoxon_reads_the_sets_that_both_have() -> None:
    figures, others = np.linspace(0.5, 0.9, 12), np.linspace(0.4, 0.8, 12)
    others[3] = np.nan
    p = signed_rank(figures, others)
    assert p is not None and p < 0.01
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]


def test_the_interval_of_a_mean_holds_it() -> None:
    mean, low, high = mean_interval(np.array([0.2, 0.4, np.nan, 0.9]))
    assert mean == pytest.approx(0.5) and 0.2 <= low < mean < high <= 0.9
    assert np.isnan(mean_interval(np.array([np.nan]))).all()
