"""How sure a figure is: stratified bootstrap for rankings, exact and Wilson intervals for rates.

Shapes: B replicates, c cells of the ranking (runs of equal or equally labelled scores).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtri

from anomaly.metrics.ranking import RankCurve, area_under_roc, area_under_steps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAX_CELLS = 8192
"""Beyond this, neighbouring cells are resampled together; the spread changes by less than its own error."""


class Interval(NamedTuple):
    """A figure and the interval around it."""

    value: float
    low: float
    high: float


class Band(NamedTuple):
    """A curve over a grid and the pointwise interval around it, each (g,)."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of a ranking, anomalous and normal items resampled apart.

    Attributes
    ----------
    found, alarms : (c,) cumulated counts of the ranking itself
    found_Bc, alarms_Bc : (B, c) cumulated counts of the replicates
    """

    found: NDArray[np.int64]
    alarms: NDArray[np.int64]
    found_Bc: NDArray[np.int64]
    alarms_Bc: NDArray[np.int64]


def resample(curve: RankCurve, *, n_bootstrap: int = 500, random_state: int = 0) -> Replicates:
    """Draw stratified bootstrap replicates of a ranking.

    Normal items between two anomalous ones are exchangeable for every figure here, so whole cells are drawn from a
    multinomial: the work grows with the number of anomalous items, not with the number of items, and is exact.
    """
    found, alarms = _cells(curve)
    rng = np.random.default_rng(random_state)
    draws = []
    for counts in (found, alarms):
        steps = np.diff(counts, prepend=0)
        draws.append(rng.multinomial(int(counts[-1]), steps / counts[-1], size=n_bootstrap).cumsum(axis=1))
    return Replicates(found, alarms, *draws)


def bootstrap_auroc(curve: RankCurve, replicates: Replicates, *, level: float = 0.95) -> Interval:
    """Return the area under the ROC curve with its percentile interval."""
    value = float(area_under_roc(curve.found, curve.alarms))
    shift = value - float(area_under_roc(replicates.found, replicates.alarms))
    return _percentile(value, area_under_roc(replicates.found_Bc, replicates.alarms_Bc) + shift, level)


def bootstrap_average_precision(curve: RankCurve, replicates: Replicates, *, level: float = 0.95) -> Interval:
    """Return the average precision with its percentile interval."""
    value = float(area_under_steps(curve.found, curve.alarms))
    shift = value - float(area_under_steps(replicates.found, replicates.alarms))
    return _percentile(value, area_under_steps(replicates.found_Bc, replicates.alarms_Bc) + shift, level)


def roc_band(replicates: Replicates, rates: NDArray[np.float64], *, level: float = 0.95) -> Band:
    """Return recall at the false-alarm rates `rates`, with its pointwise interval."""
    runs = zip(replicates.found_Bc, replicates.alarms_Bc, strict=True)
    drawn = np.stack([_recall_at(found, alarms, rates) for found, alarms in runs])
    return _band(_recall_at(replicates.found, replicates.alarms, rates), drawn, level)


def precision_band(replicates: Replicates, recalls: NDArray[np.float64], *, level: float = 0.95) -> Band:
    """Return precision at the first threshold that reaches each of `recalls`, with its pointwise interval."""
    runs = zip(replicates.found_Bc, replicates.alarms_Bc, strict=True)
    drawn = np.stack([_precision_at(found, alarms, recalls) for found, alarms in runs])
    return _band(_precision_at(replicates.found, replicates.alarms, recalls), drawn, level)


def wilson(hits: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Wilson score interval of the rates ``hits / n``; (0, 1) where n is 0 (Wilson 1927)."""
    k, m = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    safe = np.maximum(m, 1)
    centre = (k + z2 / 2) / (safe + z2)
    half = np.sqrt(z2 * (k * (safe - k) / safe + z2 / 4)) / (safe + z2)
    return np.where(m > 0, np.clip(centre - half, 0, 1), 0.0), np.where(m > 0, np.clip(centre + half, 0, 1), 1.0)


def clopper_pearson(
    hits: ArrayLike, n: ArrayLike, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact interval of the rates ``hits / n``; (0, 1) where n is 0 (Clopper and Pearson 1934)."""
    k, m = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    tail = (1 - level) / 2
    low = betaincinv(np.maximum(k, 1), m - k + 1, tail)
    high = betaincinv(k + 1, np.maximum(m - k, 1), 1 - tail)
    return np.where(k > 0, low, 0.0), np.where(k < m, high, 1.0)


def _cells(curve: RankCurve) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge neighbouring steps that no figure can tell apart: runs of scores that only normal items have."""
    anomalous = np.diff(curve.found, prepend=0) > 0
    last = np.append(anomalous[1:] | anomalous[:-1], True)
    ends = np.flatnonzero(last)
    if len(ends) > MAX_CELLS:
        ends = ends[np.linspace(0, len(ends) - 1, MAX_CELLS).round().astype(np.int64)]
    return curve.found[ends], curve.alarms[ends]


def _percentile(value: float, drawn: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(value, float(min(low, value)), float(min(max(high, value), 1.0)))


def _band(value: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> Band:
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return Band(value, low, high)


def _recall_at(found: NDArray[np.int64], alarms: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    # At rate 0 the curve rises steeply; the upper end of the step is what a threshold can reach without an alarm.
    x, y = np.append(0, alarms) / alarms[-1], np.append(0, found) / found[-1]
    last = np.searchsorted(x, rates, side="right") - 1
    after = np.minimum(last + 1, len(x) - 1)
    width = np.maximum(x[after] - x[last], 1e-300)
    part: NDArray[np.float64] = np.clip((rates - x[last]) / width, 0, 1)
    recall: NDArray[np.float64] = y[last] + part * (y[after] - y[last])
    return recall


def _precision_at(
    found: NDArray[np.int64], alarms: NDArray[np.int64], recalls: NDArray[np.float64]
) -> NDArray[np.float64]:
    at = np.searchsorted(found / found[-1], np.maximum(recalls, 0.5 / found[-1]) - 1e-12)
    precision: NDArray[np.float64] = found[at] / (found[at] + alarms[at])
    return precision
