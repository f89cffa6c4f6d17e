"""Encoded values as people write them: numbers themselves, not the bins that a model reads.

Shapes: T events, N sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.events.binning import CLIP, ENGLISH, MISSING, quantity
from anomaly.events.times import DATES_FROM
from anomaly.events.vocabulary import FIRST_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

BOUND = {0: "", 1: "≥ ", -1: "≤ "}
"""Before a number that is cut off, by the side."""


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
        found[name] = ((scaled >= CLIP).astype(np.int64) - (scaled <= -CLIP)) * (not encoder.table)
    return found


def value_texts(
    store: SequenceStore, encoder: EventEncoder, places: NDArray[np.int64], words: Mapping[str, str] = ENGLISH
) -> dict[str, list[str]]:
    """Return the values of some events by field; a number that is cut off as a bound.

    Parameters
    ----------
    words : translates what is no value, such as "missing"
    """
    codes = np.asarray(store.codes[places])
    found = {f.name: encoder.decode(f.name, codes[:, k], words) for k, f in enumerate(store.fields)}
    sides = cut_off(store, encoder, places)
    for name, numbers in restored(store, encoder, places).items():
        each = zip(numbers, sides[name], found[name], strict=True)
        found[name] = [BOUND[int(side)] + quantity(v) if np.isfinite(v) else text for v, side, text in each]
    return found


def present(encoder: EventEncoder, name: str, codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether codes of a categorical field stand for values that are there and known."""
    known: NDArray[np.bool_] = (codes >= FIRST_VALUE) & (codes != encoder.vocabularies_[name].missing_)
    return known


def moments(
    store: SequenceStore, encoder: EventEncoder, places: NDArray[np.int64], words: Mapping[str, str] = ENGLISH
) -> list[str]:
    """Return the times of some events: dates by the data's own clock, or seconds from a zero of their own."""
    if not store.has_time:
        return [""] * len(places)
    time = pl.Series(np.asarray(store.time[places]))
    if (time < DATES_FROM).all():
        return [f"{t / 1e6:.3f} {words.get('s', 's')}" for t in time]
    local = time.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(encoder.schema_.timezone or "UTC")
    return local.dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
