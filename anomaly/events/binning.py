"""The codes and the scaled values of a numeric column.

Shapes: T events.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.base import Estimator
from anomaly.events.vocabulary import FIRST_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MISSING = FIRST_VALUE
"""Code of a missing number; the code after it is below all that was seen in `fit`, the last one above it."""

ENGLISH: Mapping[str, str] = MappingProxyType({})
"""Words as they are, where texts can be asked for in another language."""

_TAILS = (0.001, 0.005, 0.01, 0.02, 0.05)
CLIP = 8.0
_TINY = 1e-30
_HEAVY = 5.0
"""Range of the middle 98% over the interquartile range: 3.4 for a normal, 4.2 for an exponential distribution."""


class QuantileBins(Estimator):
    """Ordered bins with finer tails, and bins of their own for missing, zero and what lies beyond the seen range.

    Attributes
    ----------
    edges_ : ascending float32; code = `MISSING` + 1 + number of edges at or below the value
    center_, spread_ : location and scale of the (transformed) values, robust
    log_scale_ : scale of the signed logarithm, 0 where the values are taken as they are
    counts_ : (size,) uses of each code in the sample given to `fit`
    """

    edges_: NDArray[np.float32]
    center_: float
    spread_: float
    log_scale_: float
    counts_: NDArray[np.int64]

    def __init__(self, *, n_bins: int = 32) -> None:
        self.n_bins = n_bins

    @property
    def size(self) -> int:
        """Number of codes, the reserved ones included."""
        return MISSING + 2 + len(self.edges_)

    def fit(self, sample: NDArray[np.float32], low: float | None = None, high: float | None = None) -> Self:
        """Learn edges from a sample, NaN where missing, of values that lie between `low` and `high`."""
        seen = sample[np.isfinite(sample)]
        ends = [v for v in (low, high) if v is not None and np.isfinite(v)]
        nonzero = np.concatenate([seen, np.array(ends, np.float32)])
        nonzero = nonzero[nonzero != 0]
        self.edges_ = self._edges(nonzero)
        self._fit_scale(seen)
        self.counts_ = np.bincount(self.transform(sample), minlength=self.size)
        return self

    def _edges(self, nonzero: NDArray[np.float32]) -> NDArray[np.float32]:
        zero = np.array([0, np.nextafter(np.float32(0), np.float32(1))], np.float32)
        if not len(nonzero):
            return zero
        ascending = np.sort(nonzero)
        distinct = ascending[np.append(True, ascending[1:] != ascending[:-1])]
        if len(distinct) > self.n_bins:
            distinct = ascending[(self._levels() * (len(ascending) - 1)).astype(np.int64)]
        with np.errstate(over="ignore"):
            beyond = np.nextafter(ascending[-1], np.float32(np.inf))
        return np.unique(np.concatenate([distinct, zero, [beyond]])).astype(np.float32)

    def _levels(self) -> NDArray[np.float64]:
        tails = np.array(_TAILS if self.n_bins >= 16 else ())
        middle = np.linspace(0, 1, max(self.n_bins - 2 * len(tails), 2) + 1)
        middle = middle[(middle > 0.05) & (middle < 0.95)] if len(tails) else middle
        return np.concatenate([[0], tails, middle, 1 - tails[::-1], [1]])

    def _fit_scale(self, seen: NDArray[np.float32]) -> None:
        self.center_, self.spread_, self.log_scale_ = 0.0, 1.0, 0.0
        if not len(seen):
            return
        exact = np.sort(seen).astype(np.float64)
        low, lower, upper, high = exact[(np.array([0.01, 0.25, 0.75, 0.99]) * (len(exact) - 1)).astype(np.int64)]
        if high - low > _HEAVY * (upper - lower):
            size = np.abs(exact[exact != 0])
            self.log_scale_ = max(float(np.median(size)), _TINY) if len(size) else 0.0
        # The warp keeps the order, so that quartiles stay quartiles.
        warped = self._warp(exact)
        lower, middle, upper = warped[(np.array([0.25, 0.5, 0.75]) * (len(exact) - 1)).astype(np.int64)]
        self.center_ = float(middle)
        self.spread_ = max(float((upper - lower) / 1.349 or warped.std()), _TINY) if warped[-1] > warped[0] else 1.0

    def _warp(self, x: NDArray[Any]) -> NDArray[Any]:
        if not self.log_scale_:
            return x
        warped: NDArray[Any] = np.copysign(np.log1p(np.abs(x) / x.dtype.type(self.log_scale_)), x)
        return warped

    def transform(self, x: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return (T,) codes of float32 numbers, NaN where missing."""
        codes = np.searchsorted(self.edges_, x, side="right").astype(np.int32) + np.int32(MISSING + 1)
        codes[np.isnan(x)] = MISSING
        return codes

    def scale(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (T,) values around 0 with spread 1, clipped to 8; 0 where missing."""
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float32] = (self._warp(x) - np.float32(self.center_)) / np.float32(self.spread_)
        np.clip(scaled, -CLIP, CLIP, out=scaled)
        scaled[np.isnan(scaled)] = 0
        return scaled

    def restore(self, scaled: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (T,) the numbers that were scaled; what was clipped comes back as the bound."""
        warped = scaled.astype(np.float64) * self.spread_ + self.center_
        if not self.log_scale_:
            return warped
        restored: NDArray[np.float64] = np.copysign(np.expm1(np.abs(warped)) * self.log_scale_, warped)
        return restored

    def interval(self, code: int) -> tuple[float, float]:
        """Return the half-open interval [low, high) of a code; NaN for the reserved codes and missing."""
        if code <= MISSING:
            return float("nan"), float("nan")
        bounds = np.concatenate([[-np.inf], self.edges_, [np.inf]])
        place = code - MISSING - 1
        return float(bounds[place]), float(bounds[place + 1])

    def text(self, code: int, words: Mapping[str, str] = ENGLISH) -> str:
        """Return what a code stands for, for people; `words` translates the English ones."""
        low, high = self.interval(code)
        if code <= MISSING:
            return words.get("missing", "missing")
        if not np.isfinite(low):
            return words.get("below {}", "below {}").format(quantity(high))
        if np.isinf(high):
            return words.get("above {}", "above {}").format(quantity(low))
        if high - low <= max(abs(low) * 1e-6, _TINY):
            return quantity(low)
        return words.get("{} to {}", "{} to {}").format(quantity(low), quantity(high))


def quantity(value: float) -> str:
    """Return a number with as many digits as say something, of the seven that single precision keeps."""
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.3g}"
    if abs(value) >= 1e5 or abs(value - round(value)) < 1e-6 * max(abs(value), 1e-9):
        return f"{round(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
