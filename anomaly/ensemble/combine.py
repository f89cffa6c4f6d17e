"""Many p-values to one evidence, without labels.

What a member is worth differs from data to data, and agreement is not truth. So the data make their own trouble:
damaged held-out items teach which statistics see which kind of trouble, and agreement among statistics that ask the
same question decides how far each is trusted.

Shapes: n items, m statistics, K kinds of trouble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from anomaly.base import ScoreCombiner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class CorruptionMixture(ScoreCombiner):
    """Log-likelihood ratio of a mixture of known troubles against the untouched.

    For each kind k a logistic regression with weights ``w_k >= 0`` on ``x = -log p`` tells damaged items from
    untouched ones; the evidence is ``log sum_k exp(x . (w_k * a))``. The trust ``a`` of a statistic is the overlap
    (Jaccard) of its oddest items with those of the plain mixture, in relation to the best of the statistics that ask
    the same question: whether an item is odd for its owner is another question than whether it is odd for the crowd.

    Parameters
    ----------
    ridge : penalty on the squared weights
    top : share of the held-out items whose overlap is compared
    least_trust : below it no statistic falls, so that none is silenced
    ceiling : of ``-log p``; one member alone does not decide beyond it

    Attributes
    ----------
    kind_weights_ : (K, m), `trust_` included
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
        """Learn the weights; without corrupted items every statistic starts with the same.

        Parameters
        ----------
        questions : (m,) which question each statistic asks; None means that all ask the same
        """
        x_nm = self._evidence(P_nm)
        m = x_nm.shape[1]
        if P_corrupted is None or kinds is None:
            plain_Km = np.full((1, m), 1.0 / m)
        else:
            x_cm = self._evidence(P_corrupted)
            plain_Km = np.stack([_logistic(x_nm, x_cm[kinds == k], self.ridge) for k in np.unique(kinds)])
        questions = np.zeros(m, np.int64) if questions is None else questions
        self.trust_ = self._trust(x_nm, logsumexp(x_nm @ plain_Km.T, axis=1), questions)
        self.kind_weights_ = plain_Km * self.trust_
        mean_m = self.kind_weights_.mean(axis=0)
        self.weights_ = mean_m / mean_m.sum() if mean_m.sum() > 0 else np.full(m, 1.0 / m)
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = logsumexp(self._evidence(P_nm) @ self.kind_weights_.T, axis=1)
        return evidence

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)

    def _trust(self, x_nm: Floats, consensus_n: Floats, questions: NDArray[np.int64]) -> Floats:
        k = min(max(int(self.top * len(x_nm)), 5), len(x_nm))
        chosen = _oddest(consensus_n, k)
        overlap_m = np.array([np.mean(chosen & odd) / np.mean(chosen | odd) for odd in (_oddest(x, k) for x in x_nm.T)])
        for question in np.unique(questions):
            same = questions == question
            overlap_m[same] /= max(overlap_m[same].max(), 1e-12)
        trust: Floats = np.maximum(overlap_m, self.least_trust)
        return trust


class FisherCombiner(ScoreCombiner):
    """Sum of ``-log p`` over all members (Fisher 1932): the plain baseline."""

    def fit(
        self,
        P_nm: Floats,
        P_corrupted: Floats | None = None,
        kinds: NDArray[np.int64] | None = None,
        *,
        questions: NDArray[np.int64] | None = None,
    ) -> Self:
        """Give every member the same weight."""
        self.weights_ = np.full(P_nm.shape[1], 1.0 / P_nm.shape[1])
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        evidence: Floats = -np.log(P_nm) @ self.weights_
        return evidence


def _logistic(clean_nm: Floats, damaged_cm: Floats, ridge: float) -> Floats:
    """Return (m,) non-negative weights that tell damaged from clean, both sides weighing the same."""
    x = np.concatenate([clean_nm, damaged_cm])
    sign = np.concatenate([-np.ones(len(clean_nm)), np.ones(len(damaged_cm))])
    share = np.concatenate([np.full(len(s), 0.5 / max(len(s), 1)) for s in (clean_nm, damaged_cm)])

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ w[:-1] + w[-1])
        slope = -share * sign * np.exp(-np.logaddexp(0.0, margin))
        gradient = np.append(x.T @ slope + 2 * ridge * w[:-1], slope.sum())
        return float(share @ np.logaddexp(0.0, -margin) + ridge * (w[:-1] @ w[:-1])), gradient

    m = x.shape[1]
    start = np.append(np.full(m, 0.05), -1.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * m + [(None, None)])
    weights: Floats = found.x[:-1]
    return weights


def _oddest(x: Floats, k: int) -> NDArray[np.bool_]:
    """Mark the k largest values."""
    odd = np.zeros(len(x), bool)
    odd[np.argsort(-x, kind="stable")[:k]] = True
    return odd
