"""How the statistics of members that read events split over events and fields.

A sum over events is split as its terms are, exactly. A largest value lies where it is reached. A statistic of which a
small value is odd lies in the events that make it small. What fits neither is carried by the events named below.

Shapes: T events, N sequences, F fields of the axis.
"""

from __future__ import annotations

from functools import singledispatch
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomaly.base import Analysis, EventDetector
from anomaly.detectors.neural import NeuralDetector
from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.ownpast import OwnPastDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.explain.axis import END, GAP, Axis
from anomaly.scores.statistics import SMALLEST_TAIL, TOP, EventResiduals, Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Split = Mapping[str, tuple[Floats, bool]]

_FAST, _REGULAR, _SEVERAL = 0.3, 0.12, 4
"""Mean transform of the gaps of a burst; spread of those of a clock, and how many gaps it takes to tell."""


class Parts(NamedTuple):
    """What a member's statistics are made of.

    Attributes
    ----------
    high, low : statistic to (weights (T, F), whether they are exact), where it is large, and where it is small
    surprise_T : what each event tells beyond what was expected of it, where a member reads the whole past
    kinds : statistic to (n,) the reason's code, where it is not the statistic alone that decides it
    """

    high: dict[str, tuple[Any, bool]]
    low: dict[str, tuple[Any, bool]]
    surprise_T: Floats | None = None
    kinds: Mapping[str, NDArray[Any]] = MappingProxyType({})


@singledispatch
def parts(member: EventDetector, axis: Axis, residuals: EventResiduals | None = None) -> Parts:
    """Return what carries each statistic of a member; of a foreign one, what it says of events and fields.

    Parameters
    ----------
    residuals : what a neural member says about the events, where that is known already
    """
    fields = axis.zeros()
    fields[:, axis.place(member.field_names)] = np.maximum(member.score_fields(axis.store), 0.0)
    return Parts({"": (fields * axis.kept_T[:, None], False)}, {})


@parts.register
def _(member: OwnPastDetector, axis: Axis, _: EventResiduals | None = None) -> Parts:
    high = {}
    for name, column in zip(member.field_names, member.score_fields(axis.store).T, strict=True):
        column = np.where(axis.kept_T, column, 0.0).astype(np.float64)
        high[f"contrast.{name}.largest"] = axis.spread({name: column * axis.peaks(column)}), True
        high[f"contrast.{name}.mean"] = axis.spread({name: column}), True
    return Parts(high, {})


@parts.register
def _(member: RarityDetector, axis: Axis, _: EventResiduals | None = None) -> Parts:
    values_TF, pairs_TP = (x * axis.kept_T[:, None] for x in member.rarities(axis.store))
    rarest = np.zeros_like(values_TF)
    if pairs_TP.shape[1]:
        best = pairs_TP.argmax(axis=1)
        event_T = pairs_TP.max(axis=1)
        rows = np.arange(len(best))
        for side in (0, 1):
            rarest[rows, np.array(member.pairs_)[best, side]] += event_T / 2
    single = values_TF * (values_TF == values_TF.max(axis=1, keepdims=True, initial=0.0))
    names = tuple(member.field_names)
    high = {"value.largest": (_lay(axis, names, single * axis.peaks(single.max(1))[:, None]), True)}
    high["value.mean"] = _lay(axis, names, single), True
    if pairs_TP.shape[1]:
        high["pair.largest"] = _lay(axis, names, rarest * axis.peaks(event_T)[:, None]), True
        high["pair.mean"] = _lay(axis, names, rarest), True
    return Parts(high, {})


@parts.register
def _(member: NGramDetector, axis: Axis, _: EventResiduals | None = None) -> Parts:
    found, names, kept = member.surprisals(axis.store), member.field_names, axis.kept_T[:, None]
    low = _lay(axis, names, found.low_TF * kept)
    rows = _with_ends(axis, _lay(axis, names, found.high_TF * kept), found.ends_N)
    high: dict[str, tuple[Any, bool]] = {
        "order0.mean": (low, True),
        "order0.largest": (low * axis.peaks(low.max(axis=1))[:, None] * _row_peak(low), True),
        "order1.mean": (rows.fold(rows.x), True),
        "order1.largest": (rows.fold(rows.x * rows.peaks(rows.x.max(axis=1)) * _row_peak(rows.x)), True),
        "order1.top5": (rows.fold(rows.x * rows.top(TOP)), True),
        "order1.largest_event": (rows.fold(rows.x * rows.peaks(rows.x.sum(axis=1))), True),
        "order1.largest_sum": (rows.fold(rows.x * rows.column_peaks()), True),
    }
    for order in (0, 1):
        columns = member.contrasts(axis.store, found, order)
        high[f"contrast.order{order}"] = axis.spread({k: np.maximum(v, 0.0) for k, v in columns.items()}), False
    small = {
        "order0.mean": (_predictable(low, axis), False),
        "order1.mean": (_predictable(rows.fold(rows.x), axis), False),
    }
    return Parts(high, small)


@parts.register
def _(member: NeuralDetector, axis: Axis, residuals: EventResiduals | None = None) -> Parts:
    r = member.residuals(axis.store) if residuals is None else residuals
    names = tuple(n for n in member.field_names if n != GAP)
    marks = np.flatnonzero(~r.clock)
    kept = tuple(names[k] for k in marks)
    surprisal, expected = (_lay(axis, kept, x[:, marks]) for x in (r.surprisal_TF, r.expected_TF))
    tail = _lay(axis, kept, -np.log(np.maximum(r.tail_TF[:, marks], SMALLEST_TAIL)))
    rows = _with_ends(axis, surprisal, r.end_N if r.closed else None)
    excess = surprisal - expected
    high: dict[str, tuple[Any, bool]] = {
        "mean": (rows.fold(rows.x), True),
        "largest": (rows.fold(rows.x * rows.peaks(rows.x.sum(axis=1))), True),
        "largest_field": (rows.fold(rows.x * rows.peaks(rows.x.max(axis=1)) * _row_peak(rows.x)), True),
        "fields_largest": (rows.fold(rows.x * rows.column_peaks()), True),
        "top": (rows.fold(rows.x * rows.top(TOP)), True),
        "improbable": (tail * axis.peaks(tail.max(axis=1))[:, None] * _row_peak(tail), True),
        "excess": (np.maximum(excess, 0.0), False),
        "end": (_at_ends(axis), True),
        "length": (axis.whole(END), False),
    }
    low: dict[str, tuple[Any, bool]] = {"excess": (np.maximum(-excess, 0.0), False), "length": (_at_ends(axis), False)}
    high |= _clock(axis, r, names)
    if r.contrast_T is not None:
        high |= _contrast(axis, r.contrast_T, surprisal)
    if r.timed:
        high |= _time(axis, r)
        low |= _slow_time(axis, r)
    kinds = {"gap_ks": pace(axis, r), "gap_mean": pace(axis, r)} if r.timed else {}
    return Parts(high, low, np.maximum(excess.sum(axis=1), 0.0), kinds)


def pace(axis: Axis, r: EventResiduals) -> NDArray[Any]:
    """Return (n,) the code of each sequence's pace, by where the transforms of its gaps lie and how close together."""
    known = ~np.isnan(r.gap_pit_T)
    u = np.where(known, np.nan_to_num(r.gap_pit_T), 0.0).astype(np.float64)
    n = np.maximum(axis.ragged.sum(known.astype(np.float64)), 1.0)
    mean = axis.ragged.sum(u) / n
    spread = np.sqrt(np.maximum(axis.ragged.sum(u**2) / n - mean**2, 0.0))
    codes = np.full(len(n), "UNUSUAL_PACE", dtype=object)
    codes[mean < _FAST] = "BURST"
    codes[mean > 1 - _FAST] = "LONG_SILENCE"
    # A uniform transform spreads by 0.29: far less of it, over several gaps, is a clock.
    codes[(n >= _SEVERAL) & (spread < _REGULAR)] = "TIMING_TOO_REGULAR"
    return codes


def event_parts(member: EventDetector, axis: Axis, analysis: Analysis) -> Parts:
    """Return what carries each statistic of the last event of every sequence, where the event is the item."""
    fields = _lay(axis, member.field_names, np.maximum(analysis.fields_TF, 0.0))
    last = np.zeros((axis.store.n_events, 1))
    last[axis.last_N[axis.ragged.filled]] = 1.0
    high: dict[str, tuple[Any, bool]] = {"": (fields * last, True)}
    for name in analysis.event_statistics.names:
        field = name.rpartition(".")[2]
        if field in axis.fields:
            high[name] = axis.spread({field: last[:, 0]}), True
    return Parts(high, {})


class _Rows(NamedTuple):
    """The events with each sequence's end as one more, and how to bring them back to the events."""

    x: Floats
    ragged: Ragged
    place: NDArray[np.int64]
    n_events: int

    def fold(self, weight: Floats) -> Floats:
        out = np.zeros((self.n_events, weight.shape[1]))
        np.add.at(out, self.place, weight)
        return out

    def peaks(self, x: Floats) -> Floats:
        """Mark the sequence's largest row, as (R, 1)."""
        return _peaks(self.ragged, x)[:, None]

    def column_peaks(self) -> Floats:
        """Mark each field's largest row of the sequence."""
        return np.stack([_peaks(self.ragged, column) for column in self.x.T], axis=1)

    def top(self, k: int) -> Floats:
        """Mark the k largest rows of the sequence, as (R, 1)."""
        return (self.ragged.places(self.x.sum(axis=1)) < k).astype(np.float64)[:, None]


def _with_ends(axis: Axis, x_TF: Floats, ends_N: Any | None) -> _Rows:
    if ends_N is None:
        return _Rows(x_TF, axis.ragged, np.arange(len(x_TF)), len(x_TF))
    offsets, n = axis.ragged.offsets, len(axis.ragged.lengths)
    after = offsets[1:]
    rows = np.insert(x_TF, after, 0.0, axis=0)
    rows[after + np.arange(n), axis.fields.index(END)] = np.where(axis.ragged.filled, ends_N, 0.0)
    place = np.insert(np.arange(len(x_TF)), after, axis.last_N)
    return _Rows(rows, Ragged(offsets + np.arange(n + 1)), place, len(x_TF))


def _peaks(ragged: Ragged, x: Floats) -> Floats:
    largest = ragged.largest(x)[ragged.owner]
    hits = np.flatnonzero(x == largest)
    out = np.zeros(len(x))
    out[hits[np.diff(ragged.owner[hits], prepend=-1) != 0]] = 1.0
    return out


def _lay(axis: Axis, names: tuple[str, ...], x: Any) -> Floats:
    """Put the columns of some fields where the axis has them."""
    out = axis.zeros()
    out[:, axis.place(names)] = x
    return out


def _row_peak(x: Floats) -> Floats:
    """Mark each row's largest field; the first of several."""
    out = np.zeros_like(x)
    if x.size:
        out[np.arange(len(x)), x.argmax(axis=1)] = 1.0
    return out


def _predictable(x_TF: Floats, axis: Axis) -> Floats:
    """Return weights that are the larger, the less an event says."""
    return axis.spread({axis.fields[0]: np.exp(-x_TF.sum(axis=1)) * axis.kept_T})


def _at_ends(axis: Axis) -> Floats:
    out = np.zeros(axis.store.n_events)
    out[axis.last_N[axis.ragged.filled]] = 1.0
    return axis.spread({END: out})


def _clock(axis: Axis, r: EventResiduals, names: tuple[str, ...]) -> dict[str, tuple[Any, bool]]:
    if not r.clock.any():
        return {}
    clock = np.flatnonzero(r.clock)
    x = _lay(axis, tuple(names[k] for k in clock), r.surprisal_TF[:, clock])
    return {"clock_mean": (x, True), "clock_largest": (x * axis.peaks(x.sum(axis=1))[:, None], True)}


def _contrast(axis: Axis, contrast_T: Any, surprisal: Floats) -> dict[str, tuple[Any, bool]]:
    """Return the events that are likelier for the crowd than for the owner, split as the fields surprise."""
    up = np.maximum(np.asarray(contrast_T, np.float64), 0.0)
    by_field = surprisal / np.maximum(surprisal.sum(axis=1, keepdims=True), 1e-12)
    run = up * _longest_run(axis.ragged, np.asarray(contrast_T, np.float64))
    return {"contrast": (by_field * up[:, None], False), "contrast_scan": (by_field * run[:, None], False)}


def _longest_run(ragged: Ragged, x: Floats) -> Floats:
    """Mark the run of consecutive events with the largest sum, whose end is where the scan peaks (Page 1954)."""
    total = np.cumsum(x)
    before = np.concatenate([[0.0], total])[:-1]
    gain = ragged.runs(x)
    end = np.flatnonzero(_peaks(ragged, gain))
    last = np.repeat(end, ragged.lengths[ragged.filled])
    place = np.arange(len(x))
    # Going back from the end of the run, the events whose sum to the end is not above the peak's gain belong to it.
    since = total[last] - before
    inside = (place <= last) & (since <= gain[last] + 1e-9)
    start = (
        np.maximum.reduceat(np.where(inside & (np.abs(since - gain[last]) <= 1e-6), place, -1), ragged.starts)
        if len(x)
        else place
    )
    first = np.repeat(np.where(start < 0, end, start), ragged.lengths[ragged.filled])
    return ((place >= first) & (place <= last)).astype(np.float64)


def _time(axis: Axis, r: EventResiduals) -> dict[str, tuple[Any, bool]]:
    known = ~np.isnan(r.gap_pit_T)
    u = np.where(known, np.clip(np.nan_to_num(np.asarray(r.gap_pit_T, np.float64), nan=0.5), 1e-7, 1 - 1e-7), 0.5)
    surprisal = np.where(known, r.gap_surprisal_T, 0.0)
    extreme = np.where(known, -np.log(2 * np.minimum(u, 1 - u)), 0.0)
    tau = np.where(known, -np.log1p(-u), 0.0)
    gaps = {
        "gap_mean": surprisal - surprisal.min(initial=0.0) * known,
        "gap_largest": extreme * axis.peaks(extreme),
        "gap_ks": _crowded(axis, u, known),
        "spacings": tau**2,
        "lag_one": _alike(axis, u, known),
    }
    exact = {"gap_largest"}
    return {name: (axis.spread({GAP: weight}), name in exact) for name, weight in gaps.items()}


def _slow_time(axis: Axis, r: EventResiduals) -> dict[str, tuple[Any, bool]]:
    known = ~np.isnan(r.gap_pit_T)
    even = axis.spread({GAP: known.astype(np.float64)})
    calm = axis.spread({GAP: np.where(known, np.exp(-np.abs(r.gap_surprisal_T)), 0.0)})
    return {"gap_mean": (calm, False), "spacings": (even, False), "lag_one": (even, False)}


def _crowded(axis: Axis, u: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return (T,) how much denser than uniform the sequence's transforms lie around each, in a tenth of the range."""
    bins = np.minimum((u * 10).astype(np.int64), 9)
    key = axis.ragged.owner * 10 + bins
    counts = np.bincount(key[known], minlength=10 * len(axis.ragged.lengths))
    expected = np.bincount(axis.ragged.owner[known], minlength=len(axis.ragged.lengths)) / 10
    ratio = counts[key] / np.maximum(expected[axis.ragged.owner], 1e-9)
    return np.where(known, np.maximum(ratio - 1.0, 0.0), 0.0)


def _alike(axis: Axis, u: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return (T,) how alike a gap and its neighbours are, as products of normal scores."""
    from scipy.special import ndtri

    z = np.where(known, ndtri(u), 0.0)
    product = np.zeros(len(u))
    same = axis.ragged.owner[1:] == axis.ragged.owner[:-1]
    product[1:][same] = np.maximum(z[1:] * z[:-1], 0.0)[same]
    out = product.copy()
    out[:-1] += product[1:] * same
    return out
