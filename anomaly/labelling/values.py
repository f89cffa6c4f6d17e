"""Encoded values as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.events.binning import CLIP, MISSING
from anomaly.events.vocabulary import FIRST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

BOUND = {0: "", 1: "≥ ", -1: "≤ "}
"""Before a number that is cut off, by the side."""
_DATES_FROM = 315_532_800_000_000
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def restored(store: SequenceStore, encoder: EventEncoder, places: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the numbers of some events in their own units, NaN where missing."""
    found = {}
    for g, name in enumerate(store.value_names):
        scaled = np.asarray(store.values[places, g])
        value = scaled.astype(np.float64) if encoder.table else encoder.bins_[name].restore(scaled)
        missing = store.codes[places, store.field_names.index(name)] == MISSING
        found[name] = np.where(missing, np.nan, value)
    return found


def cut_off(store: SequenceStore, encoder: EventEncoder, places: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return 1 where a number is at least what `restored` says of it, -1 where at most, 0 where it is that number."""
    found = {}
    for g, name in enumerate(store.value_names):
        scaled = np.asarray(store.values[places, g])
        found[name] = (np.abs(scaled) >= CLIP) * np.sign(scaled).astype(np.int64) * (not encoder.table)
    return found


def present(encoder: EventEncoder, name: str, codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether codes of a categorical field stand for values that are there and known."""
    known: NDArray[np.bool_] = (codes >= FIRST_VALUE) & (codes != encoder.vocabularies_[name].missing_)
    return known


def moments(store: SequenceStore, places: NDArray[np.int64]) -> list[str]:
    """Return the times of some events: dates, or seconds where times are counted from a zero of their own."""
    if not store.has_time:
        return [""] * len(places)
    time = pl.Series(np.asarray(store.time[places]))
    if (time < _DATES_FROM).all():
        return [f"{t / 1e6:.3f} s" for t in time]
    return time.cast(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%d %H:%M:%S").to_list()


def moment(microseconds: int) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    if not np.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds else "0 s"
    parts: list[str] = []
    left = round(seconds)
    for size, unit in _UNITS:
        count, left = divmod(left, int(size))
        if count or parts:
            parts.append(f"{count:.0f} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def quantity(value: float) -> str:
    """Return a number with as many digits as say something."""
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.3g}"
    if abs(value - round(value)) < 1e-4 * max(abs(value), 1e-9):
        return f"{round(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
