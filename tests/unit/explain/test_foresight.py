from dataclasses import replace

import numpy as np
import pytest

from anomaly.detectors.neural import NeuralDetector
from anomaly.explain import foresight as module
from anomaly.explain.deletion import without
from anomaly.explain.foresight import Foresight


@pytest.fixture(scope="module")
def parts(explainer, fitted, odd):
    return explainer.split(fitted[1], odd)


def lost(store, place):
    """Return the sequence of an event without it."""
    kept = np.ones(store.n_events, bool)
    kept[place] = False
    return without(store, kept).take([store.sequence_of_event()[place]])


def test_what_is_not_asked_is_not_told(fitted, parts):
    asked = np.zeros(parts.store.n_events, bool)
    asked[::3] = True
    found = Foresight(fitted[0], parts).falls(asked, ~asked & False)
    np.testing.assert_array_equal(np.isnan(found), ~asked)


def test_a_far_sight_and_members_of_which_none_stands_still_foresee_all(fitted, parts, monkeypatch):
    ensemble, _, _ = fitted
    monkeypatch.setattr(module, "AFTER", 1000)
    monkeypatch.setattr(module, "LEAST_WEIGHT", 0.0)
    foresight = Foresight(ensemble, parts)
    # The embedding stands still all the same, and what tables are made of with it.
    monkeypatch.setattr(foresight, "table_members", {})
    rows = np.flatnonzero(parts.store.lengths > 2)
    places = parts.store.offsets[rows] + 1
    copies = module._Copies.of(foresight.store, rows, places, np.zeros(parts.store.n_events, bool))
    found = foresight._statistics(copies)
    for n, place in enumerate(places):
        left = lost(parts.store, place)
        for name, member in ensemble.bank_.event_members_.items():
            values = member.analyse(left).statistics.values[0]
            np.testing.assert_allclose(found[name].values[n], values, rtol=1e-3, atol=1e-3)


def test_what_went_before_is_seen_as_it_was(fitted, parts):
    bank = fitted[0].bank_
    member = next(m for m in bank.event_members_.values() if isinstance(m, NeuralDetector))
    assert member.open
    X = parts.store.take(parts.store.lengths > 1)
    # The events after the first go on from the state before the second: as if nothing had been left out.
    kept = X.position() > 0
    Z = replace(X.keep_events(kept), context=np.zeros(len(X), np.int64))
    states = [member.states(X, population=population)[X.offsets[:-1] + 1] for population in (False, True)]
    found, whole = member.residuals_from(Z, *states), member.residuals(X)
    np.testing.assert_allclose(found.surprisal_TF, whole.surprisal_TF[kept], atol=1e-4)
    np.testing.assert_allclose(found.contrast_T, whole.contrast_T[kept], atol=1e-4)


def test_where_nothing_is_asked_nothing_is_foreseen(fitted, parts):
    none = np.zeros(parts.store.n_events, bool)
    assert np.isnan(Foresight(fitted[0], parts).falls(none, none)).all()
    assert len(Foresight(fitted[0], parts.take(np.zeros(0, np.int64))).falls(none[:0], none[:0])) == 0


def test_copies_are_read_a_few_at_a_time_with_the_same_outcome(fitted, parts, monkeypatch):
    asked, none = np.ones(parts.store.n_events, bool), np.zeros(parts.store.n_events, bool)
    together = Foresight(fitted[0], parts).falls(asked, none)
    monkeypatch.setattr(module, "_BLOCK", 100)
    np.testing.assert_allclose(Foresight(fitted[0], parts).falls(asked, none), together, rtol=1e-3, atol=1e-3)
