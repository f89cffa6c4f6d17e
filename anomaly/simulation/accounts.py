"""Accounts that change: another hand at the keyboard, or no hand any more. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.clock import MARGIN, draw_hours
from anomaly.simulation.draft import flatten, mix, repeat
from anomaly.simulation.habits import dress, plan_sessions
from anomaly.simulation.log import BROWSE, CART, LOGIN, ORDER, PAY, SEARCH, Log
from anomaly.simulation.population import DAY
from anomaly.simulation.typology import Scene, Typology, aim_high, between, count, happens, mark, usual

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.habits import Plan
    from anomaly.simulation.population import Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class AccountTakeover(Typology):
    """A stranger logs into the account of an active user and shops.

    Tell-tale: tries to log in, a new device and address, hours and goods that are not the user's, a high amount, haste.
    What the stranger does is drawn from another user's habits, so that it looks usual for the crowd.
    """

    name = "account_takeover"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the strangers' sessions; all their events are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        users = population.pick(n_sessions, rng, population.activity**1.5)
        own = usual(population, users, rng, earliest=0.15 * population.horizon)
        stranger = rng.integers(0, len(population), n_sessions)
        plan = self._disguise(own, population, stranger, hidden, rng)
        session, event = flatten(
            repeat([LOGIN], count(3, 1, hidden, rng, least=1)),
            mix([SEARCH, BROWSE], count(1, 6, hidden, rng), rng),
            repeat([CART], count(1, 1.3, hidden, rng, least=1)),
            repeat([ORDER, PAY], np.ones(n_sessions, np.int64)),
            mix([BROWSE, SEARCH], count(0, 1, hidden, rng), rng),
        )
        log = dress(plan, session, event, population, rng)
        # The card on file and the account are the victim's, all else may be the stranger's.
        log.user[:] = users[session]
        return mark(log, np.ones(len(log), bool))

    def _disguise(
        self, own: Plan, population: Population, stranger: Ints, hidden: Floats, rng: np.random.Generator
    ) -> Plan:
        night = (own.start // DAY + (population.peak[own.user] + 12 + rng.normal(0, 2, len(own))) % 24 / 24) * DAY
        odd = happens(0.9, 0.15, hidden, rng)
        starts = np.where(odd, np.minimum(night, population.horizon - MARGIN), own.start)
        foreign = plan_sessions(population, stranger, starts, rng)
        alike = ~happens(1.0, 0.35, hidden, rng)
        plan = foreign.but(alike, category=own.category, seller=own.seller, user=own.user)
        plan = aim_high(plan, ~alike & happens(0.8, 0.1, hidden, rng), population, rng)
        # What the stranger does not replace stays the victim's, honest oddities included.
        plan = plan.but(card=own.card, spare=own.spare, address=own.address, device=own.device)
        plan = plan.but_fresh("device", happens(1.0, 0.5, hidden, rng), population)
        plan = plan.but_fresh("address", happens(1.0, 0.4, hidden, rng), population)
        return plan.but(pace=plan.pace * between(0.35, 0.9, hidden), factor=plan.factor * between(5.0, 1.8, hidden))


class Churn(Typology):
    """An active user comes back ever more seldom, does ever less, and stops long before the end.

    Tell-tale: the silence before the last sessions, their few events.
    """

    name = "churn"

    def prepare(self, population: Population, n_sessions: int, rng: np.random.Generator) -> None:
        """Let as many users leave as there are last sessions for."""
        users = population.pick(-(-n_sessions // 2), rng, population.activity**2)
        population.leaves[users] = population.horizon * rng.uniform(0.35, 0.6, len(users))

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the last sessions of the users who leave; all their events are marked."""
        population = scene.population
        leavers = np.flatnonzero(np.isfinite(population.leaves))
        users = np.sort(np.resize(leavers, n_sessions)) if len(leavers) else leavers
        nth = np.arange(len(users)) - np.searchsorted(users, users) + 1
        hidden = self.hide(len(users), rng)
        starts = self._starts(users, nth, hidden, scene, rng)
        plan = plan_sessions(population, users, starts, rng)
        login = (rng.random(len(users)) < population.login[users]).astype(np.int64)
        looks = np.maximum(count(1, 5, hidden, rng) // nth, 1 - login)
        session, event = flatten(repeat([LOGIN], login), mix([BROWSE, BROWSE, SEARCH], looks, rng))
        log = dress(plan, session, event, population, rng)
        return mark(log, np.ones(len(log), bool))

    def _starts(self, users: Ints, nth: Ints, hidden: Floats, scene: Scene, rng: np.random.Generator) -> Floats:
        """Return (N,) starts: after the last honest session, each silence longer than the one before."""
        population, honest = scene.population, scene.honest
        last = population.leaves.copy()
        np.maximum.at(last, honest.user, np.where(honest.time < population.horizon, honest.time, 0.0))
        sessions = np.bincount(honest.user[_firsts(honest.session)], minlength=len(population))
        usual_gap = (last - population.joins) / np.maximum(sessions, 3)
        silence = usual_gap[users] * between(5.0, 2.0, hidden) * np.exp(0.2 * rng.standard_normal(len(users)))
        room = 0.85 * population.horizon - last[users]
        after = np.minimum(np.maximum(silence, 2 * DAY) * nth**1.3, room * nth / (nth + 0.5))
        days = np.floor((last[users] + np.maximum(after, 0)) / DAY)
        starts: Floats = np.maximum(days * DAY + draw_hours(population, users, rng) * 3600, last[users] + 3600 * nth)
        return starts


def _firsts(session: Ints) -> Ints:
    """Return the places of the first events of sessions that lie together."""
    new = np.ones(len(session), bool)
    new[1:] = session[1:] != session[:-1]
    return np.flatnonzero(new)
