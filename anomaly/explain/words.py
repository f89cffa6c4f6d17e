"""Times, waits and shares as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def edit_text(edit: Mapping[str, Any]) -> str:
    """Return the smallest edit as a phrase."""
    parts = [f"with {row['field']} = {row['value']} at event {row['position'] + 1}" for row in edit["replaced"]]
    if edit["dropped"]:
        places = ", ".join(str(position + 1) for position in edit["dropped"][:12])
        more = len(edit["dropped"]) - 12
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f"without event{'s' if len(edit['dropped']) > 1 else ''} {places}{rest}")
    if not parts:
        return "as it is" if edit["enough"] else "by no small edit"
    result = f"p = {edit['p_value']:.2g}"
    return f"{', '.join(parts)} ({result})" if edit["enough"] else f"by no small edit ({', '.join(parts)}: {result})"
