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
from scipy.special import logsumexp, softmax

from anomaly.base import ScoreCombiner, spread
from anomaly.scores.calibration import pareto_tail, upper_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class CorruptionMixture(ScoreCombiner):
    """Log-likelihood ratio of a mixture of known troubles against the untouched, for each question on its own.

    Whether an item is odd for its owner is another question than whether it is odd for the crowd, and an answer to one
    is no answer to the other. Within a question, for each kind k of trouble a logistic regression with weights
    ``w_k >= 0`` on ``x = -log p`` tells damaged items from untouched ones, and the evidence is
    ``log sum_k exp(x . (w_k * a))``. The trust ``a`` of a statistic is the overlap (Jaccard) of its oddest items with
    those of the plain mixture, in relation to the best. Of several questions each one's evidence is calibrated on the
    held-out items, and the total is ``log sum_q 1 / p_q``.

    Parameters
    ----------
    ridge : penalty on the squared weights
    top : share of the held-out items whose overlap is compared
    least_trust : below it no statistic falls, so that none is silenced
    ceiling : of ``-log p``; one member alone does not decide beyond it
    tail : share of the held-out evidence of a question that its tail is fitted to

    Attributes
    ----------
    kind_weights_ : one (K, m) per question, trust included, 0 for the statistics of other questions
    references_, tails_ : per question, the sorted held-out evidence and its tail, see `anomaly.scores.calibration`
    trust_ : (m,) in [least_trust, 1]
    weights_ : (m,) the mean over kinds and questions, summing to 1
    """

    def __init__(
        self,
        *,
        ridge: float = 1e-2,
        top: float = 0.05,
        least_trust: float = 0.1,
        ceiling: float = 15.0,
        tail: float = 0.05,
    ) -> None:
        self.ridge = ridge
        self.top = top
        self.least_trust = least_trust
        self.ceiling = ceiling
        self.tail = tail

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
        x_cm = None if P_corrupted is None else self._evidence(P_corrupted)
        m = x_nm.shape[1]
        questions = np.zeros(m, np.int64) if questions is None else questions
        self.trust_ = np.ones(m)
        asked = [np.flatnonzero(questions == q) for q in np.unique(questions)]
        self.kind_weights_ = [self._fit_question(x_nm, x_cm, kinds, columns) for columns in asked]
        evidence = [np.sort(logsumexp(x_nm @ w_Km.T, axis=1)) for w_Km in self.kind_weights_]
        self.references_ = evidence
        self.tails_ = [pareto_tail(e, max(int(self.tail * len(e)), min(10, len(e) // 2))) for e in evidence]
        means = [w_Km.mean(axis=0) for w_Km in self.kind_weights_]
        self.weights_ = np.mean([w / w.sum() if w.sum() > 0 else np.full(m, 1.0 / m) for w in means], axis=0)
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        x_nm = self._evidence(P_nm)
        evidence = [logsumexp(x_nm @ w_Km.T, axis=1) for w_Km in self.kind_weights_]
        if len(evidence) == 1:
            only: Floats = evidence[0]
            return only
        each = zip(evidence, self.references_, self.tails_, strict=True)
        total: Floats = np.logaddexp.reduce([-np.log(upper_p(e, *null)) for e, *null in each])
        return total

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)

    def _fit_question(
        self, x_nm: Floats, x_cm: Floats | None, kinds: NDArray[np.int64] | None, columns: NDArray[np.int64]
    ) -> Floats:
        """Return (K, m) weights of the statistics in `columns`, and keep their trust."""
        own = x_nm[:, columns]
        if x_cm is None or kinds is None:
            plain = np.full((1, len(columns)), 1.0 / len(columns))
        else:
            plain = np.stack([logistic(own, x_cm[kinds == k][:, columns], self.ridge) for k in np.unique(kinds)])
        self.trust_[columns] = self._trust(own, logsumexp(own @ plain.T, axis=1))
        weights = np.zeros((len(plain), x_nm.shape[1]))
        weights[:, columns] = plain * self.trust_[columns]
        return weights

    def _trust(self, x_nm: Floats, consensus_n: Floats) -> Floats:
        k = min(max(int(self.top * len(x_nm)), 5), len(x_nm))
        chosen = oddest(consensus_n, k)
        overlap_m = np.array([np.mean(chosen & odd) / np.mean(chosen | odd) for odd in (oddest(x, k) for x in x_nm.T)])
        trust: Floats = np.maximum(overlap_m / max(overlap_m.max(), 1e-12), self.least_trust)
        return trust

    def contributions(self, P_nm: Floats) -> Floats:
        """Return (n, m) what each statistic adds to the evidence: rows sum to `combine`.

        Within a question the split is Euler's, ``x_j`` times the slope of the evidence in ``x_j``: the weights of the
        kinds, each counted as likely as the item makes it. Questions share the total as softmax of their evidence. What
        a sum of exponentials has beyond that, at most the log of the number of terms, is spread in proportion.
        """
        x_nm = self._evidence(P_nm)
        own = [x_nm @ w_Km.T for w_Km in self.kind_weights_]
        slopes = [softmax(e_nK, axis=1) @ w_Km for e_nK, w_Km in zip(own, self.kind_weights_, strict=True)]
        parts = [x_nm * slope for slope in slopes]
        if len(parts) > 1:
            evidence = [logsumexp(e_nK, axis=1) for e_nK in own]
            each = zip(evidence, self.references_, self.tails_, strict=True)
            answers = np.stack([-np.log(upper_p(e, *null)) for e, *null in each])
            shares = softmax(answers, axis=0) * answers
            parts = [spread(part, share, self.weights_) for part, share in zip(parts, shares, strict=True)]
        return spread(np.sum(parts, axis=0), self.combine(P_nm), self.weights_)


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


def logistic(clean_nm: Floats, damaged_cm: Floats, ridge: float) -> Floats:
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


def oddest(x: Floats, k: int) -> NDArray[np.bool_]:
    """Mark the k largest values."""
    odd = np.zeros(len(x), bool)
    odd[np.argsort(-x, kind="stable")[:k]] = True
    return odd
