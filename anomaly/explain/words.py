"""Times, waits and shares as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

_DATES_FROM = 315_532_800_000_000
"""1980 in microseconds: times before it count from a zero of their own."""
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def moment(store: SequenceStore, place: int) -> str:
    """Return when an event was: a date, or seconds since the column's zero; nothing where there is no time."""
    if not store.has_time:
        return ""
    microseconds = int(store.time[place])
    if microseconds < _DATES_FROM:
        return f"{microseconds / 1e6:.3f} s"
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Return a wait in the largest unit that it fills."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def percent(share: float) -> str:
    """Return a probability with two digits that tell."""
    if share >= 0.0995:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.2g}%" if share >= 1e-4 else "<0.01%" if share > 0 else "0%"
