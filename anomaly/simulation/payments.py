"""Stolen cards: tried out by the dozen, or used once for much. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.draft import flatten, mix, repeat
from anomaly.simulation.habits import dress
from anomaly.simulation.log import BROWSE, CART, LOGIN, ORDER, PAY, SEARCH, Log
from anomaly.simulation.typology import Scene, Typology, aim_high, between, count, happens, mark, usual

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.population import Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class CardTesting(Typology):
    """Stolen card numbers are tried with small payments, one after the other.

    Tell-tale: the number of payments and of cards, small amounts, speed, a new device.
    """

    name = "card_testing"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return sessions with many payments; these are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        users = population.pick(n_sessions, rng)
        plan = usual(population, users, rng).but_fresh("device", happens(0.9, 0.15, hidden, rng), population)
        plan = plan.but(pace=plan.pace * between(0.12, 0.9, hidden))
        shops = happens(0.1, 1.0, hidden, rng).astype(np.int64)
        session, event = flatten(
            repeat([LOGIN], (rng.random(n_sessions) < population.login[users]).astype(np.int64)),
            mix([BROWSE, SEARCH], count(0, 5, hidden, rng), rng),
            repeat([CART, ORDER], shops),
            repeat([PAY], count(25, 3.5, hidden, rng, least=3)),
        )
        log = dress(plan, session, event, population, rng)
        self._try_cards(log, hidden, population, rng)
        return mark(log, log.event == PAY)

    def _try_cards(self, log: Log, hidden: Floats, population: Population, rng: np.random.Generator) -> None:
        """Give payments cards of their own and small amounts (in place)."""
        pays = np.flatnonzero(log.event == PAY)
        other = pays[rng.random(len(pays)) < between(1.0, 0.6, hidden)[log.session[pays]]]
        log.card[other] = population.fresh("card", len(other))
        cap = between(3.0, 40.0, hidden)[log.session[pays]]
        small = cap * rng.beta(2, 3, len(pays))
        log.amount[pays] = np.maximum(np.minimum(log.amount[pays], small), 0.5).round(2)


class PaymentFraud(Typology):
    """A stolen card pays for one big order.

    Tell-tale: a new card, a high amount, an address elsewhere, haste.
    """

    name = "payment_fraud"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return sessions with the order; its cart, order and payment are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        users = population.pick(n_sessions, rng)
        plan = usual(population, users, rng).but_fresh("card", happens(1.0, 0.7, hidden, rng), population)
        plan = plan.but_fresh("address", happens(0.9, 0.25, hidden, rng), population)
        plan = aim_high(plan, happens(0.7, 0.1, hidden, rng), population, rng)
        plan = plan.but(pace=plan.pace * between(0.2, 0.8, hidden), factor=plan.factor * between(8.0, 2.5, hidden))
        session, event = flatten(
            repeat([LOGIN], (rng.random(n_sessions) < population.login[users]).astype(np.int64)),
            mix([SEARCH, BROWSE, BROWSE], count(1, 5, hidden, rng), rng),
            repeat([CART, ORDER, PAY], np.ones(n_sessions, np.int64)),
            mix([BROWSE, SEARCH], count(0, 0.7, hidden, rng), rng),
        )
        log = dress(plan, session, event, population, rng)
        return mark(log, np.isin(log.event, (CART, ORDER, PAY)))
