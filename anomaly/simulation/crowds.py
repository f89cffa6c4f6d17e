"""Traffic that is bought: clicks by machines, reviews by the dozen. N sessions, T events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.clock import MARGIN
from anomaly.simulation.draft import flatten, mix, repeat
from anomaly.simulation.habits import dress, plan_sessions
from anomaly.simulation.log import BROWSE, LOGIN, REVIEW, SEARCH, Log
from anomaly.simulation.population import DAY
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
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class ClickFraud(Typology):
    """Machines click a seller's goods from ordinary accounts, half of them like clockwork, half with jitter.

    Tell-tale: the number of clicks, their speed and evenness, one seller, any hour of the day, a device for many.
    """

    name = "click_fraud"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the machines' sessions; clicks on the seller are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        ring, users = rings(n_sessions, 2, 6, rng), population.pick(n_sessions, rng)
        starts = start_together(population, users, ring, between(2 * 3600, 5 * DAY, hidden), rng)
        awake = happens(0.9, 0.2, hidden, rng)
        any_hour = np.minimum(np.floor(starts / DAY) * DAY + DAY * rng.random(n_sessions), population.horizon - MARGIN)
        starts = np.where(awake, any_hour, starts)
        plan = plan_sessions(population, users, starts, rng)
        seller = rng.integers(0, len(population.seller_category), n_sessions)[np.searchsorted(ring, ring)]
        plan = aim_at(plan, seller, population)
        plan = share_belonging(plan, "device", ring, happens(0.8, 0.1, hidden, rng), population)
        session, event = flatten(
            repeat([LOGIN], (rng.random(n_sessions) < population.login[users] * hidden).astype(np.int64)),
            mix([SEARCH, BROWSE, BROWSE], count(0, 2, hidden, rng), rng),
            repeat([BROWSE], count(90, 14, hidden, rng, least=5)),
        )
        log = dress(plan, session, event, population, rng, self._gaps(session, hidden, rng))
        aimed = (log.event == BROWSE) & (rng.random(len(log)) < between(0.97, 0.6, hidden)[session])
        sell(log, aimed, seller, between(0.7, 0.15, hidden), population, rng)
        return mark(log, (log.event == BROWSE) & (log.seller == seller[session]))

    def _gaps(self, session: Ints, hidden: Floats, rng: np.random.Generator) -> Floats:
        """Return (T,) gaps: a fixed period with little noise, or a uniform jitter around it."""
        period = between(1.0, 22.0, hidden) * np.exp(0.2 * rng.standard_normal(len(hidden)))
        clockwork = rng.random(len(hidden)) < 0.5
        noise = between(0.01, 0.2, hidden)[session] * rng.standard_normal(len(session))
        jitter = between(0.3, 0.8, hidden)[session] * rng.uniform(-1, 1, len(session))
        gaps: Floats = period[session] * np.where(clockwork[session], np.exp(noise), 1 + jitter)
        return gaps


class ReviewBursts(Typology):
    """Rings write reviews of one seller, all praise or all blame.

    Tell-tale: reviews in a row, one seller, one rating, speed, a shared device, all within hours.
    """

    name = "review_bursts"

    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the ring's sessions; reviews are marked."""
        population, hidden = scene.population, self.hide(n_sessions, rng)
        ring, users = rings(n_sessions, 3, 9, rng), population.pick(n_sessions, rng)
        starts = start_together(population, users, ring, between(2 * 3600, 6 * DAY, hidden), rng)
        plan = plan_sessions(population, users, starts, rng)
        seller = rng.integers(0, len(population.seller_category), n_sessions)[np.searchsorted(ring, ring)]
        plan = aim_at(plan, seller, population)
        plan = share_belonging(plan, "device", ring, happens(0.8, 0.1, hidden, rng), population)
        plan = plan.but(pace=plan.pace * between(0.12, 0.8, hidden))
        session, event = flatten(
            repeat([LOGIN], (rng.random(n_sessions) < population.login[users]).astype(np.int64)),
            mix([BROWSE, SEARCH], count(0, 3, hidden, rng), rng),
            repeat([REVIEW], count(10, 2.5, hidden, rng, least=2)),
            repeat([BROWSE], count(0, 0.7, hidden, rng)),
        )
        log = dress(plan, session, event, population, rng)
        aimed = (log.event == REVIEW) & (rng.random(len(log)) < between(0.98, 0.6, hidden)[session])
        sell(log, aimed, seller, between(0.2, 0.1, hidden), population, rng)
        praise = np.where(rng.random(n_sessions) < 0.75, 5, 1)[np.searchsorted(ring, ring)][session]
        extreme = (log.event == REVIEW) & (rng.random(len(log)) < between(1.0, 0.7, hidden)[session])
        log.rating[extreme] = praise[extreme]
        return mark(log, log.event == REVIEW)
