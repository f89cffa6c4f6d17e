"""The statistics bank: residuals of many events to a few figures per sequence.

Mean error is the wrong score: too predictable is as odd as too surprising, and which statistic carries the signal
differs from data to data. So each is computed, calibrated on its own, and combined later.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from anomaly.base import Statistics
from anomaly.features.segments import segment_max, segment_mean, segment_sum, segment_top_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.base import Tail

    Floats = NDArray[np.floating[Any]]

TOP = 5
BOTH = frozenset({"excess", "gap_mean", "spacings", "lag_one", "length"})
"""Statistics of which a small value is as odd as a large one."""
SMALLEST_TAIL = 1e-12
"""Probability below which no tail is told apart, as in `anomaly.nn.heads`."""
SMALLEST_SIDE = 1e-7
"""The same where a tail is what another one leaves, in float32."""

_FLAT = ("surprisal_TF", "expected_TF", "tail_TF", "upper_TG", "gap_surprisal_T", "gap_pit_T")


@dataclass(frozen=True)
class EventResiduals:
    """What a model says about the events of whole sequences, as numpy arrays.

    Attributes
    ----------
    surprisal_TF, expected_TF, tail_TF, upper_TG : see `anomaly.nn.residuals.Residuals`
    gap_surprisal_T, gap_pit_T : of the time since the previous event; NaN pit where there is none
    end_N : surprisal of the end, zeros where ends are open
    contrast_T : surprisal under the entity's own profile minus under the population's, or None without profiles
    embedding_ND : mean state of each sequence
    offsets : (N + 1,) int64
    clock : (F,) bool, columns that tell the hour or the day; kept out of the sums over fields, which they would dilute
    closed : whether the end of a sequence, and so its length, means something
    timed : whether gaps were modelled
    ordered : names of the G fields that are numbers
    """

    surprisal_TF: Floats
    expected_TF: Floats
    tail_TF: Floats
    upper_TG: Floats
    gap_surprisal_T: Floats
    gap_pit_T: Floats
    end_N: Floats
    contrast_T: Floats | None
    embedding_ND: NDArray[np.float32]
    offsets: NDArray[np.int64]
    clock: NDArray[np.bool_]
    closed: bool = True
    timed: bool = True
    ordered: tuple[str, ...] = ()

    def reported(self, offsets: NDArray[np.int64], kept_T: NDArray[Any]) -> EventResiduals:
        """Return those of the kept events alone, which have the given offsets."""
        parts: dict[str, Any] = {name: getattr(self, name)[kept_T] for name in _FLAT}
        contrast_T = None if self.contrast_T is None else self.contrast_T[kept_T]
        return replace(self, **parts, contrast_T=contrast_T, offsets=offsets)

    def take(self, rows: NDArray[np.int64], places: NDArray[np.int64], offsets: NDArray[np.int64]) -> EventResiduals:
        """Return those of some sequences, given the places of the events that are kept, which have the offsets."""
        left = self.reported(offsets, places)
        return replace(left, end_N=self.end_N[rows], embedding_ND=self.embedding_ND[rows])

    def patched(self, places: NDArray[np.int64], other: EventResiduals, ended_N: NDArray[np.bool_]) -> EventResiduals:
        """Return these with those of another store in some places, and with its ends where it has them."""
        parts: dict[str, Any] = {}
        for name in (*_FLAT, "contrast_T"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None:
                parts[name] = mine.copy()
                parts[name][places] = theirs
        return replace(self, **parts, end_N=np.where(ended_N, other.end_N, self.end_N))


class Ragged:
    """Reductions over the events of each sequence; a sequence without events yields 0."""

    def __init__(self, offsets: NDArray[np.int64]) -> None:
        self.offsets = offsets - offsets[0]
        self.lengths = np.diff(offsets)
        self.filled = self.lengths > 0
        self.starts = self.offsets[:-1][self.filled]
        self.owner = np.repeat(np.arange(len(self.lengths)), self.lengths)

    def sum(self, x: Floats) -> NDArray[np.float64]:
        """Return (N, ...) sums."""
        return segment_sum(x, self.offsets)

    def mean(self, x: Floats) -> NDArray[np.float64]:
        """Return (N, ...) means."""
        return segment_mean(x, self.offsets)

    def largest(self, x: Floats) -> NDArray[np.float64]:
        """Return (N, ...) maxima."""
        return segment_max(x, self.offsets)

    def places(self, x: Floats, open_T: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return (T,) the place of each event in its sequence, from 0, the largest x first; what is not open last."""
        keys = (-x, self.owner) if open_T is None else (-x, ~open_T, self.owner)
        places = np.empty(len(x), np.int64)
        places[np.lexsort(keys)] = np.arange(len(x)) - np.repeat(self.offsets[:-1], self.lengths)
        return places

    def top_mean(self, x: Floats, k: int) -> NDArray[np.float64]:
        """Return (N,) the mean of the k largest; of all where there are fewer."""
        return segment_top_mean(x, self.offsets, k)

    def runs(self, x: Floats) -> NDArray[np.float64]:
        """Return (T,) the largest sum over a run of consecutive events that ends with each (Page 1954, CUSUM)."""
        total = np.concatenate([[0.0], np.cumsum(np.asarray(x, np.float64))])
        before = total[:-1] - total[self.offsets[:-1]][self.owner]
        # A step down larger than any sum within a sequence makes the running minimum start anew in each; one of the
        # size of all sums together would cost the digits that tell a sequence's own.
        drop = (2 * np.abs(before).max(initial=0.0) + 1.0) * self.owner
        found: NDArray[np.float64] = before + x - (np.minimum.accumulate(before - drop) + drop)
        return found

    def scan(self, x: Floats) -> NDArray[np.float64]:
        """Return (N,) the largest sum over a run of consecutive events."""
        return self.largest(self.runs(x))

    def subset(self, kept_T: NDArray[np.bool_]) -> Ragged:
        """Return the reductions over the kept events alone."""
        counts = np.bincount(self.owner[kept_T], minlength=len(self.lengths))
        return Ragged(np.concatenate([[0], np.cumsum(counts)]))


def sequence_statistics(residuals: EventResiduals) -> Statistics:
    """Return the bank for every sequence."""
    ragged = Ragged(residuals.offsets)
    columns = _field_statistics(*_with_ends(residuals))
    columns |= _clock_statistics(residuals, ragged) | _time_statistics(residuals, ragged)
    if residuals.closed:
        columns["end"] = np.asarray(residuals.end_N, np.float64)
    if residuals.closed:
        columns["length"] = np.log1p(ragged.lengths)
    if residuals.contrast_T is not None:
        columns["contrast"] = ragged.mean(residuals.contrast_T)
        columns["contrast_scan"] = ragged.scan(residuals.contrast_T)
    return as_statistics(columns)


def event_statistics(residuals: EventResiduals, fields: Sequence[str]) -> Statistics:
    """Return the statistics of every single event, for runs in which the event is the item."""
    surprisal_TF, marks = residuals.surprisal_TF, ~residuals.clock
    columns = {
        "surprisal": surprisal_TF[:, marks].sum(axis=1),
        "improbable": -np.log(np.maximum(residuals.tail_TF[:, marks].min(axis=1), SMALLEST_TAIL)),
    }
    each = zip(fields, surprisal_TF.T, strict=False)
    columns |= {f"field.{name}": column for name, column in each if name not in residuals.ordered}
    # The bin of a small number is as narrow, and as surprising, as that of a large one: the two are told apart.
    for name, upper_T in zip(residuals.ordered, residuals.upper_TG.T, strict=True):
        columns[f"high.{name}"] = -np.log(np.maximum(upper_T, SMALLEST_SIDE))
        columns[f"low.{name}"] = -np.log(np.maximum(1 - upper_T, SMALLEST_SIDE))
    if "gap" in fields:
        columns["gap"] = gap_evidence(residuals)
    if residuals.contrast_T is not None:
        columns["contrast"] = residuals.contrast_T
    return as_statistics({name: np.asarray(column, np.float64) for name, column in columns.items()})


def gap_evidence(residuals: EventResiduals) -> NDArray[np.float32]:
    """Return (T,) minus the log of the gap's two-sided tail probability; 0 where there is no gap."""
    u = np.nan_to_num(residuals.gap_pit_T, nan=0.5)
    evidence: NDArray[np.float32] = -np.log(np.clip(2 * np.minimum(u, 1 - u), 1e-7, 1.0)).astype(np.float32)
    return evidence


def as_statistics(columns: dict[str, NDArray[np.float64]]) -> Statistics:
    """Lay named columns side by side, with the tails that the names call for."""
    tails: tuple[Tail, ...] = tuple("both" if name in BOTH else "upper" for name in columns)
    return Statistics(np.column_stack(list(columns.values())), tuple(columns), tails)


def _with_ends(residuals: EventResiduals) -> tuple[Floats, Floats, Floats, Ragged]:
    """Return surprisal, expectation and tail, with the end as one more event of each sequence where it is closed."""
    marks = ~residuals.clock
    columns = residuals.surprisal_TF[:, marks], residuals.expected_TF[:, marks], residuals.tail_TF[:, marks]
    if not residuals.closed:
        return *columns, Ragged(residuals.offsets)
    offsets = residuals.offsets - residuals.offsets[0]
    after = offsets[1:]
    surprisal_TF = np.insert(columns[0], after, 0.0, axis=0)
    expected_TF = np.insert(columns[1], after, 0.0, axis=0)
    tail_TF = np.insert(columns[2], after, 1.0, axis=0)
    last = after + np.arange(len(after))
    p = np.exp(-residuals.end_N)
    surprisal_TF[last, -1] = residuals.end_N
    expected_TF[last, -1] = p * residuals.end_N - (1 - p) * np.log(np.clip(1 - p, 1e-12, 1))
    tail_TF[last, -1] = np.where(p <= 0.5, 0.5 * p, 1 - 0.5 * p)
    return surprisal_TF, expected_TF, tail_TF, Ragged(offsets + np.arange(len(offsets)))


def _field_statistics(
    surprisal_TF: Floats, expected_TF: Floats, tail_TF: Floats, ragged: Ragged
) -> dict[str, NDArray[np.float64]]:
    event_T = surprisal_TF.sum(axis=1)
    excess_T = event_T - expected_TF.sum(axis=1)
    largest_NF = ragged.largest(surprisal_TF)
    return {
        "mean": ragged.mean(event_T),
        "largest": ragged.largest(event_T),
        "largest_field": largest_NF.max(axis=1),
        "fields_largest": largest_NF.sum(axis=1),
        "top": ragged.top_mean(event_T, TOP),
        "improbable": ragged.largest(-np.log(np.maximum(tail_TF.min(axis=1), SMALLEST_TAIL))),
        "excess": ragged.sum(excess_T) / np.sqrt(np.maximum(ragged.lengths, 1)),
    }


def _clock_statistics(residuals: EventResiduals, ragged: Ragged) -> dict[str, NDArray[np.float64]]:
    if not residuals.clock.any():
        return {}
    clock_T = residuals.surprisal_TF[:, residuals.clock].sum(axis=1)
    return {"clock_mean": ragged.mean(clock_T), "clock_largest": ragged.largest(clock_T)}


def _time_statistics(residuals: EventResiduals, ragged: Ragged) -> dict[str, NDArray[np.float64]]:
    if not residuals.timed:
        return {}
    known_T = ~np.isnan(residuals.gap_pit_T)
    timed = ragged.subset(known_T)
    u = np.clip(np.asarray(residuals.gap_pit_T[known_T], np.float64), 1e-7, 1 - 1e-7)
    return {
        "gap_mean": timed.mean(residuals.gap_surprisal_T[known_T]),
        "gap_largest": timed.largest(-np.log(2 * np.minimum(u, 1 - u))),
        "gap_ks": kolmogorov_smirnov(u, timed),
        "spacings": squared_spacings(u, timed),
        "lag_one": lag_one(u, timed),
    }


def kolmogorov_smirnov(u: Floats, ragged: Ragged) -> NDArray[np.float64]:
    """Return (N,) sqrt(n) times the distance of each sequence's transforms from the uniform distribution."""
    n = np.repeat(ragged.lengths, ragged.lengths)
    rank = np.arange(len(u)) - np.repeat(ragged.offsets[:-1], ragged.lengths)
    ordered = u[np.lexsort((u, ragged.owner))]
    distance = np.maximum((rank + 1) / n - ordered, ordered - rank / n)
    return ragged.largest(distance) * np.sqrt(ragged.lengths)


def squared_spacings(u: Floats, ragged: Ragged) -> NDArray[np.float64]:
    """Return (N,) the log of the mean squared spacing of the rescaled process (Shchur et al. 2021, 3S, eq. 6)."""
    tau = -np.log1p(-u)
    total = ragged.sum(tau)
    share = ragged.sum(tau**2) / np.maximum(total, 1e-12) / np.maximum(ragged.mean(tau), 1e-12)
    return np.log(np.maximum(share, 1e-6)) + np.log(np.maximum(ragged.mean(tau), 1e-6))


def lag_one(u: Floats, ragged: Ragged) -> NDArray[np.float64]:
    """Return (N,) sqrt(n) times the correlation of consecutive transforms, as normal scores."""
    z = ndtri(u)
    same = ragged.owner[1:] == ragged.owner[:-1]
    product = np.zeros(len(u))
    product[1:][same] = (z[1:] * z[:-1])[same]
    return ragged.sum(product) / np.maximum(ragged.sum(z**2), 1.0) * np.sqrt(ragged.lengths)
