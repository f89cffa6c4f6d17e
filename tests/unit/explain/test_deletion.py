import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema
from anomaly.explain.deletion import SHARES, delete
from anomaly.explain.rankings import alike_together
from anomaly.scores.statistics import Ragged
from anomaly.sequences.build import build_store

TRIES = (5, 3)


def store_of(*sequences):
    """Return a store of sequences of letters."""
    rows = [(f"s{n:03d}", letter, k) for n, letters in enumerate(sequences) for k, letter in enumerate(letters)]
    frame = pl.DataFrame(rows, schema=["who", "what", "time"], orient="row")
    schema = EventSchema(entity="who", sequence="who", time="time", id=None, categorical=("what",), numeric=None)
    return build_store(EventSource.from_frame(frame, "letters"), schema).store


def counted(reduce, weight_of):
    """Return a score of sequences by what their events weigh, and how many copies it was asked for."""
    asked = []

    def score(X):
        asked.append(len(X))
        return reduce(Ragged(X.offsets), weight_of(np.asarray(X.codes)[:, 0]))

    return score, asked


def search(X, score, rankings, tries=TRIES):
    return delete(score, X, score(X), lambda *_: rankings, tries)


def test_of_two_that_hide_behind_each_other_both_are_taken_out():
    X = store_of("abcdeXfXgh")
    odd = np.asarray(X.codes)[5, 0]
    score, _ = counted(Ragged.largest, lambda code: (code == odd) * 3.0)
    # A largest value is carried by one event: without the other nothing falls, until that is gone.
    rank_T = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 1.0, 0.4, 0.0, 0.3, 0.2])

    def rankings(open_T, gone_T):
        assert not (open_T & gone_T).any()
        return [np.where((np.arange(10) == 7) & gone_T[5], 3.0, rank_T)]

    found = delete(score, X, score(X), rankings, TRIES)
    assert list(np.flatnonzero(found.step_T)) == [5, 7]


def test_what_no_ranking_puts_first_is_found_by_trying():
    X = store_of("abcdefghij")
    worst = np.asarray(X.codes)[4, 0]
    score, _ = counted(Ragged.sum, lambda code: (code == worst) * 2.0)
    found = search(X, score, [-np.arange(10.0)])
    assert found.step_T[4] == 1 and found.fall_T[4] == pytest.approx(2.0)
    assert np.isnan(found.fall_T[5:]).all() and (found.fall_T[:4] == 0).all()


def test_of_no_sequences_nothing_is_left_out():
    X = store_of("abc").take([])
    score, _ = counted(Ragged.sum, lambda code: np.ones(len(code)))
    found = search(X, score, [np.zeros(0), alike_together(X, np.zeros(0))])
    assert len(found.step_T) == len(found.fall_T) == len(found.order(np.zeros(0), Ragged(X.offsets))) == 0


def test_of_a_set_each_event_has_an_even_share():
    X = store_of("abcdefghijklmnopqrst")
    score, _ = counted(Ragged.sum, lambda code: np.ones(len(code)))
    found = search(X, score, [np.arange(20.0)], (1, 1))
    assert (found.fall_T[-2:] == 1.0).all() and np.isnan(found.fall_T[:-2]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcd", min_size=1, max_size=25), min_size=1, max_size=6), st.integers(0, 3))
def test_the_search_keeps_to_its_bounds(sequences, past):
    from dataclasses import replace

    X = store_of(*sequences)
    X = replace(X, context=np.minimum(past, X.lengths))
    rng = np.random.default_rng(0)
    weights = rng.normal(size=50)
    score, asked = counted(Ragged.sum, lambda code: weights[code])
    rank_T = rng.random(X.n_events)
    found = search(X, score, [rank_T, alike_together(X, rank_T)])
    told = X.lengths - X.context
    goal = np.minimum(np.maximum(np.ceil(SHARES[-1] * told), 1), np.maximum(told - 1, 0))
    gone = found.step_T > 0
    np.testing.assert_array_equal(Ragged(X.offsets).sum(gone.astype(float)), goal)
    assert not gone[X.position() < np.repeat(X.context, X.lengths)].any()
    assert sum(asked[1:]) <= sum(TRIES) * len(X)
    # Each sequence is searched by itself.
    last = X.take([len(X) - 1])
    part = rank_T[-last.n_events :]
    alone = search(last, score, [part, alike_together(last, part)])
    np.testing.assert_array_equal(alone.step_T, found.step_T[-last.n_events :])
    # What is taken out stands first.
    order = found.order(rank_T, Ragged(X.offsets))
    for start, stop in zip(X.offsets[:-1], X.offsets[1:], strict=True):
        steps = found.step_T[start:stop][np.argsort(-order[start:stop])]
        taken = steps[: int((steps > 0).sum())]
        assert (taken > 0).all() and (np.diff(taken) >= 0).all()


def test_like_events_stand_together_by_what_they_have_in_all():
    X = store_of("abacab", "ba")
    ranks = alike_together(X, np.array([1.0, 2.5, 1.0, 0.5, 1.0, 0.0, 1.0, 2.0]))
    letters = np.array(list("abacab"))[np.argsort(-ranks[:6])]
    assert "".join(letters) == "aaabbc"
    assert ranks[7] > ranks[6]
