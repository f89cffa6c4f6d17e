"""Silence and its end, for any times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.events.times import NO_TIME
from anomaly.sequences.gaps import final_silence, measure_gaps

TIMES = st.lists(st.one_of(st.just(NO_TIME), st.integers(-(2**50), 2**50)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=30)
@given(TIMES, st.integers(-(2**50), 2**50), st.integers(1, 5), st.booleans())
def test_silence_lasts_from_the_newest_known_time(times: list[int], until: int, size: int, goes_on: bool) -> None:
    time = np.array(times)
    offsets = np.append(np.arange(0, len(time), size), len(time))
    silence = final_silence(time, offsets, np.full(len(offsets) - 1, goes_on), until)
    for n, (a, b) in enumerate(pairwise(offsets)):
        known = [t for t in times[a:b] if t != NO_TIME]
        expected = max(until - max(known), 0) * 1e-6 if known and not goes_on else 0.0
        assert silence[n] == np.float32(expected)


@settings(deadline=None, max_examples=30)
@given(TIMES)
def test_gaps_are_never_negative(times: list[int]) -> None:
    found = measure_gaps(np.array(times), np.array([0, len(times)]))
    assert found.delta[0] == 0 and not (found.delta < 0).any()
    assert (found.time != NO_TIME).all()
