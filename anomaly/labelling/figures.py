"""Figures of every item, and where an item stands among the crowd by each.

Shapes: T events, N sequences, n items, k figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from anomaly.events.binning import quantity
from anomaly.explain.values import BOUND, cut_off, present, restored
from anomaly.explain.words import duration
from anomaly.features.segments import reported, segment_max, segment_sum
from anomaly.features.summaries import chosen_counts, variety
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

SHOWN = 8
COUNTED = 12
"""Values of the leading field that are counted."""


@dataclass(frozen=True)
class Figure:
    """One number of an item.

    Attributes
    ----------
    percentile : share of the items, from 0 to 1, that are below it, equals counted half
    odd : whether it is among the outer 2% on either side
    """

    name: str
    text: str
    percentile: float
    odd: bool


NOWHERE: Mapping[str, NDArray[np.bool_]] = MappingProxyType({})


class Figures:
    """The figures of all items, sorted once so that a percentile is one look-up.

    Parameters
    ----------
    columns : name to (n,) values, NaN where an item has none
    least : name to (n,) whether the item's figure is that much at least
    """

    def __init__(self, columns: dict[str, Floats], least: Mapping[str, NDArray[np.bool_]] = NOWHERE) -> None:
        self.least = least
        self.columns = {name: c for name, c in columns.items() if np.nanmin(c, initial=np.inf) < _largest(c)}
        self._sorted = {name: np.sort(c[np.isfinite(c)]) for name, c in self.columns.items()}

    def of(self, place: int, shown: int = SHOWN) -> list[Figure]:
        """Return the figures by which an item stands out most, the most unusual first."""
        found = [self._figure(name, place) for name, c in self.columns.items() if np.isfinite(c[place])]
        return sorted(found, key=lambda figure: -abs(figure.percentile - 0.5))[:shown]

    def _figure(self, name: str, place: int) -> Figure:
        value = float(self.columns[name][place])
        ascending = self._sorted[name]
        below, up_to = np.searchsorted(ascending, value, "left"), np.searchsorted(ascending, value, "right")
        percentile = float(below + up_to) / 2 / len(ascending)
        text = duration(value) if name in _SECONDS else quantity(value)
        text = BOUND[int(name in self.least and self.least[name][place])] + text
        return Figure(name, text, percentile, abs(percentile - 0.5) > 0.48)


_SECONDS = ("time from first to last", "longest gap", "shortest gap", "time since the event before")


def _largest(column: Floats) -> float:
    return float(np.nanmax(column, initial=-np.inf))


def sequence_figures(store: SequenceStore, encoder: EventEncoder) -> dict[str, Floats]:
    """Return the figures of every sequence: events, tempo, amounts, variety, kinds of events."""
    offsets, kept = reported(store)
    lengths = np.diff(offsets).astype(np.float64)
    columns = {"events": lengths}
    if store.has_time:
        columns |= _tempo(store.delta[kept].astype(np.float64), offsets)
    for name, value in restored(store, encoder, np.flatnonzero(kept)).items():
        known = np.nan_to_num(value)
        columns[f"total {name}"] = segment_sum(known, offsets)
        columns[f"largest {name}"] = segment_max(np.where(np.isfinite(value), value, -np.inf), offsets)
    codes = store.codes[kept]
    for k, field in enumerate(store.fields):
        if field.kind == "categorical":
            columns |= _field_figures(field.name, codes[:, k], offsets, encoder, leading=k == 0)
    return {name: np.where(np.isfinite(c), c, np.nan) for name, c in columns.items()}


def least_figures(store: SequenceStore, encoder: EventEncoder, *, by_event: bool) -> dict[str, NDArray[np.bool_]]:
    """Return which figures of the items are too small, as a number behind them is cut off from above."""
    offsets, kept = reported(store)
    above = {name: side > 0 for name, side in cut_off(store, encoder, np.flatnonzero(kept)).items()}
    if by_event:
        return above
    largest = {name: segment_max(cut.astype(np.float64), offsets) > 0 for name, cut in above.items()}
    return {f"{what} {name}": cut for name, cut in largest.items() for what in ("total", "largest")}


def event_figures(store: SequenceStore, encoder: EventEncoder) -> dict[str, Floats]:
    """Return the figures of every reported event: its numbers, its gap, its place."""
    places = np.flatnonzero(reported(store)[1])
    position = store.position()[places]
    columns: dict[str, Floats] = {"place in its sequence": (position + 1).astype(np.float64)}
    if store.has_time:
        columns["time since the event before"] = np.where(position > 0, store.delta[places], np.nan)
    return columns | restored(store, encoder, places)


def _tempo(delta: Floats, offsets: NDArray[np.int64]) -> dict[str, Floats]:
    lengths = np.diff(offsets)
    steps = np.nan_to_num(delta)
    steps[offsets[:-1][lengths > 0]] = 0.0
    span = segment_sum(steps, offsets)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(span > 0, (lengths - 1) / span * 60, np.nan)
    return {
        "time from first to last": span.astype(np.float64),
        "longest gap": np.where(lengths > 1, segment_max(steps, offsets), np.nan),
        "events per minute": rate,
    }


def _field_figures(
    name: str, codes: NDArray[np.integer], offsets: NDArray[np.int64], encoder: EventEncoder, *, leading: bool
) -> dict[str, Floats]:
    size = int(codes.max(initial=FIRST_VALUE)) + 1
    known = present(encoder, name, codes)
    own = np.concatenate([[0], np.cumsum(known)])[offsets]
    columns: dict[str, Floats] = {f"different {name} values": variety(codes[known].astype(np.int64), size, own)[0]}
    if leading:
        counts = np.bincount(codes, minlength=size)
        counts[:FIRST_VALUE] = 0
        chosen = np.argsort(-counts, kind="stable")[:COUNTED]
        chosen = chosen[counts[chosen] > 0]
        slot = np.full(size, len(chosen), np.int64)
        slot[chosen] = np.arange(len(chosen))
        counted = chosen_counts(slot[codes], len(chosen), offsets)
        columns |= {f"{name}: {text}": counted[:, i] for i, text in enumerate(encoder.decode(name, chosen))}
    return columns
