"""How the plan of a session becomes events with every column filled. N sessions, T events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.simulation.clock import draw_gaps, run_clock
from anomaly.simulation.log import (
    BROWSE,
    CART,
    LOGIN,
    NONE,
    ORDER,
    PAY,
    RETURN,
    REVIEW,
    Log,
    first_of_session,
    last_such,
)
from anomaly.simulation.population import CATEGORIES, ITEMS, KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.simulation.population import Kind, Population

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """What is decided once per session; every attribute is (N,).

    Attributes
    ----------
    start : seconds
    pace, spread : factor of the median time between events, and the standard deviation of its log
    category, seller : what the session is about
    keeps_category, keeps_seller : chance that an event is about them
    factor : of the amounts
    card : of the payment; `spare` of a second one for the same order
    """

    user: Ints
    start: Floats
    pace: Floats
    spread: Floats
    category: Ints
    seller: Ints
    keeps_category: Floats
    keeps_seller: Floats
    factor: Floats
    device: Ints
    address: Ints
    card: Ints
    spare: Ints

    def __len__(self) -> int:
        return len(self.user)

    def but(self, where: NDArray[np.bool_] | None = None, **changes: Any) -> Self:
        """Return the plan with other values, in the sessions of `where` or in all."""
        every = np.ones(len(self), bool) if where is None else where
        return replace(self, **{name: np.where(every, value, getattr(self, name)) for name, value in changes.items()})

    def but_fresh(self, kind: Kind, where: NDArray[np.bool_], population: Population) -> Self:
        """Return the plan with a device, address or card that nobody has used, one per session of `where`."""
        fresh = np.zeros(len(self), np.int64)
        fresh[where] = population.fresh(kind, int(where.sum()))
        return self.but(where, **{kind: fresh})


def plan_sessions(population: Population, users: Ints, starts: Floats, rng: np.random.Generator) -> Plan:
    """Draw the plans of usual sessions, honest oddities included."""
    n = len(users)
    category = draw_categories(population, users, rng)
    seller = population.sellers_of(category, rng)
    loyal = rng.random(n) < 0.2
    category = np.where(loyal, population.favourites[users, 0], category)
    seller = np.where(loyal, population.shop[users], seller)
    owned = {kind: _draw_owned(population, kind, users, starts, rng) for kind in KINDS}
    plan = Plan(
        user=users,
        start=starts,
        pace=population.pace[users] * np.exp(0.25 * rng.standard_normal(n)) * np.where(rng.random(n) < 0.03, 0.3, 1.0),
        spread=np.full(n, 0.9),
        category=category,
        seller=seller,
        keeps_category=np.full(n, 0.85),
        keeps_seller=rng.beta(2, 2, n),
        factor=np.exp(0.15 * rng.standard_normal(n)),
        spare=population.own["card"][users, 1],
        **owned,
    )
    return _add_oddities(plan, population, rng)


def draw_categories(population: Population, users: Ints, rng: np.random.Generator) -> Ints:
    """Return (T,) a category per user, mostly one of the user's favourites."""
    rank = np.minimum((4 * rng.random(len(users)) ** 1.8).astype(np.int64), 3)
    popular = (len(CATEGORIES) * rng.random(len(users)) ** 1.6).astype(np.int64)
    return np.where(rng.random(len(users)) < 0.12, popular, population.favourites[users, rank])


def _draw_owned(population: Population, kind: Kind, users: Ints, starts: Floats, rng: np.random.Generator) -> Ints:
    which = np.searchsorted([0.84, 0.94], rng.random(len(users)))
    own = population.own[kind][users, which]
    return np.where((which == 0) & (starts >= population.newer_from[kind][users]), population.newer[kind][users], own)


def _add_oddities(plan: Plan, population: Population, rng: np.random.Generator) -> Plan:
    """Let some honest sessions look odd: another device, a present sent elsewhere, a new card, a big purchase."""
    n = len(plan)
    plan = plan.but_fresh("device", rng.random(n) < 0.015, population)
    plan = plan.but_fresh("address", rng.random(n) < 0.02, population)
    friend = population.own["address"][rng.integers(0, len(population), n), 0]
    plan = plan.but(rng.random(n) < 0.04, address=friend)
    plan = plan.but_fresh("card", rng.random(n) < 0.01, population)
    big = rng.random(n) < 0.015
    plan = plan.but(big, factor=plan.factor * np.exp(rng.normal(1.7, 0.5, n)))
    return plan.but_fresh("card", big & (rng.random(n) < 0.4), population)


def dress(
    plan: Plan, session: Ints, event: Ints, population: Population, rng: np.random.Generator, gaps: Floats | None = None
) -> Log:
    """Fill the columns of events whose sessions (ascending) and codes are given.

    An order takes category, seller and item from the cart before it, and the amount from all carts since the order
    before; a payment takes everything from its order.
    """
    first = first_of_session(session)
    gaps = draw_gaps(session, event, plan.pace, plan.spread, rng) if gaps is None else gaps
    source = _sources(event, first)
    category, seller, item = _draw_goods(plan, session, population, rng)
    amount = _amounts(plan, session, event, first, population.price[category[source]], population, rng)
    ordering, named = np.isin(event, (ORDER, PAY, RETURN)), event >= BROWSE
    priced = np.isin(event, (CART, ORDER, PAY, RETURN))
    again = (event == PAY) & _follows(event == PAY, session)
    card = np.where(again, plan.spare[session], plan.card[session])
    stars = np.searchsorted([0.06, 0.12, 0.23, 0.5], rng.random(len(event))) + 1
    return Log(
        session=session.astype(np.int64),
        user=plan.user[session].astype(np.int32),
        time=run_clock(session, plan.start, gaps),
        event=event.astype(np.int8),
        category=np.where(event == LOGIN, NONE, category[source]).astype(np.int32),
        seller=np.where(named, seller[source], NONE).astype(np.int32),
        item=np.where(named, item[source], NONE).astype(np.int32),
        amount=np.where(priced, amount, np.nan),
        device=plan.device[session].astype(np.int32),
        address=np.where(ordering, plan.address[session], NONE).astype(np.int32),
        card=np.where(event == PAY, card, NONE).astype(np.int32),
        rating=np.where(event == REVIEW, stars, NONE).astype(np.int8),
        marked=np.zeros(len(event), bool),
    )


def _follows(such: NDArray[np.bool_], session: Ints) -> NDArray[np.bool_]:
    """Return (T,) whether the event before, in the same session, is such."""
    before = np.zeros(len(such), bool)
    before[1:] = such[:-1] & (session[1:] == session[:-1])
    return before


def _sources(event: Ints, first: Ints) -> Ints:
    """Return (T,) the place of the event whose goods each event is about."""
    index = np.arange(len(event))
    cart, order = last_such(event == CART, first), last_such(event == ORDER, first)
    source = np.where((event == ORDER) & (cart >= 0), cart, index)
    # What goes into the cart has mostly just been looked at.
    looked = np.zeros(len(event), bool)
    looked[1:] = (event[1:] == CART) & (event[:-1] == BROWSE) & (first[1:] == first[:-1])
    source[looked[source]] -= 1
    return np.where((event == PAY) & (order >= 0), source[order], source)


def _draw_goods(plan: Plan, session: Ints, population: Population, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    n = len(session)
    stays = rng.random(n) < plan.keeps_category[session]
    category = np.where(stays, plan.category[session], draw_categories(population, plan.user[session], rng))
    known = stays & (rng.random(n) < plan.keeps_seller[session])
    seller = np.where(known, plan.seller[session], population.sellers_of(category, rng))
    item = seller * ITEMS + (ITEMS * rng.random(n) ** 1.7).astype(np.int64)
    return population.seller_category[seller], seller, item


def _amounts(
    plan: Plan, session: Ints, event: Ints, first: Ints, price: Floats, population: Population, rng: np.random.Generator
) -> Floats:
    level = price + population.level[plan.user[session]] + 0.45 * rng.standard_normal(len(session))
    own = np.maximum(np.exp(level) * plan.factor[session], 0.5).round(2)
    carted = np.cumsum(np.where(event == CART, own, 0.0))
    is_order = event == ORDER
    order = last_such(is_order, first)
    before = np.concatenate([[-1], order[:-1]])
    before = np.where(before >= first, before, first)
    # The first event of a session may itself be a cart.
    start = carted[before] - np.where((event[before] == CART), own[before], 0.0)
    total = (carted - start).round(2)
    amount = np.where(is_order & (total > 0), total, own)
    return np.where((event == PAY) & (order >= 0), amount[order], amount)
