"""Plain ways to join p-values: sums, extremes and weights from agreement.

Shapes: n items, m statistics; ``x = -log p``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri_exp

from anomaly.ensemble.combine import EqualWeights, FisherCombiner, oddest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST_P = 0.99
"""P-values count as no larger where their two ends count alike: those of silent statistics are 1, and one of them would
outweigh all that others say (Fang et al. 2023, truncated Cauchy)."""


class MeanRankCombiner(EqualWeights):
    """One minus the mean p-value: a p-value is the item's rank among the held-out items."""

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = 1.0 - P_nm.mean(axis=1)
        return evidence


class StoufferCombiner(EqualWeights):
    """Mean of the normal scores whose upper tail is p (Stouffer et al. 1949): the average of calibrated scores."""

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        z_nm = -ndtri_exp(np.log(np.minimum(P_nm, LARGEST_P)))
        evidence: Floats = z_nm.mean(axis=1)
        return evidence


class CauchyCombiner(EqualWeights):
    """Mean of ``cot(pi p)`` (Liu and Xie 2020), as the negative log of its own tail; valid for dependent p-values."""

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        with np.errstate(over="ignore"):
            total_n = (1.0 / np.tan(np.pi * np.clip(P_nm, 1e-300, LARGEST_P))).mean(axis=1)
        evidence: Floats = -np.log(np.arctan2(1.0, total_n) / np.pi)
        return evidence


class MinimumPCombiner(EqualWeights):
    """Negative log of the chance that the smallest of m independent p-values is so small (Tippett 1931)."""

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        m, least_n = P_nm.shape[1], np.minimum(P_nm.min(axis=1), 1 - 1e-12)
        chance_n = -np.expm1(m * np.log1p(-least_n))
        evidence: Floats = -np.log(np.maximum(chance_n, least_n))
        return evidence


class BucketCombiner(EqualWeights):
    """Averages and maxima of ``-log p`` over random buckets of statistics (Aggarwal and Sathe 2015).

    Parameters
    ----------
    rule : "aom" is the average over buckets of each one's maximum, "moa" the maximum of each one's average; with one
        bucket they are the plain maximum and the plain average
    buckets : at most as many as there are statistics
    random_state : seed of the draw of the buckets
    """

    def __init__(self, *, rule: Literal["aom", "moa"] = "aom", buckets: int = 5, random_state: int = 0) -> None:
        self.rule = rule
        self.buckets = buckets
        self.random_state = random_state

    def _weigh(self, P_nm: Floats) -> Floats:
        """Deal the statistics out."""
        order = np.random.default_rng(self.random_state).permutation(P_nm.shape[1])
        self.buckets_ = [np.sort(b) for b in np.array_split(order, min(self.buckets, len(order)))]
        return super()._weigh(P_nm)

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        x_nm = -np.log(P_nm)
        within, across = (np.max, np.mean) if self.rule == "aom" else (np.mean, np.max)
        evidence: Floats = across(np.stack([within(x_nm[:, b], axis=1) for b in self.buckets_], axis=1), axis=1)
        return evidence


class AgreementCombiner(FisherCombiner):
    """Weighted sum of ``-log p``; a statistic weighs the squared overlap of its oddest items with everyone's.

    The weights start equal and are drawn anew from the weighted consensus `rounds` times. Agreement is not truth: where
    most statistics look at the same wrong thing they outvote the one that is right.

    Parameters
    ----------
    top : share of the held-out items whose overlap (Jaccard) is taken
    """

    def __init__(self, *, top: float = 0.05, rounds: int = 5) -> None:
        self.top = top
        self.rounds = rounds

    def _weigh(self, P_nm: Floats) -> Floats:
        """Draw the weights from the consensus, and that from the weights."""
        x_nm = -np.log(P_nm)
        n, m = x_nm.shape
        k = min(max(int(self.top * n), 5), n)
        odd_nm = np.stack([oddest(x, k) for x in x_nm.T], axis=1)
        weights = np.full(m, 1.0 / m)
        for _ in range(self.rounds):
            chosen = oddest(x_nm @ weights, k)[:, None]
            overlap = (odd_nm & chosen).sum(axis=0) / np.maximum((odd_nm | chosen).sum(axis=0), 1)
            weights = overlap**2 / max((overlap**2).sum(), 1e-300)
        return weights if weights.sum() > 0 else super()._weigh(P_nm)
