"""Who shops: habits, households, devices, addresses, cards; and what is sold. U users, C categories, S sellers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PRICES = {
    "books": 14,
    "fashion": 40,
    "shoes": 65,
    "beauty": 22,
    "grocery": 12,
    "toys": 25,
    "garden": 40,
    "kitchen": 45,
    "furniture": 160,
    "sports": 50,
    "outdoor": 70,
    "music": 15,
    "films": 13,
    "games": 35,
    "phones": 320,
    "computers": 480,
    "cameras": 280,
    "jewellery": 120,
    "watches": 150,
    "health": 20,
    "baby": 28,
    "pets": 22,
    "tools": 45,
    "stationery": 10,
}
"""Median amount per category; the first ones are the most popular."""

CATEGORIES = tuple(PRICES)
DEAR = np.argsort(list(PRICES.values()))[-6:]
DAY = 86_400.0
ITEMS = 40
"""Items of a seller."""

Kind = Literal["device", "address", "card"]
KINDS: tuple[Kind, ...] = ("device", "address", "card")


@dataclass
class Population:
    """Users, sellers and what belongs to whom.

    Attributes
    ----------
    days : length of the simulation
    weekday : of its first day, Monday is 0
    activity : (U,) weight of a user among all, heavy-tailed
    joins, leaves : (U,) seconds between which a user shops
    away : (U, 2) seconds, first and last of a holiday without sessions
    peak, weekend, pace, login, level : (U,) hour of day, weight of weekend days, factor of time between events,
        share of sessions that log in, log of the amounts' factor
    tastes : (U, 6) factors for going on to login, search, browse, cart, order, and for ending a session
    favourites : (U, 4) categories, most liked first
    shop : (U,) favourite seller
    returns, reviews : (U,) share of orders
    batches : (U,) whether returns and reviews are done once a week
    again : (U,) chance of a further order after a payment
    own : per kind (U, 3) main, second, household's
    newer : per kind (U,) what replaces the main one from `newer_from` (U,) seconds on
    seller_category : (S,) sorted
    category_start : (C + 1,) sellers of category c are ``category_start[c]:category_start[c + 1]``
    price : (C,) log of the median amount
    counts : per kind the ids given out so far
    """

    days: float
    weekday: int
    activity: Floats
    joins: Floats
    leaves: Floats
    away: Floats
    peak: Floats
    weekend: Floats
    pace: Floats
    login: Floats
    level: Floats
    tastes: Floats
    favourites: Ints
    shop: Ints
    returns: Floats
    reviews: Floats
    batches: NDArray[np.bool_]
    again: Floats
    own: dict[Kind, Ints]
    newer: dict[Kind, Ints]
    newer_from: dict[Kind, Floats]
    seller_category: Ints
    category_start: Ints
    price: Floats
    counts: dict[Kind, int] = field(default_factory=dict)

    @property
    def horizon(self) -> float:
        """Length of the simulation in seconds."""
        return self.days * DAY

    def __len__(self) -> int:
        return len(self.activity)

    def fresh(self, kind: Kind, n: int) -> Ints:
        """Return n ids that nobody has used."""
        first = self.counts[kind]
        self.counts[kind] = first + n
        return np.arange(first, first + n)

    def sellers_of(self, category: Ints, rng: np.random.Generator) -> Ints:
        """Draw a seller per category; few sell much."""
        start = self.category_start[category]
        size = self.category_start[category + 1] - start
        return start + (size * rng.random(len(category)) ** 2.5).astype(np.int64)

    def pick(self, n: int, rng: np.random.Generator, weight: Floats | None = None) -> Ints:
        """Draw n users who were there from the start and stay, distinct as far as there are enough."""
        weight = np.ones(len(self)) if weight is None else weight
        stays = np.flatnonzero((self.joins == 0) & (self.leaves > self.horizon) & (weight > 0))
        stays = stays if len(stays) else np.flatnonzero(self.joins == self.joins.min())
        weight = np.maximum(weight[stays], 1e-9)
        # The largest of log(u) / w are a weighted draw without replacement (Efraimidis & Spirakis 2006).
        rounds = -(-n // len(stays))
        keys = np.log(rng.random((rounds, len(stays)))) / weight
        return stays[np.argsort(-keys, axis=1)].ravel()[:n]


def draw_population(users: int, days: float, weekday: int, rng: np.random.Generator) -> Population:
    """Draw a population of shoppers."""
    categories = _draw_favourites(users, rng)
    start, price, seller_category = _draw_sellers(max(4 * len(CATEGORIES), users // 10), rng)
    joins = np.where(rng.random(users) < 0.75, 0.0, rng.random(users) * 0.7 * days * DAY)
    pace = np.exp(0.3 * rng.standard_normal(users)) * np.where(rng.random(users) < 0.05, 0.25, 1.0)
    population = Population(
        days=days,
        weekday=weekday,
        activity=np.exp(0.9 * rng.standard_normal(users)),
        joins=joins,
        leaves=np.full(users, np.inf),
        away=_draw_holidays(users, days, rng),
        peak=rng.choice([8.5, 12.5, 17.0, 20.5, 22.5], users, p=[0.12, 0.18, 0.2, 0.38, 0.12])
        + rng.normal(0, 0.7, users),
        weekend=np.exp(rng.normal(0.2, 0.5, users)),
        pace=pace,
        login=rng.beta(6, 3, users),
        level=rng.normal(0, 0.35, users),
        tastes=_draw_tastes(users, rng),
        favourites=categories,
        shop=np.zeros(users, np.int64),
        returns=np.where(rng.random(users) < 0.05, rng.beta(6, 4, users), rng.beta(1.5, 11, users)),
        reviews=np.where(rng.random(users) < 0.1, rng.beta(7, 2, users), rng.beta(1.2, 5, users)),
        batches=rng.random(users) < 0.3,
        again=np.where(rng.random(users) < 0.05, 0.45, 0.04),
        own={},
        newer={},
        newer_from={},
        seller_category=seller_category,
        category_start=start,
        price=price,
    )
    population.shop = population.sellers_of(categories[:, 0], rng)
    _give_belongings(population, rng)
    return population


def _draw_favourites(users: int, rng: np.random.Generator) -> Ints:
    liking = np.arange(1, len(CATEGORIES) + 1) ** -0.6
    keys = np.log(rng.random((users, len(CATEGORIES)))) / liking
    return np.argsort(-keys, axis=1)[:, :4]


def _draw_sellers(n: int, rng: np.random.Generator) -> tuple[Ints, Floats, Ints]:
    c = len(CATEGORIES)
    category = np.sort(np.concatenate([np.repeat(np.arange(c), 3), rng.integers(0, c, n - 3 * c)]))
    start = np.searchsorted(category, np.arange(c + 1))
    return start, np.log(list(PRICES.values())), category


def _draw_holidays(users: int, days: float, rng: np.random.Generator) -> Floats:
    length = np.where(rng.random(users) < 0.25, rng.uniform(5, 21, users), 0.0) * min(1.0, days / 60)
    first = rng.random(users) * days
    return np.stack([first, first + length], axis=1) * DAY


def _draw_tastes(users: int, rng: np.random.Generator) -> Floats:
    tastes = np.exp(0.4 * rng.standard_normal((users, 6)))
    # Some look and look, and hardly ever end.
    tastes[:, 5] *= np.where(rng.random(users) < 0.05, 0.3, 1.0)
    return tastes


def _give_belongings(population: Population, rng: np.random.Generator) -> None:
    """Give every user devices, addresses and cards, of which households share some."""
    users = len(population)
    size = rng.choice([1, 2, 3, 4], users, p=[0.5, 0.28, 0.12, 0.1])
    house = np.repeat(np.arange(users), size)[:users]
    n_houses = int(house[-1]) + 1
    shared = {"device": 0.12, "address": 0.97, "card": 0.15}
    for kind in KINDS:
        population.counts[kind] = 0
        of_house = population.fresh(kind, n_houses)[house]
        own = population.fresh(kind, users)
        main = np.where(rng.random(users) < shared[kind], of_house, own)
        second = np.where(rng.random(users) < 0.4, population.fresh(kind, users), main)
        population.own[kind] = np.stack([main, second, of_house], axis=1)
        population.newer[kind] = population.fresh(kind, users)
        changes = rng.random(users) < {"device": 0.12, "address": 0.04, "card": 0.08}[kind]
        population.newer_from[kind] = np.where(changes, rng.random(users) * population.horizon, np.inf)
