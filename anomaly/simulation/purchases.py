"""Abuse of orders: brushing a seller's sales, returning as a habit. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.clock import draw_gaps
from anomaly.simulation.draft import flatten, mix, repeat
from anomaly.simulation.habits import dress, plan_sessions
from anomaly.simulation.log import BROWSE, CART, LOGIN, ORDER, PAY, RETURN, SEARCH, Log
from anomaly.simulation.population import DAY
from anomaly.simulation.traffic import about
from anomaly.simulation.typology import (
    Scene,
    Typology,
    aim_at,
    between,
    count,
    happens,
    mark,
    rings,
    sell,
    share_belonging,
    start_together,
    usual,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.population import Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class OrderBrushing(Typology):
    """Rings of buyers lift a seller's sales: each orders at least three times within an hour.

    Tell-tale: orders in a row, no browsing, speed, one item, a shared device and address, all buyers at once.
    """

    name = "order_brushing"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the ring's sessions; carts, orders and payments are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        ring, users = rings(n_sessions, 3, 8, rng), population.pick(n_sessions, rng)
        starts = start_together(population, users, ring, between(3600, 4 * DAY, hidden), rng)
        plan = plan_sessions(population, users, starts, rng)
        seller = rng.integers(0, len(population.seller_category), n_sessions)[np.searchsorted(ring, ring)]
        plan = aim_at(plan, seller, population)
        plan = share_belonging(plan, "device", ring, happens(1.0, 0.1, hidden, rng), population)
        plan = share_belonging(plan, "address", ring, happens(1.0, 0.2, hidden, rng), population)
        plan = plan.but(pace=plan.pace * between(0.15, 0.9, hidden), factor=plan.factor * between(0.4, 1.0, hidden))
        session, event = self._draft(plan.user, hidden, population, rng)
        gaps = _within_an_hour(session, draw_gaps(session, event, plan.pace, plan.spread, rng))
        log = dress(plan, session, event, population, rng, gaps)
        deed = np.isin(log.event, (CART, ORDER, PAY))
        sell(log, deed, seller, between(1.0, 0.2, hidden), population, rng)
        return mark(log, deed)

    def _draft(
        self, users: Ints, hidden: Floats, population: Population, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        orders = count(7, 3, hidden, rng, least=3)
        login = (rng.random(len(users)) < population.login[users]).astype(np.int64)
        looks, browses = count(0, 6, hidden, rng), happens(0.0, 0.9, hidden, rng)
        return flatten(
            repeat([LOGIN], login),
            mix([BROWSE, BROWSE, SEARCH], looks, rng),
            repeat([CART, ORDER, PAY], np.where(browses, 0, orders)),
            repeat([BROWSE, CART, ORDER, PAY], np.where(browses, orders, 0)),
            repeat([BROWSE], (browses & (rng.random(len(users)) < 0.4)).astype(np.int64)),
        )


def _within_an_hour(session: Ints, gaps: Floats) -> Floats:
    """Shorten the gaps of sessions that would last longer than 50 minutes."""
    lasts = np.bincount(session, gaps)
    return gaps * np.minimum(1.0, 3000 / np.maximum(lasts, 1))[session] if len(session) else gaps


class AbnormalReturns(Typology):
    """Shoppers send back several things at once, or what they never ordered.

    Tell-tale: the number of returns, their value, returns that match no order of the user's.
    """

    name = "abnormal_returns"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return sessions with returns; these are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        orders = scene.honest.take(scene.honest.event == ORDER)
        bought = np.bincount(orders.user, minlength=len(population)).astype(np.float64)
        users = population.pick(n_sessions, rng, np.maximum(bought - 1, 0.01))
        plan = usual(population, users, rng, earliest=0.3 * population.horizon)
        plan = plan.but(pace=plan.pace * between(0.4, 1.0, hidden), factor=plan.factor * between(5.0, 1.2, hidden))
        session, event = flatten(
            repeat([LOGIN], (rng.random(n_sessions) < population.login[users]).astype(np.int64)),
            mix([BROWSE, SEARCH], count(0, 3, hidden, rng), rng),
            repeat([RETURN], count(9, 2.2, hidden, rng, least=2)),
            repeat([BROWSE], count(0, 0.7, hidden, rng)),
        )
        log = dress(plan, session, event, population, rng)
        deed = log.event == RETURN
        self._return_own(log, np.flatnonzero(deed), happens(0.1, 1.0, hidden, rng), orders)
        return mark(log, deed)

    def _return_own(self, log: Log, deeds: Ints, honours: NDArray[np.bool_], orders: Log) -> None:
        """Let the returns of some sessions be about the user's latest orders, as far as there are enough."""
        orders = orders.take(np.lexsort((orders.time, orders.user)))
        span = max(float(orders.time.max(initial=0)), float(log.time.max(initial=0))) + 1
        keys = orders.user * span + orders.time
        nth = np.arange(len(deeds)) - np.searchsorted(log.session[deeds], log.session[deeds])
        end = np.searchsorted(keys, log.user[deeds] * span + log.time[deeds])
        start = np.searchsorted(keys, log.user[deeds] * span)
        own = end - 1 - nth
        usable = honours[log.session[deeds]] & (own >= start)
        chosen = np.zeros(len(log), bool)
        chosen[deeds[usable]] = True
        about(log, chosen, orders.take(own[usable]))
