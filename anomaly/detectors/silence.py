"""How unusual it is, for its owner, that nothing has come after a sequence until the end of what was observed.

Shapes: G gaps, E owners of gaps, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx

from anomaly.base import Detector, Statistics
from anomaly.errors import DataError

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]

_SMALLEST_SPREAD = 0.1
"""Standard deviation of log gaps below which a clock is not believed to keep its time."""
_EARLIEST = -30.0
"""Normal score below which a silence has as good as not begun."""
_SMALLEST_RATIO = 1e-12


@dataclass(frozen=True)
class _Sums:
    """Effective numbers (E,) of some owners' gaps, means and variances of their logs, each weighted by its length.

    The few gaps between visits, not the many within them, fill the time that the end of observation can fall into.
    """

    n: Float
    mean: Float
    variance: Float

    @classmethod
    def of(cls, gaps_G: Float, owner_G: NDArray[np.int64], size: int) -> Self:
        """Sum up gaps by owner; their number counts as that of equal ones (Kish 1965)."""

        def total(x_G: Float) -> Float:
            return np.asarray(np.bincount(owner_G, x_G, minlength=size), np.float64)

        whole, log_G = np.maximum(total(gaps_G), 1e-300), np.log(gaps_G)
        n = total(gaps_G) ** 2 / np.maximum(total(gaps_G**2), 1e-300)
        mean = total(gaps_G * log_G) / whole
        return cls(n, mean, total(gaps_G * (log_G - mean[owner_G]) ** 2) / whole)


class SilenceDetector(Detector):
    """Negative log probability of a final silence this long, if its owner went on as before.

    The end of observation meets a gap with a probability that is proportional to its length. So the owner's gaps, each
    weighted by its length, are log-normal, and a silence of s or more has probability ``E[max(1 - s / gap, 0)]`` (Cox
    1962, Renewal Theory, section 5.2). The gaps are those between the owner's visits in `fit` where sequences are
    visits of entities, else those within the sequence; mean and variance are the posterior ones under a prior worth
    `prior` gaps of the population (Murphy 2007, section 3). Events at one instant are one. Where the end of observation
    is not stated (`events.until`) nothing is judged, and an entity that went on has nothing to answer for.

    Parameters
    ----------
    prior : gaps' worth of everybody's gaps
    """

    reads = "sequences"

    def __init__(self, *, prior: float = 2.0, contamination: float = 0.01) -> None:
        self.prior = prior
        self.contamination = contamination

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Learn the gaps of the population and, where sequences are visits, of every entity."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        own = _own_gaps(X)
        some = own.n > 0
        self.judges_ = X.silence is not None and bool(some.any())
        self.center_ = float(own.mean[some].mean()) if some.any() else 0.0
        freedom = np.maximum(own.n - 1, 0).sum()
        self.spread_ = float(np.sqrt((own.n * own.variance).sum() / freedom)) if freedom else 1.0
        self.profile_n_, self.profile_mean_, self.profile_variance_ = own.n, own.mean, own.variance
        if X.pause is None:
            self.profile_n_ = self.profile_mean_ = self.profile_variance_ = np.zeros(1)
        return self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the evidence, in nats; 0 where there is no silence to judge."""
        self._check_fitted()
        evidence = np.zeros(len(X))
        if X.silence is None or not self.judges_:
            return evidence
        silence = np.asarray(X.silence, np.float64)
        silent = silence > 0
        mean, spread = self._posterior(X)
        evidence[silent] = _evidence(np.log(silence[silent]), mean[silent], spread[silent])
        return evidence

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the evidence; no statistic where the end of observation was not stated in `fit`."""
        self._check_fitted()
        if not self.judges_:
            return Statistics(np.zeros((len(X), 0)), ())
        return super().statistics(X)

    def _posterior(self, X: SequenceStore) -> tuple[Float, Float]:
        """Return (N,) means of the next log gap, and standard deviations that know how few gaps were seen."""
        own = self._of_sequences(X)
        weight = own.n + self.prior
        mean = (own.n * own.mean + self.prior * self.center_) / weight
        between = own.n * self.prior / weight * (own.mean - self.center_) ** 2
        variance = (self.prior * self.spread_**2 + own.n * own.variance + between) / weight
        return mean, np.maximum(np.sqrt(variance * (1 + 1 / weight)), _SMALLEST_SPREAD)

    def _of_sequences(self, X: SequenceStore) -> _Sums:
        """Return what is known of the gaps of each sequence's owner."""
        if X.pause is None:
            return _own_gaps(X)
        known = np.where(X.entity < len(self.profile_n_), X.entity, 0)
        return _Sums(self.profile_n_[known], self.profile_mean_[known], self.profile_variance_[known])


def _own_gaps(X: SequenceStore) -> _Sums:
    """Return the gaps of every entity where sequences are its visits, else of every sequence."""
    if X.pause is None:
        real = np.flatnonzero(X.delta > 0)
        return _Sums.of(np.asarray(X.delta[real], np.float64), X.sequence_of_event()[real], len(X))
    real = np.flatnonzero((X.pause > 0) & (X.entity > 0))
    return _Sums.of(np.asarray(X.pause[real], np.float64), X.entity[real].astype(np.int64), X.n_entities)


def _evidence(silence: Float, mean: Float, spread: Float) -> Float:
    """Return minus the log of the probability that the rest of a log-normal gap is longer than a log silence.

    The gaps are weighted by their length, so ``E[max(1 - s / gap, 0)]``: a difference of two normal tails, which keeps
    its digits when it is written by Mills' ratios.
    """
    far = np.maximum((silence - mean) / spread, _EARLIEST)
    ratios = np.maximum(_mills(far) - _mills(far + spread), _SMALLEST_RATIO)
    evidence: Float = np.maximum(far**2 / 2 + 0.5 * np.log(2 * np.pi) - np.log(ratios), 0.0)
    return evidence


def _mills(x: Float) -> Float:
    """Return the normal tail beyond x over the density at x."""
    ratio: Float = np.sqrt(np.pi / 2) * erfcx(x / np.sqrt(2))
    return ratio
