"""Times of any form to microseconds.

Shapes: T events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from anomaly.errors import SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]

NO_TIME: Final = np.iinfo(np.int64).min
"""A missing time."""

DATES_FROM: Final = 315_532_800_000_000
"""1980 in microseconds: earlier numbers count from a zero of their own and have no hour or weekday."""

_PER_UNIT = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
_ZONED = "%Y-%m-%dT%H:%M:%S%.f%z"
_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%dT%H:%M:%S%.f",
    "%Y/%m/%d",
    "%d.%m.%YT%H:%M:%S%.f",
    "%d.%m.%Y",
    "%d.%m.%YT%H:%M",
)
_US: Final = "us"


def guess_unit(column: pl.Series) -> TimeUnit:
    """Return the unit of numeric times: by size where they are dates, else seconds."""
    if not column.dtype.is_numeric():
        return "s"
    largest = column.cast(pl.Float64).abs().max()
    size = float(largest) if isinstance(largest, float) else 0.0
    return "ns" if size > 1e17 else "us" if size > 1e14 else "ms" if size > 1e11 else "s"


def parse_time(column: pl.Series, unit: str = "s", timezone: str | None = None) -> NDArray[np.int64]:
    """Return (T,) microseconds since 1970 UTC, `NO_TIME` where missing or unparsable.

    Numbers count `unit` from 1970, or from the column's own zero. Text is ISO 8601, with or without a zone, year first
    or day.month.year; times without a zone are read in `timezone`.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Duration):
        return _micros(column.cast(pl.Duration("us")))
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        return _micros(_to_utc(column.cast(pl.Datetime("us", getattr(dtype, "time_zone", None))), timezone))
    if dtype.is_numeric():
        return _scaled(column, unit)
    if dtype == pl.Null:
        return np.full(len(column), NO_TIME)
    if dtype != pl.String:
        raise SchemaError(f"column {column.name} of type {dtype} holds no times; state events.time")
    return _from_text(column, unit, timezone)


def _micros(column: pl.Series) -> NDArray[np.int64]:
    filled: NDArray[np.int64] = column.to_physical().cast(pl.Int64).fill_null(NO_TIME).to_numpy()
    return filled


def _to_utc(column: pl.Series, timezone: str | None) -> pl.Series:
    """Read naive times in a zone; of an hour that comes twice the first is meant, one that is skipped is missing."""
    if timezone is None or getattr(column.dtype, "time_zone", None) is not None:
        return column
    try:
        return column.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    except pl.exceptions.ComputeError as error:
        raise SchemaError(f"events.timezone={timezone}: {error}") from error


def _scaled(column: pl.Series, unit: str) -> NDArray[np.int64]:
    factor = _PER_UNIT[unit]
    if column.dtype.is_integer() and factor >= 1:
        numbers = column.cast(pl.Int64)
        limit = NO_TIME // -int(factor) - 1
        inside = numbers.is_between(-limit, limit)
        return _micros(numbers.set(~inside.fill_null(True), None) * int(factor))
    micros = np.rint(column.cast(pl.Float64).fill_null(float("nan")).to_numpy() * factor)
    good = np.abs(micros) < 2.0**62
    return np.where(good, np.where(good, micros, 0).astype(np.int64), NO_TIME)


def _from_text(column: pl.Series, unit: str, timezone: str | None) -> NDArray[np.int64]:
    text = column.str.strip_chars()
    # A blank between date and clock is as common as the T of the standard.
    text = text.str.replace(r"^(\S+)[ _]+(\d)", "${1}T${2}") if text.str.contains(r"^\S+[ _]+\d").any() else text
    micros = np.full(len(text), NO_TIME)
    for attempt in range(len(_FORMATS) + 2):
        left = np.flatnonzero(micros == NO_TIME)
        left = left[text.is_not_null().to_numpy()[left]] if len(left) else left
        if not len(left):
            break
        rest = text if len(left) == len(text) else text.gather(left)
        micros[left] = _attempt(rest, attempt, unit, timezone)
    return micros


def _attempt(text: pl.Series, attempt: int, unit: str, timezone: str | None) -> NDArray[np.int64]:
    if attempt < len(_FORMATS):
        return _micros(_to_utc(text.str.to_datetime(_FORMATS[attempt], time_unit=_US, strict=False), timezone))
    if attempt == len(_FORMATS):
        zoned = text.str.replace(r"(?:Z|z|UTC)$", "+00:00").str.replace(r"([+-]\d\d)$", "${1}:00")
        return _micros(zoned.str.to_datetime(_ZONED, time_unit=_US, time_zone="UTC", strict=False))
    return _scaled(text.cast(pl.Float64, strict=False), unit)


def clock(time: NDArray[np.int64], timezone: str | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (T,) hour 0 to 23 and (T,) weekday 0 (Monday) to 6 of microseconds, -1 where missing."""
    missing = time == NO_TIME
    local = np.where(missing, 0, time)
    if timezone not in (None, "UTC"):
        stamps = pl.Series(local).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(timezone)
        local = stamps.dt.replace_time_zone(None).to_physical().to_numpy()
    hours = local // 3_600_000_000
    # 1970-01-01 was a Thursday.
    hour, weekday = hours % 24, (hours // 24 + 3) % 7
    return np.where(missing, -1, hour), np.where(missing, -1, weekday)
