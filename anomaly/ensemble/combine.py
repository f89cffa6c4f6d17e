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
from scipy.special import logsumexp, ndtri, softmax

from anomaly.base import ScoreCombiner, spread
from anomaly.scores.calibration import upper_p, with_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LESSONS = 20_000
"""Untouched items, about, that a regression reads."""
LEAST_NORMAL = -3.0
"""Normal score of a p-value next to 1, of which there are many where a statistic is silent."""
TAUGHT = 2
"""Views of each question that corruptions teach."""
LEAST_AGREED = 0.05
"""Overlap of two views' oddest items, at least, and below 1 at most: of few items an overlap is no more certain."""


class CorruptionMixture(ScoreCombiner):
    """Several views of the same statistics, learnt from known troubles or from none, joined as one.

    Whether an item is odd for its owner is another question than whether it is odd for the crowd, and an answer to one
    is no answer to the other. Each question is looked at in three ways, the first two sums over ``x = -log p`` that
    corruptions teach:

    - trouble of one kind: a logistic regression with weights ``w_k >= 0`` tells items damaged in way k from untouched
      ones, and the evidence is ``log sum_k exp(x . w_k)``, the likelihood ratio of a mixture;
    - trouble of any kind: one such regression for all kinds, held back more, so that what many statistics say a little
      counts;
    - trouble like none of the kinds: ``sum_j z_j^3 / sqrt(r_j)`` over the normal scores above nought. The cube lets one
      odd statistic speak among many usual ones, and ``r_j``, the sum of j's positive correlations with all, its own
      among them, makes many that say the same count for less than as many that do not.

    The weights of the first two are multiplied by the trust in each statistic: the overlap (Jaccard) of its oddest
    items with those of the view, in relation to the best. Each view's evidence is calibrated on the held-out items, and
    the total is ``log sum_v share_v / p_v``.

    What corruptions teach need not be the trouble that is there. Where it is, or where nothing is, views that were
    taught and one that was not call the same held-out items odd; where their oddest items are others, lessons have
    taught what only damage shows. So the share of a taught view is ``J^3``, and that of the untaught one
    ``doubt (1 - J)^3``, J being the mean overlap of both taught views of the question with it.

    Parameters
    ----------
    ridge, pooled_ridge : penalty on the squared weights of one kind's regression, and of that of all kinds
    doubt : share of a view that no corruption teaches, where half of the oddest items are those of the taught ones and
        these have 1; 0 leaves it out
    top : share of the held-out items whose overlap is compared
    least_trust : below it no statistic falls, so that none is silenced
    ceiling : of ``-log p``; one member alone does not decide beyond it
    tail : share of the held-out evidence of a view that its tail is fitted to

    Attributes
    ----------
    views_ : one (rows, m) per question and taught view, trust included, 0 for the statistics of other questions
    untaught_ : per question (m,) the ``1 / sqrt(r_j)``, 0 for the statistics of other questions
    shares_ : (views,) what each view counts, the untaught ones last
    references_, tails_ : per view, the sorted held-out evidence and its tail, see `anomaly.scores.calibration`
    weights_ : (m,) the mean over views, summing to 1
    """

    def __init__(
        self,
        *,
        ridge: float = 1e-2,
        pooled_ridge: float = 1e-1,
        doubt: float = 0.2,
        top: float = 0.05,
        least_trust: float = 0.1,
        ceiling: float = 15.0,
        tail: float = 0.05,
    ) -> None:
        self.ridge = ridge
        self.pooled_ridge = pooled_ridge
        self.doubt = doubt
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
        """Learn the weights; without corrupted items only the untaught views are left.

        Parameters
        ----------
        questions : (m,) which question each statistic asks; None means that all ask the same
        """
        x_nm, m = self._evidence(P_nm), P_nm.shape[1]
        asked = np.zeros(m, np.int64) if questions is None else questions
        asks = [np.flatnonzero(asked == q) for q in np.unique(asked)]
        self.views_: list[Floats] = []
        if P_corrupted is not None and kinds is not None:
            x_cm, some = self._evidence(P_corrupted), x_nm[:: max(len(x_nm) // LESSONS, 1)]
            self.views_ = [view for columns in asks for view in self._taught(some, x_cm, kinds, columns)]
        apart = _apart(x_nm)
        self.untaught_ = [np.where(np.isin(np.arange(m), columns), apart, 0.0) for columns in asks]
        evidence_v = self._views(x_nm)
        self.shares_ = self._shares(evidence_v)
        nulls = [with_tail(evidence, self.tail) for evidence in evidence_v]
        self.references_, self.tails_ = [reference for reference, _ in nulls], [tail for _, tail in nulls]
        means = [*(view.mean(axis=0) for view in self.views_), *self.untaught_]
        each = [w / w.sum() if w.sum() > 0 else np.full(m, 1.0 / m) for w in means]
        self.weights_ = np.average(each, axis=0, weights=self.shares_)
        return self

    def combine(self, P_nm: Floats) -> Floats:
        """Return (n,) evidence."""
        total: Floats = np.logaddexp.reduce(self._answers(self._evidence(P_nm)))
        return total

    def contributions(self, P_nm: Floats) -> Floats:
        """Return (n, m) what each statistic adds to the evidence: rows sum to `combine`.

        Within a taught view the split is Euler's, ``x_j`` times the slope of the evidence in ``x_j``: the weights of
        the kinds, each counted as likely as the item makes it. Views share the total as softmax of their evidence. What
        a sum of exponentials has beyond that, at most the log of the number of terms, is spread in proportion.
        """
        x_nm = self._evidence(P_nm)
        parts = [x_nm * (softmax(x_nm @ view.T, axis=1) @ view) for view in self.views_]
        parts += [_cubes(x_nm) * row for row in self.untaught_]
        answers_vn = self._answers(x_nm)
        shares_vn = softmax(answers_vn, axis=0) * np.maximum(answers_vn, 0.0)
        parts = [spread(part, share, self.weights_) for part, share in zip(parts, shares_vn, strict=True)]
        return spread(np.sum(parts, axis=0), self.combine(P_nm), self.weights_)

    def _evidence(self, P_nm: Floats) -> Floats:
        return np.minimum(-np.log(P_nm), self.ceiling)

    def _views(self, x_nm: Floats) -> list[Floats]:
        """Return the (n,) evidence of each view."""
        cubes_nm = _cubes(x_nm)
        return [*(_likelihood(x_nm, view) for view in self.views_), *(cubes_nm @ row for row in self.untaught_)]

    def _answers(self, x_nm: Floats) -> Floats:
        """Return (views, n) the log of share over p-value of each view."""
        each = zip(self._views(x_nm), self.references_, self.tails_, strict=True)
        p_vn = np.stack([upper_p(evidence, *null) for evidence, *null in each])
        with np.errstate(divide="ignore"):  # A view without a share has no answer, whatever it finds.
            answers: Floats = np.log(self.shares_)[:, None] - np.log(p_vn)
        return answers

    def _shares(self, evidence_v: list[Floats]) -> Floats:
        """Return (views,) what each view counts, by how far what was taught calls odd what is odd without."""
        if not self.views_:
            return np.ones(len(evidence_v))
        odd_v = [oddest(evidence, _most(self.top, len(evidence))) for evidence in evidence_v]
        taught, untaught = odd_v[: len(self.views_)], odd_v[len(self.views_) :]
        overlap_v = [overlap(odd, untaught[v // TAUGHT]) for v, odd in enumerate(taught)]
        agreed_q = np.clip(np.reshape(overlap_v, (-1, TAUGHT)).mean(axis=1), LEAST_AGREED, 1 - LEAST_AGREED)
        shares_v = np.concatenate([np.repeat(agreed_q, TAUGHT) ** 3, self.doubt * (1 - agreed_q) ** 3])
        relative: Floats = shares_v / shares_v.max()
        return relative

    def _taught(self, x_nm: Floats, x_cm: Floats, kinds: NDArray[np.int64], columns: NDArray[np.int64]) -> list[Floats]:
        """Return the two views of one question that corruptions teach."""
        clean, damaged = x_nm[:, columns], x_cm[:, columns]
        one_kind = np.stack([logistic(clean, damaged[kinds == k], self.ridge) for k in np.unique(kinds)])
        any_kind = logistic(clean, damaged, self.pooled_ridge)[None]
        consensus = [_likelihood(clean, rows) for rows in (one_kind, any_kind)]
        trusts = [trust(clean, evidence_n, self.top, self.least_trust) for evidence_n in consensus]
        trusted = [rows * trust_m for rows, trust_m in zip((one_kind, any_kind), trusts, strict=True)]
        return [_embed(rows, columns, x_nm.shape[1]) for rows in trusted]


def _likelihood(x_nm: Floats, view: Floats) -> Floats:
    """Return (n,) the log of the sum over the kinds of a view."""
    evidence: Floats = logsumexp(x_nm @ view.T, axis=1)
    return evidence


def _cubes(x_nm: Floats) -> Floats:
    """Return the cubes of what the normal scores of ``p = exp(-x)`` have above nought."""
    cubes: Floats = np.maximum(-ndtri(np.exp(-x_nm)), 0.0) ** 3
    return cubes


def _apart(x_nm: Floats) -> Floats:
    """Return (m,) one over the root of the sum of a statistic's positive correlations, as normal scores, with all."""
    z_nm = np.maximum(-ndtri(np.exp(-x_nm)), LEAST_NORMAL)
    z_nm -= z_nm.mean(axis=0)
    z_nm /= np.maximum(np.linalg.norm(z_nm, axis=0), 1e-9)
    likeness = np.maximum(z_nm.T @ z_nm, 0.0)
    np.fill_diagonal(likeness, 1.0)
    weights: Floats = 1.0 / np.sqrt(likeness.sum(axis=0))
    return weights


def _embed(rows: Floats, columns: NDArray[np.int64], m: int) -> Floats:
    """Return the weights of some statistics as weights of all m."""
    whole = np.zeros((len(rows), m))
    whole[:, columns] = rows
    return whole


class EqualWeights(ScoreCombiner):
    """Every statistic counts the same; no corruption teaches."""

    def fit(
        self,
        P_nm: Floats,
        P_corrupted: Floats | None = None,
        kinds: NDArray[np.int64] | None = None,
        *,
        questions: NDArray[np.int64] | None = None,
    ) -> Self:
        """Weigh the statistics by their own p-values."""
        self.weights_ = self._weigh(P_nm)
        return self

    def _weigh(self, P_nm: Floats) -> Floats:
        """Return (m,) weights that sum to 1."""
        return np.full(P_nm.shape[1], 1.0 / P_nm.shape[1])


class FisherCombiner(EqualWeights):
    """Sum of ``-log p`` over all members (Fisher 1932): the plain baseline."""

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


def trust(x_nm: Floats, consensus_n: Floats, top: float, least: float) -> Floats:
    """Return (m,) the overlap (Jaccard) of each statistic's oddest items with the consensus's, against the best.

    Parameters
    ----------
    top : share of the items that are compared, at least five of them
    least : below it no statistic falls
    """
    k = _most(top, len(x_nm))
    chosen = oddest(consensus_n, k)
    overlap_m = np.array([overlap(chosen, oddest(x, k)) for x in x_nm.T])
    relative: Floats = np.maximum(overlap_m / max(overlap_m.max(), 1e-12), least)
    return relative


def overlap(some: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    """Return the share of marked items that both mark (Jaccard)."""
    return float(np.mean(some & others) / np.mean(some | others))


def _most(top: float, n: int) -> int:
    """Return how many of n items are compared: a share, but five of them where there are as many."""
    return min(max(int(top * n), 5), n)
