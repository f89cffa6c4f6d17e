"""Where in a sequence a feature comes from.

Shapes: T events, N sequences, F fields of the axis, K features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.explain.axis import GAP, WHOLE, Axis
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.base import FeatureMatrix
    from anomaly.features.aggregates import SequenceAggregates
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

STEP = " > "
"""Between the two values of a feature that counts a step."""
_OF_GAPS = ("span.log", "rate.log")


def feature_field(name: str, fields: tuple[str, ...]) -> str:
    """Return the field that a feature speaks of; "whole" where it is none."""
    if name in _OF_GAPS or name.startswith(f"{GAP}."):
        return GAP
    known = [field for field in fields if name.startswith((f"{field}=", f"{field}."))]
    return max(known, key=len, default=WHOLE)


def counted_codes(aggregates: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return, of every feature that counts a value or a step, the field and the codes: one, or that of both ends."""
    found = {}
    for name in aggregates.names_:
        field, _, counted = name.partition("=")
        codes = [part.removeprefix("code ") for part in counted.split(STEP)]
        if field in aggregates.fields_ and all(code.isdigit() for code in codes):
            found[name] = (field, tuple(int(code) + FIRST_VALUE for code in codes))
    return found


def to_events(axis: Axis, aggregates: SequenceAggregates, features: FeatureMatrix, part_nK: Floats) -> Floats:
    """Return (T, F) the parts of features, laid on the events and fields that they count, add or compare.

    What a count tells lies in the events that are counted, a largest value where it is reached; what belongs to no
    event (a variety, a length, a value that is missing, an embedding) is spread evenly over its field.
    """
    place = {name: k for k, name in enumerate(features.names)}
    left = part_nK.copy()
    out = axis.zeros()
    out += _counts(axis, aggregates, place, left)
    out += _steps(axis, aggregates, place, left)
    out += _extremes(axis, place, left)
    return out + _even(axis, features.names, left)


def _counts(axis: Axis, aggregates: SequenceAggregates, place: dict[str, int], left: Floats) -> Floats:
    """Return what the counts of values carry, and take it from what is left."""
    out, store = axis.zeros(), axis.store
    for f, field in enumerate(store.fields):
        columns = np.array([place[name] for name in aggregates.code_names_[f]], np.int64)
        if len(columns) and left[:, columns].any():
            slot = np.full(max(field.size, int(store.codes[:, f].max(initial=0)) + 1), -1, np.int64)
            slot[aggregates.chosen_[f]] = columns
            out[:, axis.fields.index(field.name)] += _shared(axis, slot[store.codes[:, f]], left)
    return out


def _steps(axis: Axis, aggregates: SequenceAggregates, place: dict[str, int], left: Floats) -> Floats:
    """Return what the counts of transitions carry, at the later of both events."""
    out, store = axis.zeros(), axis.store
    if aggregates.transitions_ is None or not store.n_events:
        return out
    codes = np.asarray(store.codes[:, 0], np.int64)
    pairs = np.concatenate([[-1], codes[:-1] << 32 | codes[1:]])
    pairs[store.position() == 0] = -1
    known = aggregates.transitions_.pairs[aggregates.transitions_.chosen]
    columns = np.array([place[name] for name in aggregates.transition_names_], np.int64)
    if len(known) and left[:, columns].any():
        at = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        out[:, 0] += _shared(axis, np.where(known[at] == pairs, columns[at], -1), left)
    return out


def _shared(axis: Axis, column_T: NDArray[np.int64], left: Floats) -> Floats:
    """Return (T,) each feature's part divided among the events that it counts; -1 counts in none."""
    owner, K = axis.ragged.owner, left.shape[1]
    hit = np.flatnonzero((column_T >= 0) & axis.kept_T)
    key = owner[hit] * K + column_T[hit]
    distinct, where, counts = np.unique(key, return_inverse=True, return_counts=True)
    out = np.zeros(len(column_T))
    out[hit] = left.reshape(-1)[key] / counts[where]
    left.reshape(-1)[distinct] = 0.0
    return out


def _extremes(axis: Axis, place: dict[str, int], left: Floats) -> Floats:
    """Return what smallest and largest values carry, where they are reached."""
    columns: dict[str, Any] = {}
    for name, values in _series(axis.store).items():
        total = np.zeros(axis.store.n_events)
        for suffix, sign in ((".max", 1), (".min", -1), (".max_log", 1), (".min_log", -1)):
            k = place.get(name + suffix)
            if k is not None and left[:, k].any():
                at = axis.peaks(np.where(axis.kept_T, sign * values, -np.inf))
                total[at] += left[axis.ragged.owner[at], k]
                left[axis.ragged.owner[at], k] = 0.0
        columns[name] = total
    return axis.spread(columns)


def _series(store: SequenceStore) -> dict[str, Floats]:
    found = {name: np.asarray(store.values[:, g], np.float64) for g, name in enumerate(store.value_names)}
    return found | ({GAP: np.nan_to_num(np.asarray(store.delta, np.float64))} if store.has_time else {})


def _even(axis: Axis, names: tuple[str, ...], left: Floats) -> Floats:
    """Return the rest, evenly over the reported events of each feature's field."""
    by_field = np.zeros((len(left), len(axis.fields)))
    for k in np.flatnonzero(left.any(axis=0)):
        by_field[:, axis.fields.index(feature_field(names[k], axis.fields[:-1]))] += left[:, k]
    kept = axis.ragged.sum(axis.kept_T.astype(np.float64))
    share = np.where(axis.kept_T, 1.0 / np.maximum(kept, 1.0)[axis.ragged.owner], 0.0)
    nothing = (kept == 0)[axis.ragged.owner]
    share[nothing] = 1.0 / np.maximum(axis.ragged.lengths[axis.ragged.owner][nothing], 1)
    spread: Floats = by_field[axis.ragged.owner] * share[:, None]
    return spread
