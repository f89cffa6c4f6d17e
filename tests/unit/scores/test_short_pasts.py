"""First events: never held out, and judged by held-out and by learnt ones."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly.base import Statistics
from anomaly.scores.calibration import ShortPasts, SplitConformal, hardly_any

N = 2_000


def _column(x: np.ndarray) -> Statistics:
    return Statistics(x[:, None], ("s",))


def _fitted(learnt_mean: float) -> tuple[ShortPasts, np.random.Generator]:
    """Return a calibrator of held-out events at places 10 to 50, mean 0, and of learnt first ones."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, N), rng.normal(learnt_mean, 1, N)])
    places = np.concatenate([rng.integers(10, 50, N), np.ones(N, np.int64)])
    return ShortPasts(calibrator=SplitConformal()).fit(_column(values), places, np.arange(2 * N) >= N), rng


def test_first_events_that_are_all_unlike_later_ones_are_not_odd_for_that() -> None:
    calibrator, rng = _fitted(learnt_mean=4.0)
    p = calibrator.p_values(_column(rng.normal(4, 1, N)), np.ones(N, np.int64))
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_learnt_events_that_the_members_know_do_not_make_new_ones_odd() -> None:
    calibrator, rng = _fitted(learnt_mean=-4.0)
    p = calibrator.p_values(_column(rng.normal(0, 1, N)), np.ones(N, np.int64))
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("learnt_mean", [-4.0, 4.0])
def test_events_with_a_past_are_judged_by_held_out_ones_alone(learnt_mean: float) -> None:
    calibrator, rng = _fitted(learnt_mean)
    x, places = _column(rng.normal(0, 1, N)), rng.integers(10, 50, N)
    assert np.array_equal(calibrator.p_values(x, places), calibrator.held_out_.p_values(x, places))


def test_too_few_learnt_events_judge_nothing() -> None:
    rng = np.random.default_rng(0)
    calibrator = ShortPasts(calibrator=SplitConformal()).fit(
        _column(rng.normal(size=110)), np.r_[np.full(100, 20), np.ones(10, np.int64)], np.arange(110) >= 100
    )
    assert calibrator.learnt_ is None
    assert calibrator.p_values(_column(np.zeros(1)), np.ones(1, np.int64))[0, 0] > 0.1


def test_a_place_is_short_where_hardly_any_other_lies_in_its_bucket() -> None:
    others = np.concatenate([np.full(18, 3), np.full(19, 10)])
    assert hardly_any(np.array([1, 2, 4, 5, 16, 17]), others).tolist() == [True, True, True, False, False, True]
