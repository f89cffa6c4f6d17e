"""What every typology of anomaly shares. N sessions, T events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anomaly.simulation.clock import MARGIN, draw_starts
from anomaly.simulation.habits import plan_sessions
from anomaly.simulation.log import CART, first_of_session, last_such
from anomaly.simulation.population import DEAR, ITEMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.habits import Plan
    from anomaly.simulation.log import Log
    from anomaly.simulation.population import Kind, Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """Where anomalies happen: the population, and what it has honestly done."""

    population: Population
    honest: Log


class Typology(ABC):
    """A kind of anomaly, from blatant (camouflage 0) to subtle (1).

    A subclass draws the plans of usual sessions, changes what tells the anomaly from them as far as the camouflage lets
    it, and has the events made as everybody's are, so that nothing else differs.
    """

    name: ClassVar[str]

    def __init__(self, *, camouflage: float) -> None:
        self.camouflage = camouflage

    def prepare(self, population: Population, n_sessions: int, rng: np.random.Generator) -> None:  # noqa: B027
        """Change the population before its honest sessions are drawn, where a typology has to."""

    @abstractmethod
    def draw(self, n_sessions: int, scene: Scene, rng: np.random.Generator) -> Log:
        """Return the events of that many sessions; the events of the deed itself are marked."""

    def hide(self, n: int, rng: np.random.Generator) -> Floats:
        """Return (N,) how well each session hides: near the camouflage, in [0, 1]."""
        return np.clip(self.camouflage + 0.1 * rng.standard_normal(n), 0.0, 1.0)


def between(blatant: float, subtle: float, hidden: Floats) -> Floats:
    """Interpolate between a tell-tale value and an inconspicuous one; both must be positive for ratios to matter."""
    if min(blatant, subtle) > 0:
        return blatant ** (1 - hidden) * subtle**hidden
    return blatant * (1 - hidden) + subtle * hidden


def happens(blatant: float, subtle: float, hidden: Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw whether a trait shows whose chance falls, or grows, with camouflage."""
    return rng.random(len(hidden)) < blatant + (subtle - blatant) * hidden


def count(blatant: float, subtle: float, hidden: Floats, rng: np.random.Generator, least: int = 0) -> Ints:
    """Draw counts around an interpolated mean."""
    mean = between(blatant, subtle, hidden) * np.exp(0.2 * rng.standard_normal(len(hidden)))
    return np.maximum(np.floor(mean + rng.random(len(hidden))), least).astype(np.int64)


def rings(n: int, smallest: int, largest: int, rng: np.random.Generator) -> Ints:
    """Return (N,) the ring of each session, from 0; a ring's sessions lie together."""
    sizes = rng.integers(smallest, largest + 1, n)
    return np.repeat(np.arange(n), sizes)[:n]


def start_together(population: Population, users: Ints, ring: Ints, width: Floats, rng: np.random.Generator) -> Floats:
    """Return (N,) starts of sessions that fall within `width` seconds of each other in a ring."""
    first = draw_starts(population, users, rng)[np.searchsorted(ring, ring)]
    latest = population.horizon - MARGIN
    starts = first + width * rng.random(len(users))
    return np.where(starts > latest, np.maximum(first - width * rng.random(len(users)), 0.0), starts)


def share_belonging(plan: Plan, kind: Kind, ring: Ints, where: NDArray[np.bool_], population: Population) -> Plan:
    """Let sessions of a ring use one and the same device, address or card that nobody else uses."""
    if not len(ring):
        return plan
    return plan.but(where, **{kind: population.fresh(kind, int(ring[-1]) + 1)[ring]})


def aim_at(plan: Plan, seller: Ints, population: Population) -> Plan:
    """Let sessions be about a seller."""
    return plan.but(seller=seller, category=population.seller_category[seller])


def aim_high(plan: Plan, where: NDArray[np.bool_], population: Population, rng: np.random.Generator) -> Plan:
    """Let the chosen sessions be about goods of the dearest categories."""
    category = rng.choice(DEAR, len(plan))
    plan = plan.but(where, category=category, seller=population.sellers_of(category, rng))
    return plan.but(where, keeps_category=np.maximum(plan.keeps_category, 0.95))


def usual(population: Population, users: Ints, rng: np.random.Generator, earliest: float = 0.0) -> Plan:
    """Plan usual sessions of these users at their usual times."""
    starts = draw_starts(population, users, rng, np.full(len(users), earliest))
    return plan_sessions(population, users, starts, rng)


def sell(
    log: Log, where: NDArray[np.bool_], seller: Ints, few: Floats, population: Population, rng: np.random.Generator
) -> None:
    """Let the chosen events be about each session's seller (in place), with the chance `few` (N,) about one item."""
    n = len(seller)
    one = (ITEMS * rng.random(n) ** 1.7).astype(np.int64)
    item = (ITEMS * rng.random(len(log)) ** 1.7).astype(np.int64)
    item = np.where(rng.random(len(log)) < few[log.session], one[log.session], item)
    # An order and its payment are about what was put into the cart.
    cart = last_such(log.event == CART, first_of_session(log.session))
    item = np.where(cart >= 0, item[cart], item)
    log.category[where] = population.seller_category[seller][log.session[where]]
    log.seller[where] = seller[log.session[where]]
    log.item[where] = (seller[log.session] * ITEMS + item)[where]


def mark(log: Log, where: NDArray[np.bool_]) -> Log:
    """Mark the events that are the deed (in place)."""
    log.marked[where] = True
    return log
