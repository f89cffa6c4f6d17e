"""Honest sessions: shopping, and the returns and reviews that follow days later. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.clock import MARGIN, draw_hours, draw_starts
from anomaly.simulation.draft import flatten, mix, repeat
from anomaly.simulation.habits import dress, plan_sessions
from anomaly.simulation.log import BROWSE, CART, LOGIN, ORDER, PAY, RETURN, REVIEW, SEARCH, Log, first_of_session
from anomaly.simulation.population import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.population import Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_END = 5
_ACTIONS = np.array([LOGIN, SEARCH, BROWSE, CART, ORDER])
# From each event (row) on to login, search, browse, cart, order or the end; a payment is decided apart.
_NEXT = np.array(
    [
        [0.07, 0.31, 0.54, 0.02, 0.00, 0.06],
        [0.00, 0.20, 0.62, 0.05, 0.00, 0.13],
        [0.01, 0.12, 0.58, 0.12, 0.00, 0.17],
        [0.01, 0.08, 0.33, 0.13, 0.34, 0.13],
        [0.00, 0.05, 0.15, 0.00, 0.00, 0.80],
        [0.00, 0.06, 0.16, 0.00, 0.00, 0.78],
    ]
)
_PAYS = 0.95
_FAILS, _FAILS_AGAIN = 0.04, 0.35
"""Share of payments, first ones and repeated ones, that are tried once more."""
_LONGEST = 250


def draw_shopping(population: Population, n_sessions: int, rng: np.random.Generator) -> Log:
    """Draw sessions of shopping: more for active users, and for as long as a user stays."""
    stay = np.minimum(population.leaves, population.horizon) - population.joins
    weight = population.activity * np.maximum(stay, 0)
    users = np.repeat(np.arange(len(population)), rng.multinomial(n_sessions, weight / weight.sum()))
    plan = plan_sessions(population, users, draw_starts(population, users, rng), rng)
    session, event = _walk(population, users, rng)
    log = dress(plan, session, event, population, rng)
    return _spare_the_rule(_within(log, population))


def _walk(population: Population, users: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return session and code of every event of a chain that each user's tastes bend."""
    session = np.arange(len(users))
    state = np.where(
        rng.random(len(users)) < population.login[users], LOGIN, np.where(rng.random(len(users)) < 0.45, SEARCH, BROWSE)
    )
    retries = np.zeros(len(users), bool)
    sessions, states = [], []
    for _ in range(_LONGEST):
        sessions.append(session)
        states.append(state)
        following = _step(population, users[session], state, retries, rng)
        on = following >= 0
        retries = ((state == PAY) & (following == PAY))[on]
        session, state = session[on], following[on]
        if not len(session):
            break
    session = np.concatenate(sessions)
    order = np.argsort(session, kind="stable")
    return session[order], np.concatenate(states)[order]


def _step(
    population: Population, users: Ints, state: Ints, retries: NDArray[np.bool_], rng: np.random.Generator
) -> Ints:
    """Return the next codes, -1 at the end of a session."""
    cumulated = np.cumsum(_NEXT[state] * population.tastes[users], axis=1)
    drawn = (rng.random(len(users)) * cumulated[:, -1])[:, None] > cumulated[:, :-1]
    choice = drawn.sum(axis=1)
    following = np.where(choice == _END, -1, _ACTIONS[np.minimum(choice, 4)])
    luck = rng.random(len(users))
    following = np.where((state == ORDER) & (luck < _PAYS), PAY, following)
    failed = (state == PAY) & (luck < np.where(retries, _FAILS_AGAIN, _FAILS))
    following = np.where(failed, PAY, following)
    further = (state == PAY) & ~failed & (luck > 1 - population.again[users])
    return np.where(further, CART, following)


def _within(log: Log, population: Population) -> Log:
    return log.take(log.time < population.horizon - 1.0)


def _spare_the_rule(log: Log) -> Log:
    """Leave out honest orders, and their payments, that would be a third for one seller within an hour."""
    orders = np.flatnonzero(log.event == ORDER)
    place = orders[np.lexsort((log.time[orders], log.seller[orders], log.user[orders]))]
    third, before = place[2:], place[:-2]
    same = (log.user[third] == log.user[before]) & (log.seller[third] == log.seller[before])
    breaks = np.zeros(len(log), bool)
    breaks[third[same & (log.time[third] - log.time[before] < 3600)]] = True
    first = first_of_session(log.session)
    order = np.maximum.accumulate(np.where(log.event == ORDER, np.arange(len(log)), -1))
    paid = (log.event == PAY) & (order >= first) & breaks[order]
    return log.take(~(breaks | paid))


def draw_follow_ups(population: Population, orders: Log, rng: np.random.Generator) -> Log:
    """Draw the sessions in which orders are returned or reviewed."""
    parts = []
    for deed, share, median in ((RETURN, population.returns, 6.0), (REVIEW, population.reviews, 9.0)):
        chosen = orders.take(rng.random(len(orders)) < share[orders.user])
        parts.append(_follow(population, chosen, deed, median, rng))
    return Log.concat(parts)


def _follow(population: Population, orders: Log, deed: int, median: float, rng: np.random.Generator) -> Log:
    orders, days = _put_off(population, orders, median, rng)
    new = np.ones(len(orders), bool)
    new[1:] = (orders.user[1:] != orders.user[:-1]) | (days[1:] != days[:-1])
    users, counts = orders.user[new].astype(np.int64), np.diff(np.append(np.flatnonzero(new), len(orders)))
    starts = days[new] * DAY + draw_hours(population, users, rng) * 3600
    plan = plan_sessions(population, users, starts, rng)
    login = (rng.random(len(users)) < population.login[users]).astype(np.int64)
    looks, after = rng.geometric(0.5, len(users)) - 1, rng.geometric(0.6, len(users)) - 1
    # What was bought before the log began, or as a guest, is returned and reviewed too.
    more = np.where(rng.random(len(users)) < 0.3, rng.geometric(0.45, len(users)), 0)
    session, event = flatten(
        repeat([LOGIN], login),
        mix([BROWSE, SEARCH], looks, rng),
        repeat([deed], counts + more),
        repeat([BROWSE], after),
    )
    log = dress(plan, session, event, population, rng)
    deeds = np.flatnonzero(log.event == deed)
    nth = np.arange(len(deeds)) - np.searchsorted(log.session[deeds], log.session[deeds])
    known = np.zeros(len(log), bool)
    known[deeds[nth < counts[log.session[deeds]]]] = True
    return _within(about(log, known, orders), population)


def _put_off(population: Population, orders: Log, median: float, rng: np.random.Generator) -> tuple[Log, Floats]:
    """Return the orders that are followed up in time, by user and day, and these days; some users keep to Saturdays."""
    saturday = (5 - population.weekday) % 7
    days = np.floor(orders.time / DAY + np.maximum(median * np.exp(0.5 * rng.standard_normal(len(orders))), 1.5))
    days = np.where(population.batches[orders.user], np.ceil((days - saturday) / 7) * 7 + saturday, days)
    end = np.minimum(population.horizon - MARGIN, population.leaves[orders.user])
    kept = np.flatnonzero((days + 1) * DAY < end)
    kept = kept[np.lexsort((days[kept], orders.user[kept]))]
    return orders.take(kept), days[kept]


def about(log: Log, deeds: NDArray[np.bool_], orders: Log) -> Log:
    """Let the deeds, in their order, be about the goods of these orders (changes the log in place)."""
    for name in ("category", "seller", "item"):
        getattr(log, name)[deeds] = getattr(orders, name)
    log.amount[deeds] = np.where(log.event[deeds] == RETURN, orders.amount, np.nan)
    log.address[deeds] = np.where(log.event[deeds] == RETURN, orders.address, log.address[deeds])
    return log
