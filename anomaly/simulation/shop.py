"""The simulator: a shop's log of a chosen size, with a chosen share of anomalies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import numpy as np

from anomaly.base import Estimator
from anomaly.errors import ConfigError
from anomaly.simulation.accounts import AccountTakeover, Churn
from anomaly.simulation.crowds import ClickFraud, ReviewBursts
from anomaly.simulation.log import ORDER, RETURN, REVIEW, Log
from anomaly.simulation.payments import CardTesting, PaymentFraud
from anomaly.simulation.population import draw_population
from anomaly.simulation.purchases import AbnormalReturns, OrderBrushing
from anomaly.simulation.simulated import Simulated, to_frames
from anomaly.simulation.traffic import draw_follow_ups, draw_shopping
from anomaly.simulation.typology import Scene, Typology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

TYPOLOGIES: dict[str, type[Typology]] = {
    kind.name: kind
    for kind in (
        OrderBrushing,
        ClickFraud,
        AbnormalReturns,
        AccountTakeover,
        CardTesting,
        PaymentFraud,
        ReviewBursts,
        Churn,
    )
}

_EVENTS_PER_SESSION = 8.0
_WITH_FOLLOW_UPS = 1.07
"""Honest sessions per session of shopping."""
_TRAIN = 0.7


@dataclass(frozen=True)
class _Draw:
    log: Log
    kinds: Ints


class Shop(Estimator):
    """Simulate the log of a shop: honest users with habits, and fraud among them.

    Parameters
    ----------
    users : number of users; None is 2000, or as many as `n_events` keeps as active as usual
    n_events : number of events, met within 5%; None lets it follow from `users`
    days : length of the log
    anomaly_rate : share of sessions that are anomalous
    camouflage : how well these hide, from 0, blatant, to 1, subtle
    sessions_per_user : mean number of shopping sessions, unless `n_events` decides it
    typologies : which of `TYPOLOGIES` take place, equally often; None is all
    start : date of the first day, ISO 8601, UTC
    """

    def __init__(
        self,
        *,
        users: int | None = None,
        n_events: int | None = None,
        days: float = 60,
        anomaly_rate: float = 0.02,
        camouflage: float = 0.3,
        sessions_per_user: float = 10.0,
        typologies: Sequence[str] | None = None,
        start: str = "2025-01-06",
        random_state: int | None = 7,
    ) -> None:
        self.users = users
        self.n_events = n_events
        self.days = days
        self.anomaly_rate = anomaly_rate
        self.camouflage = camouflage
        self.sessions_per_user = sessions_per_user
        self.typologies = typologies
        self.start = start
        self.random_state = random_state

    def simulate(self) -> Simulated:
        """Draw the events and the truth about them.

        Raises
        ------
        ConfigError
            If a parameter is out of its range.
        """
        start = self._check()
        seed = np.random.SeedSequence(self.random_state)
        users = self._n_users()
        if self.n_events is None:
            drawn = self._draw(users, max(1, round(users * self.sessions_per_user)), seed)
        else:
            drawn = self._draw_sized(users, self.n_events, seed)
        split = start + timedelta(days=_TRAIN * self.days)
        return to_frames(drawn.log, drawn.kinds, ("", *self._names()), start, split, _stream(seed, 1))

    def _n_users(self) -> int:
        if self.users is not None:
            return self.users
        if self.n_events is None:
            return 2000
        return max(20, round(self.n_events / (_EVENTS_PER_SESSION * self.sessions_per_user)))

    def _names(self) -> tuple[str, ...]:
        return tuple(TYPOLOGIES) if self.typologies is None else tuple(self.typologies)

    def _draw(self, users: int, n_sessions: int, seed: np.random.SeedSequence) -> _Draw:
        """Draw honest sessions, then anomalies among them; each typology has a stream of random numbers of its own."""
        population = draw_population(users, self.days, self._check().weekday(), _stream(seed, 2))
        kinds = [TYPOLOGIES[name](camouflage=self.camouflage) for name in self._names()]
        expected = _WITH_FOLLOW_UPS * n_sessions * self.anomaly_rate / (1 - self.anomaly_rate)
        quotas = _share_out(round(expected), len(kinds), _stream(seed, 3))
        streams = [_stream(seed, 10 + list(TYPOLOGIES).index(kind.name)) for kind in kinds]
        for kind, quota, rng in zip(kinds, quotas, streams, strict=True):
            kind.prepare(population, quota, rng)
        shopping = draw_shopping(population, n_sessions, _stream(seed, 4))
        later = draw_follow_ups(population, shopping.take(shopping.event == ORDER), _stream(seed, 5))
        honest = Log.concat([shopping, later])
        scene = Scene(population, honest)
        drawn = [kind.draw(quota, scene, rng) for kind, quota, rng in zip(kinds, quotas, streams, strict=True)]
        logs = [honest, *drawn]
        sizes = [int(log.session.max(initial=-1)) + 1 for log in logs]
        return _Draw(Log.concat(logs), np.repeat(np.arange(len(logs)), sizes))

    def _draw_sized(self, users: int, n_events: int, seed: np.random.SeedSequence) -> _Draw:
        """Draw a little more than asked for, then leave out honest sessions in which nothing was bought."""
        aim = 1.03 * n_events
        n_sessions = min(4000, round(aim / _EVENTS_PER_SESSION))
        best: _Draw | None = None
        for _ in range(8):
            drawn = self._draw(users, n_sessions, seed)
            over = len(drawn.log) / n_events
            if over >= 1 and (best is None or len(drawn.log) < len(best.log)):
                best = drawn
            if 1 <= over < 1.07:
                break
            n_sessions = max(1, math.ceil(n_sessions * aim / max(len(drawn.log), 1)) + 1)
        return _trim(best or drawn, n_events, _stream(seed, 6))

    def _check(self) -> datetime:
        """Return the first day; refuse parameters that are out of range."""
        ranges = (
            ("users", self.users, 10, 50_000_000),
            ("n_events", self.n_events, max(1000, 5 * self.users if isinstance(self.users, int) else 0), 1_000_000_000),
            ("days", self.days, 7, 3650),
            ("anomaly_rate", self.anomaly_rate, 0, 0.5),
            ("camouflage", self.camouflage, 0, 1),
            ("sessions_per_user", self.sessions_per_user, 1, 10_000),
            ("random_state", self.random_state, 0, 2**63),
        )
        for name, value, low, high in ranges:
            if value is not None and not (isinstance(value, int | float) and low <= value <= high):
                raise ConfigError(f"{name}={value!r}: expected a number from {low} to {high}")
        for name, whole in (("users", self.users), ("n_events", self.n_events), ("random_state", self.random_state)):
            if whole is not None and whole != int(whole):
                raise ConfigError(f"{name}={whole!r}: expected a whole number")
        unknown = [name for name in self._names() if name not in TYPOLOGIES]
        if unknown or not self._names() or len(set(self._names())) < len(self._names()):
            raise ConfigError(
                f"typologies={list(self._names())}: expected distinct names out of {', '.join(TYPOLOGIES)}"
            )
        try:
            return datetime.combine(date.fromisoformat(str(self.start)), time(), UTC)
        except ValueError as error:
            raise ConfigError(f"start={self.start!r}: expected a date such as 2025-01-06") from error


def _stream(seed: np.random.SeedSequence, key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(key,)))


def _share_out(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Split a total into parts as equal as they can be, the odd ones by lot."""
    more = rng.permutation(parts) < total % parts
    return [total // parts + int(one) for one in more]


def _trim(drawn: _Draw, n_events: int, rng: np.random.Generator) -> _Draw:
    """Leave out as many short honest sessions without order, return or review as brings the log to its size."""
    log, n = drawn.log, len(drawn.kinds)
    lengths = np.bincount(log.session, minlength=n)
    linked = np.bincount(log.session[np.isin(log.event, (ORDER, RETURN, REVIEW))], minlength=n) > 0
    loose = np.flatnonzero((drawn.kinds == 0) & ~linked & (lengths > 0) & (lengths <= max(3, n_events // 50)))
    loose = rng.permutation(loose)
    out = loose[np.cumsum(lengths[loose]) <= len(log) - n_events]
    keep = np.ones(n, bool)
    keep[out] = False
    return _Draw(log.take(keep[log.session]), drawn.kinds)
