"""Who has been silent for longer than usual, judged by its own gaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from anomaly.detectors.silence import SilenceDetector, _evidence
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

DAY = 86_400.0


def histories(gaps: list[list[float]], silence: list[float] | None) -> SequenceStore:
    """Return one sequence per list of gaps between its events."""
    lengths = [len(g) + 1 for g in gaps]
    delta = np.concatenate([[0.0, *g] for g in gaps]).astype(np.float32)
    codes = np.full(sum(lengths), FIRST_VALUE)
    store = SequenceStore.from_codes(codes, lengths, delta=delta, closed=False)
    return replace(store, silence=None if silence is None else np.array(silence, np.float32))


def visits(pauses: list[list[float]], silence: float) -> SequenceStore:
    """Return the visits of entities, one event each, with the pauses before them; the last one stays the last."""
    pause = np.concatenate([[np.nan, *p] for p in pauses]).astype(np.float32)
    counts = np.array([len(p) + 1 for p in pauses])
    entity = np.repeat(np.arange(len(pauses)) + 1, counts).astype(np.int32)
    ends = np.zeros(len(pause), np.float32)
    ends[np.cumsum(counts) - 1] = silence
    codes = np.full(len(pause), FIRST_VALUE)
    store = SequenceStore.from_codes(codes, np.ones(len(pause), int), delta=np.zeros(len(pause), np.float32))
    return replace(store, pause=pause, silence=ends, entity=entity, n_entities=len(pauses) + 1)


@pytest.mark.parametrize("silence", [0.0, 2.0, 5.0, 7.0])
def test_the_probability_is_that_of_the_rest_of_a_gap(silence: float) -> None:
    mean, spread = 3.0, 1.5

    def left(log_gap: float) -> float:
        return float(norm.pdf(log_gap, mean, spread) * max(1 - np.exp(silence - log_gap), 0.0))

    expected = -np.log(quad(left, silence, mean + 12 * spread)[0])
    found = _evidence(np.array([silence]), np.array([mean]), np.array([spread]))
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_longer_silences_are_odder_however_long() -> None:
    silence = np.linspace(-40, 60, 400)
    evidence = _evidence(silence, np.full(400, 3.0), np.full(400, 0.5))
    assert np.isfinite(evidence).all() and evidence[0] == pytest.approx(0, abs=1e-6)
    assert (np.diff(evidence) >= 0).all() and (np.diff(evidence[-200:]) > 0).all()


def test_a_week_is_long_for_whoever_comes_daily_and_short_for_whoever_comes_monthly() -> None:
    rng = np.random.default_rng(0)
    often, seldom = [list(rng.lognormal(np.log(d * DAY), 0.3, 30)) for d in (1, 30)]
    store = visits([often, seldom], 7 * DAY)
    for made in (store, histories([often, seldom], [7 * DAY, 7 * DAY])):
        score = SilenceDetector().fit(made).decision_function(made)
        last = np.flatnonzero(np.asarray(made.silence) > 0)
        assert score[last[0]] > 2 and score[last[1]] < 0.5
        assert (np.delete(score, last) == 0).all()


def test_the_clicks_within_a_visit_do_not_make_a_night_long() -> None:
    gaps = [[5.0] * 20 + [DAY] + [3.0] * 20 + [DAY, 4.0] for _ in range(20)]
    made = histories(gaps, [0.5 * DAY] * 19 + [20 * DAY])
    score = SilenceDetector().fit(made).decision_function(made)
    assert score[0] < 1.5 and score[-1] > 4


def test_an_entity_that_is_not_known_is_judged_by_the_crowd() -> None:
    rng = np.random.default_rng(0)
    fitted = SilenceDetector().fit(visits([list(rng.lognormal(np.log(DAY), 0.5, 10)) for _ in range(20)], DAY))
    new = replace(visits([[DAY], [DAY]], 9 * DAY), entity=np.array([0, 0, 30, 30], np.int32))
    score = fitted.decision_function(new)
    assert score[1] == score[3] > 1


def test_without_a_stated_end_there_is_no_statistic() -> None:
    made = histories([[DAY, DAY]] * 20, None)
    fitted = SilenceDetector().fit(made)
    assert fitted.statistics(made).names == () and (fitted.decision_function(made) == 0).all()
    stated = replace(made, silence=np.full(20, 9 * DAY, np.float32))
    assert SilenceDetector().fit(stated).statistics(made).values.tolist() == [[0.0]] * 20
    assert fitted.statistics(stated).names == ()


def test_without_gaps_there_is_no_statistic() -> None:
    made: Any = histories([[]] * 20, [DAY] * 20)
    assert SilenceDetector().fit(made).statistics(made).names == ()


def test_events_at_one_instant_are_one() -> None:
    made = histories([[DAY, 0.0, 0.0, DAY * 2], [DAY, DAY * 2]], [3 * DAY] * 2)
    score = SilenceDetector().fit(made).decision_function(made)
    assert score[0] == score[1]


def test_ids_do_not_matter() -> None:
    made = histories([[DAY, DAY]] * 4, [DAY] * 4)
    named = replace(made, sequence_ids=pl.Series(["a", "b", "c", "d"]))
    assert (
        SilenceDetector().fit(named).decision_scores_.tolist() == SilenceDetector().fit(made).decision_scores_.tolist()
    )
