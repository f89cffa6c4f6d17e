"""When people shop: the day, the hour, the time between two events. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.log import EVENTS, first_of_session
from anomaly.simulation.population import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.population import Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MARGIN = 0.25 * DAY
"""Sessions start no later than this before the end."""

_GAP = np.array([6.0, 12.0, 28.0, 20.0, 45.0, 30.0, 60.0, 90.0])
"""Median seconds before an event, by its code."""

assert len(_GAP) == len(EVENTS)


def draw_hours(population: Population, users: Ints, rng: np.random.Generator) -> Floats:
    """Return (N,) hours of day: mostly near the user's own, at times any waking hour, seldom any."""
    n, kind = len(users), rng.random(len(users))
    hours = population.peak[users] + 1.8 * rng.standard_normal(n)
    hours = np.where(kind < 0.2, 24 * rng.beta(4.5, 2.5, n), hours)
    return np.where(kind < 0.03, 24 * rng.random(n), hours) % 24


def draw_starts(
    population: Population, users: Ints, rng: np.random.Generator, earliest: Floats | None = None
) -> Floats:
    """Return (N,) seconds at which sessions of these users start, not before `earliest`."""
    low = population.joins[users] if earliest is None else np.maximum(population.joins[users], earliest)
    high = np.maximum(np.minimum(population.leaves[users], population.horizon - MARGIN), low)
    starts = low + rng.random(len(users)) * (high - low)
    open_ = np.arange(len(users))
    for _ in range(8):
        who = users[open_]
        days = np.floor((low[open_] + rng.random(len(who)) * (high[open_] - low[open_])) / DAY)
        tried = days * DAY + draw_hours(population, who, rng) * 3600
        weight = np.where((days + population.weekday) % 7 >= 5, population.weekend[who], 1.0)
        good = rng.random(len(who)) * np.maximum(population.weekend[who], 1.0) < weight
        good &= (tried >= low[open_]) & (tried <= high[open_])
        good &= (tried < population.away[who, 0]) | (tried >= population.away[who, 1])
        starts[open_[good]] = tried[good]
        open_ = open_[~good]
    return starts


def draw_gaps(session: Ints, event: Ints, pace: Floats, spread: Floats, rng: np.random.Generator) -> Floats:
    """Return (T,) seconds before each event, log-normal around the event's median times the session's pace."""
    gaps = _GAP[event] * pace[session] * np.exp(spread[session] * rng.standard_normal(len(session)))
    return np.maximum(gaps, 0.05)


def run_clock(session: Ints, start: Floats, gaps: Floats) -> Floats:
    """Return (T,) times: the session's start, then gap after gap."""
    first = first_of_session(session)
    total = np.cumsum(gaps)
    return start[session] + total - total[first]
