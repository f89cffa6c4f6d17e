"""How much likelier an item is under known trouble than untouched: p-values to one evidence, for single events.

A sequence may be odd for its owner or for the crowd, and answers to the one drown in answers to the other. A single
event has a handful of statistics, so that all of them are heard together, and kinds of trouble are told apart instead.

Shapes: n items, m statistics, K kinds of trouble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logsumexp, softmax

from anomaly.base import ScoreCombiner, spread
from anomaly.ensemble.combine import logistic, trust

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LESSONS = 20_000
"""Untouched items, about, that a regression reads."""
FARTHEST = 50.0
"""Of a kind's scale from nought."""


class LikelihoodRatio(ScoreCombiner):
    """Likelihood ratio of a mixture of known troubles against the untouched.

    For each kind k of trouble a logistic regression with weights ``w_k >= 0`` on ``x = -log p`` tells damaged items
    from untouched ones, both sides weighing the same, so that ``exp(b_k + x . w_k)`` estimates the likelihood ratio.
    The scale ``b_k`` keeps a kind that is told easily, with large weights, from speaking for all others. The evidence
    is ``log(1 + sum_k exp(b_k + x . (w_k * a)))``, where the trust ``a`` of a statistic is the overlap (Jaccard) of
    its oddest items with those of the mixture, in relation to the best.

    Parameters
    ----------
    ridge : penalty on the squared weights
    top : share of the held-out items whose overlap is compared
    least_trust : below it no statistic falls, so that none is silenced
    ceiling : of ``-log p``; one member alone does not decide beyond it

    Attributes
    ----------
    kind_weights_ : (K, m), trust included
    scales_ : (K,) the b_k
    trust_ : (m,) in [least_trust, 1]
    weights_ : (m,) the mean over kinds, summing to 1
    """

    def __init__(
        self, *, ridge: float = 1e-2, top: float = 0.05, least_trust: float = 0.1, ceiling: float = 15.0
    ) -> None:
        self.ridge = ridge
        self.top = top
        self.least_trust = least_trust
        self.ceiling = ceiling

    def fit(
        self,
        P_nm: Floats,
        P_corrupted: Floats | None = None,
        kinds: NDArray[np.int64] | None = None,
        *,
        questions: NDArray[np.int64] | None = None,
    ) -> Self:
        """Learn the weights; without corrupted items every statistic has the same. All questions are one."""
        x_nm, m = self._evidence(P_nm), P_nm.shape[1]
        self.kind_weights_, self.scales_ = np.full((1, m), 1.0 / m), np.zeros(1)
        if P_corrupted is not None and kinds is not None:
            self._learn(x_nm[:: max(len(x_nm) // LESSONS, 1)], self._evidence(P_corrupted), kinds)
        self.trust_ = trust(x_nm, logsumexp(self._ratios(x_nm), axis=1), self.top, self.least_trust)
        self.kind_weights_ = self.kind_weights_ * self.trust_
        mean = self.kind_weights_.mean(axis=0)
        self.weights_ = mean / mean.sum() if mean.sum() > 0 else np.full(m, 1.0 / m)
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = np.logaddexp(0.0, logsumexp(self._ratios(self._evidence(P_nm)), axis=1))
        return evidence

    def contributions(self, P_nm: Floats) -> Floats:
        """Return (n, m) what each statistic adds to the evidence: rows sum to `combine`.

        The split is Euler's, ``x_j`` times the slope of the evidence in ``x_j``: the weights of the kinds, each counted
        as likely as the item makes it. What a sum of exponentials has beyond that is spread in proportion.
        """
        x_nm = self._evidence(P_nm)
        slope_nm = softmax(self._ratios(x_nm), axis=1) @ self.kind_weights_
        return spread(x_nm * slope_nm, self.combine(P_nm), self.weights_)

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)

    def _ratios(self, x_nm: Floats) -> Floats:
        """Return (n, K) the log-likelihood ratio of each kind."""
        ratios: Floats = x_nm @ self.kind_weights_.T + self.scales_
        return ratios

    def _learn(self, x_nm: Floats, x_cm: Floats, kinds: NDArray[np.int64]) -> None:
        lessons = [x_cm[kinds == k] for k in np.unique(kinds)]
        self.kind_weights_ = np.stack([logistic(x_nm, x_km, self.ridge) for x_km in lessons])
        each = zip(lessons, self.kind_weights_, strict=True)
        self.scales_ = np.array([_scale(x_nm @ w, x_km @ w) for x_km, w in each])


def _scale(clean_n: Floats, damaged_c: Floats) -> float:
    """Return the intercept that the logistic regression with these projections has at its optimum."""

    def slope(b: float) -> float:
        return float(expit(clean_n + b).mean() - expit(-damaged_c - b).mean())

    return float(brentq(slope, -FARTHEST, FARTHEST)) if slope(-FARTHEST) < 0 < slope(FARTHEST) else 0.0
