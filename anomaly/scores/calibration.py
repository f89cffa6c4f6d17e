"""Raw statistics to p-values: split-conformal on held-out items, with a tail that does not tie.

Shapes: n items, m statistics, r reference items of one bucket.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import clone

from anomaly.base import ScoreCalibrator, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROUNDING = 1e-5
"""Relative; what float32 sums differ by between batches."""
LARGEST_SHAPE = 0.5
"""Of the generalised Pareto tail; heavier ones have no variance, and lighter than 0 end, which would tie the top."""

SMALL = 200
"""A sample of fewer values says little about its own tail."""

PLACES = 4 ** np.arange(16)
"""Places of an event in its sequence, from 1, up to which pasts are as short; a first event has none."""
STRANGER = 1 << 40
"""Added to the length of what belongs to an entity that nobody knows, so that such items have buckets of their own."""
FEW = 19
"""Items below which a p-value cannot reach 5%."""


class SplitConformal(ScoreCalibrator):
    """Conformal p-values within length buckets (Vovk et al. 2005), continued by a generalised Pareto tail.

    Within the reference sample the p-value is ``(1 + #{reference >= x}) / (1 + r)``; beyond its upper quantile the
    excess follows the fitted tail (Pickands 1975), so that the very top is ranked instead of tied. Where both tails
    of a statistic are odd the p-value is twice the smaller side's.

    Parameters
    ----------
    smallest_bucket : reference items that a bucket needs; neighbours are merged until they have them
    tail : share of the reference that the tail is fitted to

    Attributes
    ----------
    edges_ : (b - 1,) int64, a length above ``edges_[i]`` belongs to bucket i + 1
    upper_, lower_ : per bucket and statistic, the sorted reference and its tail; lower_ is of the negated statistic,
        and empty where a small value is not odd
    """

    def __init__(self, *, smallest_bucket: int = 200, tail: float = 0.05) -> None:
        self.smallest_bucket = smallest_bucket
        self.tail = tail

    def fit(self, statistics: Statistics, lengths: NDArray[np.int64]) -> Self:
        """Learn the distribution of every statistic over held-out items."""
        self.edges_ = length_edges(lengths, self.smallest_bucket)
        self.tails_ = tuple(statistics.tails)
        bucket_n = np.searchsorted(self.edges_, lengths, side="left")
        samples = [statistics.values[bucket_n == b] for b in range(len(self.edges_) + 1)]
        self.upper_ = [[with_tail(column, self.tail) for column in sample.T] for sample in samples]
        self.lower_ = [self._lower_sides(sample) for sample in samples]
        return self

    def p_values(self, statistics: Statistics, lengths: NDArray[np.int64]) -> Floats:
        """Return (n, m) p-values in (0, 1]."""
        out = np.ones(statistics.values.shape)
        bucket_n = np.searchsorted(self.edges_, lengths, side="left")
        for b in range(len(self.edges_) + 1):
            rows = np.flatnonzero(bucket_n == b)
            for k, tail in enumerate(self.tails_ if len(rows) else ()):
                x = statistics.values[rows, k]
                p = upper_p(x, *self.upper_[b][k])
                if tail == "both":
                    p = np.minimum(2 * np.minimum(p, upper_p(-x, *self.lower_[b][k])), 1.0)
                out[rows, k] = p
        return out

    def _lower_sides(self, sample: Floats) -> list[tuple[Floats, Floats]]:
        none = np.empty(0), np.zeros(4)
        return [
            with_tail(-column, self.tail) if tail == "both" else none
            for column, tail in zip(sample.T, self.tails_, strict=True)
        ]


class ShortPasts(ScoreCalibrator):
    """Held-out events and, where hardly one of them has so short a past, learnt ones: the larger p-value counts.

    The latest events of every sequence are held out, never its first. Those with a longer past would call many a first
    event odd; other first events, that were learnt from, would call odd whatever is the first to be seen of an entity.

    Parameters
    ----------
    calibrator : cloned for held-out and for learnt events

    Attributes
    ----------
    held_out_, learnt_ : the two calibrators; no learnt_ where too few are given
    short_ : (b,) which places, in buckets that end at `PLACES`, learnt_ judges too
    """

    def __init__(self, *, calibrator: ScoreCalibrator) -> None:
        self.calibrator = calibrator

    def fit(self, statistics: Statistics, lengths: NDArray[np.int64], learnt: NDArray[np.bool_] | None = None) -> Self:
        """Learn from events; `lengths` are their places, `learnt` (n,) marks the learnt ones."""
        learnt = np.zeros(len(lengths), bool) if learnt is None else learnt
        self.held_out_ = self._fit(statistics, lengths, ~learnt)
        self.learnt_ = self._fit(statistics, lengths, learnt) if learnt.sum() >= FEW else None
        self.short_ = np.isin(np.arange(len(PLACES) + 1), _pasts(lengths[learnt]))
        return self

    def p_values(self, statistics: Statistics, lengths: NDArray[np.int64]) -> Floats:
        """Return (n, m) p-values in (0, 1]."""
        p: Floats = self.held_out_.p_values(statistics, lengths)
        rows = np.flatnonzero(self.short_[_pasts(lengths)])
        if self.learnt_ is not None and len(rows):
            some = replace(statistics, values=statistics.values[rows])
            p[rows] = np.maximum(p[rows], self.learnt_.p_values(some, lengths[rows]))
        return p

    def _fit(self, statistics: Statistics, lengths: NDArray[np.int64], rows: NDArray[np.bool_]) -> ScoreCalibrator:
        calibrator: ScoreCalibrator = clone(self.calibrator)
        return calibrator.fit(replace(statistics, values=statistics.values[rows]), lengths[rows])


def hardly_any(lengths: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the places in whose bucket hardly one of some others lies."""
    counts = np.bincount(_pasts(among), minlength=len(PLACES) + 1)
    few: NDArray[np.bool_] = (counts < FEW)[_pasts(lengths)]
    return few


def _pasts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bucket of `PLACES` that each place lies in, a stranger's as any other."""
    return np.searchsorted(PLACES, lengths % STRANGER)


def with_tail(sample: Floats, share: float = 0.05) -> tuple[Floats, Floats]:
    """Return the sorted reference and the tail of its share: threshold, p-value there, scale and shape."""
    reference = np.sort(sample)
    return reference, pareto_tail(reference, max(int(share * len(reference)), min(10, len(reference) // 2)))


def upper_p(x: Floats, reference: Floats, tail: Floats) -> Floats:
    """Return the p-value of x among a sorted reference, continued by its tail."""
    r = len(reference)
    # An item of the reference counts itself, however its statistic is rounded in another batch.
    least = x - ROUNDING * (1 + np.abs(x))
    p = (1 + r - np.searchsorted(reference, least, side="left")) / (1 + r)
    threshold, p_threshold, scale, shape = tail
    if not scale > 0:
        return _past_ties(x, p, reference)
    excess = np.maximum(x - threshold, 0.0) / scale
    log_survival = -excess if shape < 1e-6 else -np.log1p(shape * excess) / shape
    beyond = np.exp(np.maximum(np.log(p_threshold) + log_survival, -600.0))
    return np.where(least > threshold, beyond, p)


def _past_ties(x: Floats, p: Floats, reference: Floats) -> Floats:
    """Return p-values that fall gradually beyond a largest value that many share, down to that of the conformal rank.

    Learnt items are scored without themselves, which lifts a value that many have by one count in thousands: too little
    to be odder than all of the reference.
    """
    spread = reference[-1] - reference.mean() if len(reference) else 0.0
    if not spread > 0:
        return p
    p_largest = (1 + len(reference) - np.searchsorted(reference, reference[-1], side="left")) / (1 + len(reference))
    beyond = p_largest * np.exp(-np.maximum(x - reference[-1], 0.0) / spread)
    return np.where(x > reference[-1], np.maximum(p, beyond), p)


def pareto_tail(reference: Floats, k: int) -> Floats:
    """Fit a generalised Pareto tail to the k largest values of a sorted sample by moments weighted by probability.

    Returns
    -------
    (threshold, p-value at the threshold, scale, shape); a scale of 0 means that there is no tail to fit.

    Notes
    -----
    The mean of k exponential excesses is itself uncertain, and the next excess follows a Pareto tail of shape 1 / k.
    Of a small sample no tail is lighter than that: else a handful of held-out items would vouch for p-values of 1e-10.
    Of a larger one the p-values hardly change, and what they are combined to ranks a little worse.

    Source: Hosking & Wallis 1987, eq. 9; for the least shape Geisser 1993, Predictive Inference, section 2.
    """
    r = len(reference)
    if r < 4 or k < 2:
        return np.zeros(4)
    threshold = reference[r - k - 1]
    excess = reference[r - k :] - threshold
    mean = excess.mean()
    if mean <= 1e-12 * max(abs(threshold), 1.0):
        return np.array([threshold, k / r, 0.0, 0.0])
    weighted = (excess * (k - np.arange(1, k + 1) + 0.35) / k).mean()
    shape = float(np.clip(2 - mean / max(mean - 2 * weighted, 1e-12), 0.0, LARGEST_SHAPE))
    uncertain = r < SMALL and shape <= 1 / k
    scale, shape = (mean, 1 / k) if uncertain else (mean * (1 - shape), shape)
    return np.array([threshold, (k + 1) / (r + 1), scale, shape])


def length_edges(lengths: NDArray[np.int64], smallest: int) -> NDArray[np.int64]:
    """Return bucket edges at powers of four, merged from below until each bucket holds `smallest` items.

    Wide buckets on purpose: in narrow ones the odd sequences of odd length would be judged against each other.
    Strangers are never among the known.
    """
    strange = lengths >= STRANGER
    if strange.any():
        known, strangers = (
            length_edges(lengths[~strange], smallest),
            length_edges(lengths[strange] - STRANGER, smallest),
        )
        return np.concatenate([known, [STRANGER], STRANGER + strangers])
    edges: list[int] = []
    rest = np.sort(lengths)
    for edge in 4 ** np.arange(1, 16):
        below = int(np.searchsorted(rest, edge, side="right"))
        if below >= smallest and len(rest) - below >= smallest:
            edges.append(int(edge))
            rest = rest[below:]
    return np.array(edges, np.int64)
