"""What the columns of a log are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Self

import polars as pl

from anomaly.errors import SchemaError
from anomaly.events.times import NO_TIME, TimeUnit, parse_time

AUTO: Final = "auto"
"""A role that is left open, to be inferred; None is a role that no column has."""

Ends = Literal["auto", "closed", "open"]

_SECONDS = {"ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")
_LISTS = ("order", "categorical", "numeric", "shared")


def seconds(duration: str | float) -> float:
    """Return the length of a duration such as "30m", "1h30m" or a number of seconds.

    Raises
    ------
    SchemaError
        If the text is no positive duration.
    """
    if isinstance(duration, (int, float)):
        total = float(duration)
    else:
        parts = _DURATION.findall(duration)
        if not parts or _DURATION.sub("", duration).strip():
            raise SchemaError(f"{duration!r} is no duration; write a number and a unit, such as 90s, 30m, 12h or 7d")
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not total > 0:
        raise SchemaError(f"a duration must be positive, got {duration!r}")
    return total


@dataclass(frozen=True)
class EventSchema:
    """The roles of the columns; `AUTO` is inferred from the data, None is "no such column".

    Attributes
    ----------
    entity : whose behaviour
    sequence : column that names the sequence; None where `gap`, `window` or the whole history makes it
    time : when
    time_unit : unit of a numeric time
    timezone : IANA name in which times without a zone are read and hours are counted; UTC by default
    order : columns that order the events before time does
    id : row id, passed through
    categorical, numeric : the inputs
    shared : columns whose use by several entities is counted over `shared_window`
    gap : a silence that ends a sequence, such as "30m"
    window : events per sequence
    ends : whether the end of a sequence means something
    until : end of what was observed, a date or a number of the time's unit; where it is stated, the silence after an
        entity's last event is measured
    """

    entity: str | None = AUTO
    sequence: str | None = AUTO
    time: str | None = AUTO
    time_unit: TimeUnit = "auto"
    timezone: str | None = None
    order: str | tuple[str, ...] | None = AUTO
    id: str | None = AUTO
    categorical: str | tuple[str, ...] | None = AUTO
    numeric: str | tuple[str, ...] | None = AUTO
    shared: str | tuple[str, ...] | None = None
    shared_window: str | float = "30d"
    gap: str | float | None = None
    window: int | None = None
    ends: Ends = "auto"
    until: str | float | None = None

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, _columns(name, getattr(self, name)))
        if self.ends not in ("auto", "closed", "open"):
            raise SchemaError(f"events.ends is closed, open or auto, got {self.ends!r}")
        if self.time_unit not in ("auto", "s", "ms", "us", "ns"):
            raise SchemaError(f"events.time_unit is s, ms, us, ns or auto, got {self.time_unit!r}")
        both = sorted(set(self.names("categorical")) & set(self.names("numeric")))
        if both:
            raise SchemaError(f"column {both[0]} is both in events.categorical and events.numeric; state it in one")
        self._check_cut()
        try:
            pl.Series([0]).cast(pl.Datetime("us", self.timezone or "UTC")).dt.hour()
        except pl.exceptions.PolarsError as error:
            raise SchemaError(f"events.timezone={self.timezone}: no IANA name, such as Europe/Berlin") from error
        if self.until is not None and self.end_of_time == NO_TIME:
            raise SchemaError(f"events.until={self.until} is no time; write a date, or a number as the times are")

    @property
    def end_of_time(self) -> int | None:
        """Return `until` as microseconds, None where it is not stated."""
        if self.until is None:
            return None
        unit = "s" if self.time_unit == "auto" else self.time_unit
        return int(parse_time(pl.Series([self.until]), unit, self.timezone)[0])

    def _check_cut(self) -> None:
        cut = [name for name in ("gap", "window") if getattr(self, name) is not None]
        if self.sequence not in (AUTO, None):
            cut.insert(0, "sequence")
        if len(cut) > 1:
            raise SchemaError(f"events.{cut[0]} and events.{cut[1]} both cut the sequences; state one of them")
        if self.gap is not None:
            seconds(self.gap)
        if self.window is not None and not (isinstance(self.window, int) and self.window >= 1):
            raise SchemaError(f"events.window is a number of events from 1, got {self.window}")
        seconds(self.shared_window)

    @classmethod
    def of(cls, stated: EventSchema | Mapping[str, Any] | None = None, **roles: Any) -> Self | EventSchema:
        """Return the schema of stated roles; what is not named is left open.

        Raises
        ------
        SchemaError
            If a key is no role.
        """
        if isinstance(stated, EventSchema):
            return replace(stated, **roles)
        roles = {**(stated or {}), **roles}
        known = [f.name for f in fields(cls)]
        for name in roles:
            if name not in known:
                raise SchemaError(f"events.{name} is no role of a column; there are {', '.join(known)}")
        return cls(**roles)

    @property
    def complete(self) -> bool:
        """Whether no role is left open."""
        return AUTO not in {v for v in self.roles().values() if isinstance(v, str)}

    def roles(self) -> dict[str, Any]:
        """Return every role by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def names(self, role: str) -> tuple[str, ...]:
        """Return the columns of a role, none where it is open or None."""
        value = getattr(self, role)
        if value is None or value == AUTO:
            return ()
        return (value,) if isinstance(value, str) else tuple(value)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that become fields of an event, relational counts and clock fields aside."""
        return self.names("categorical") + self.names("numeric")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        roles = ("entity", "sequence", "time", "order", "id", "categorical", "numeric", "shared")
        return tuple(dict.fromkeys(name for role in roles for name in self.names(role)))

    def overrides(self) -> list[str]:
        """Return the overrides that state this schema, in the form a command takes."""
        default = EventSchema(time_unit="s")
        changed = {n: v for n, v in self.roles().items() if v not in (AUTO, getattr(default, n))}
        return [f"events.{name}={_text(value)}" for name, value in changed.items()]


def _columns(role: str, value: Any) -> str | tuple[str, ...]:
    """Return a list of columns as a tuple, none for None."""
    if value is None:
        return ()
    if isinstance(value, str):
        return AUTO if value == AUTO else (value,)
    if isinstance(value, Iterable):
        names = tuple(str(v) for v in value)
        if len(set(names)) < len(names):
            raise SchemaError(f"events.{role} names a column twice: {', '.join(names)}")
        return names
    raise SchemaError(f"events.{role} is a list of columns, got {value!r}")


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[" + ",".join(_text(v) for v in value) + "]"
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z_][\w.\-/]*|\d+(\.\d+)?\w*", text)
    return text if plain else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
