"""The timeline of a case as plain geometry: lanes of events, gaps, amounts, changes; a template draws it.

Time is compressed: a gap takes room by its logarithm, so that a burst stays readable beside a night's silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anomaly.explain.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEFT, RIGHT, WIDTH = 118.0, 14.0, 760.0
TOP, ROW, BARS = 30.0, 25.0, 40.0
LANES = 8
_GAPS, _LONG, _APART = 5, 60.0, 74.0


@dataclass(frozen=True)
class Dot:
    """One event in its lane; `mark` numbers the most surprising ones from 1, 0 marks none."""

    x: float
    y: float
    mark: int
    here: bool
    text: str


@dataclass(frozen=True)
class Lane:
    """One kind of event, or of change."""

    name: str
    y: float


@dataclass(frozen=True)
class Timeline:
    """Everything that is drawn, in the units of a box `width` wide.

    Attributes
    ----------
    lanes, dots : kinds of events, and the events in them
    gaps : long silences: middle, start, end, how long
    bars : amounts as (x, top, height, text); `amount` names them, `base` is the line they stand on
    changes : places where a device, address or the like is another than before: x, y, text
    ends : first and last time
    """

    width: float
    height: float
    lanes: list[Lane]
    dots: list[Dot]
    gaps: list[tuple[float, float, float, str]]
    bars: list[tuple[float, float, float, str]]
    amount: str | None
    base: float
    change_lanes: list[Lane]
    changes: list[tuple[float, float, str]]
    ends: tuple[str, str]


@dataclass(frozen=True)
class Strand:
    """The events of a case that a timeline shows, in their order.

    Attributes
    ----------
    kinds : what each is
    delta : seconds since the event before, NaN where unknown
    texts : what each says when it is pointed at
    marks : 1 for the most surprising, 2 for the next, 0 for the rest
    here : whether it is the event that is judged
    amount : name and values, NaN where there are none
    changes : by field, the values, "" where there is none
    ends : first and last time
    """

    kinds: Sequence[str]
    delta: NDArray[np.float64]
    texts: Sequence[str]
    marks: NDArray[np.int64]
    here: NDArray[np.bool_]
    amount: tuple[str, NDArray[np.float64]] | None
    changes: dict[str, list[str]]
    ends: tuple[str, str]


def draw(strand: Strand) -> Timeline:
    """Return the geometry of a case."""
    x = places(strand.delta)
    names = _lane_names(strand.kinds)
    lanes = [Lane(name, TOP + ROW * (k + 0.5)) for k, name in enumerate(names)]
    row = {lane.name: lane.y for lane in lanes}
    other = lanes[-1].y if lanes else TOP
    dots = [
        Dot(float(x[i]), row.get(kind, other), int(strand.marks[i]), bool(strand.here[i]), strand.texts[i])
        for i, kind in enumerate(strand.kinds)
    ]
    below = TOP + ROW * len(lanes)
    bars, base = _bars(strand, x, below)
    change_lanes, changes, height = _changes(strand, x, base)
    return Timeline(
        WIDTH,
        height + 26,
        lanes,
        dots,
        _gaps(strand.delta, x),
        bars,
        strand.amount[0] if bars and strand.amount else None,
        base,
        change_lanes,
        changes,
        strand.ends,
    )


def places(delta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each event stands: steps grow with the logarithm of the gap."""
    steps = np.nan_to_num(delta[1:], nan=0.0)
    positive = steps[steps > 0]
    unit = float(np.median(positive)) if len(positive) else 1.0
    room = 1.0 + np.log1p(np.maximum(steps, 0.0) / unit)
    across = np.concatenate([[0.0], np.cumsum(room)])
    inner = WIDTH - LEFT - RIGHT - 16
    scale = inner / across[-1] if across[-1] else 0.0
    # Two events do not stand at opposite ends of the page.
    scale = min(scale, 90.0)
    return np.asarray(LEFT + 8 + across * scale, np.float64)


def _lane_names(kinds: Sequence[str]) -> list[str]:
    """Return the kinds that get a lane, in the order in which they first happen; the last is for all others."""
    names, counts = np.unique(np.array(kinds, object).astype(str), return_counts=True)
    if len(names) <= LANES:
        return list(dict.fromkeys(kinds))
    kept = set(names[np.argsort(-counts, kind="stable")[: LANES - 1]])
    return [*(name for name in dict.fromkeys(kinds) if name in kept), f"{len(names) - len(kept)} others"]


def _gaps(delta: NDArray[np.float64], x: NDArray[np.float64]) -> list[tuple[float, float, float, str]]:
    """Return the longest silences that stand apart from one another."""
    steps = np.nan_to_num(delta[1:], nan=0.0)
    positive = steps[steps > 0]
    bar = max(_LONG, 4 * float(np.median(positive))) if len(positive) > 2 else _LONG
    found: list[tuple[float, float, float, str]] = []
    for i in np.argsort(-steps, kind="stable")[: 3 * _GAPS]:
        middle = float(x[i] + x[i + 1]) / 2
        if steps[i] >= bar and len(found) < _GAPS and all(abs(middle - other[0]) > _APART for other in found):
            found.append((middle, float(x[i]), float(x[i + 1]), duration(float(steps[i]))))
    return sorted(found)


def _bars(strand: Strand, x: NDArray[np.float64], top: float) -> tuple[list[tuple[float, float, float, str]], float]:
    if strand.amount is None:
        return [], top
    name, values = strand.amount
    shown = np.flatnonzero(np.isfinite(values) & (values != 0))
    if not len(shown):
        return [], top
    size = np.log1p(np.abs(values[shown]) / np.median(np.abs(values[shown])))
    base = top + BARS + 4
    heights = np.maximum(size / size.max() * BARS, 2.0)
    bars = [
        (float(x[i]), base - float(h), float(h), f"{name} {values[i]:,.2f}")
        for i, h in zip(shown, heights, strict=True)
    ]
    return bars, base


def _changes(
    strand: Strand, x: NDArray[np.float64], top: float
) -> tuple[list[Lane], list[tuple[float, float, str]], float]:
    lanes: list[Lane] = []
    changes: list[tuple[float, float, str]] = []
    for name, values in strand.changes.items():
        y = top + ROW * (len(lanes) + 0.5) + 4
        found, before = [], ""
        for i, value in enumerate(values):
            if value and before and value != before:
                found.append((float(x[i]), y, f"{name}: {before} → {value}"))
            before = value or before
        if found:
            lanes.append(Lane(f"{name} changes", y))
            changes += found
    return lanes, changes, top + ROW * len(lanes) + (8 if lanes else 0)
