"""Flagged sequences that are flagged for the same reasons: hints at patterns, each with its typical cases.

Shapes: n sequences, R reasons, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.explain.explainer import Reasoned

    Floats = NDArray[np.float64]

FEWEST, TYPICAL = 5, 3
_SHARED = 0.1
"""Mean share of the evidence from which on a cluster's members share a reason."""


@dataclass(frozen=True)
class Cluster:
    """Sequences of one pattern.

    Attributes
    ----------
    members : places among the clustered sequences
    reasons : (code, mean share of the evidence), the largest first
    typical : the members nearest to the middle
    """

    members: NDArray[np.int64]
    reasons: Sequence[tuple[str, float]]
    typical: NDArray[np.int64]


class ContributionClusters(BaseEstimator):  # type: ignore[misc]
    """HDBSCAN (Campello et al. 2013) over what carries the evidence: square roots of shares, so Hellinger's distance.

    Parameters
    ----------
    smallest : share of the sequences that makes a cluster, `FEWEST` at least

    Attributes
    ----------
    labels_ : (n,) cluster of each sequence, the largest first; -1 is none
    clusters_ : the clusters
    """

    def __init__(self, *, smallest: float = 0.025) -> None:
        self.smallest = smallest

    def fit(self, e: Reasoned) -> Self:
        """Cluster explained sequences."""
        share, names = reason_shares(e)
        self.labels_ = _cluster(profile(e), max(FEWEST, int(self.smallest * len(e.evidence_n))))
        self.clusters_ = [self._cluster(k, share, names) for k in range(int(self.labels_.max(initial=-1)) + 1)]
        return self

    def _cluster(self, k: int, share: Floats, names: Sequence[str]) -> Cluster:
        members = np.flatnonzero(self.labels_ == k)
        mean = share[members].mean(axis=0)
        told = [(names[r], float(mean[r])) for r in np.argsort(-mean, kind="stable") if mean[r] >= _SHARED]
        distance = ((share[members] - mean) ** 2).sum(axis=1)
        return Cluster(members, told, members[np.argsort(distance, kind="stable")[:TYPICAL]])


def reason_shares(e: Reasoned) -> tuple[Floats, list[str]]:
    """Return (n, R) each reason code's share of the evidence, and the codes."""
    codes = list(dict.fromkeys(code for code, _ in e.reasons))
    parts = np.zeros((len(e.evidence_n), len(codes)))
    ragged = _sums(e)
    for (code, _), part_T in e.reasons.items():
        parts[:, codes.index(code)] += ragged(part_T)
    return parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-12), codes


def profile(e: Reasoned) -> Floats:
    """Return (n, d) square roots of the shares of reasons, of fields and of the values of the first field."""
    reasons, _ = reason_shares(e)
    fields = _sums(e)(e.part_TF)
    values = np.zeros((len(fields), e.store.fields[0].size + 1 if e.store.fields else 0))
    if e.store.fields:
        codes = np.minimum(e.store.codes[:, 0], values.shape[1] - 1).astype(np.int64)
        np.add.at(values, (e.store.sequence_of_event(), codes), e.event_T)
    parts = [x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12) for x in (reasons, fields, values)]
    found: Floats = np.sqrt(np.concatenate(parts, axis=1))
    return found


def _sums(e: Reasoned) -> Any:
    from anomaly.scores.statistics import Ragged

    return Ragged(e.offsets).sum


def _cluster(x: Floats, smallest: int) -> NDArray[np.int64]:
    """Return (n,) clusters, numbered by size; -1 for what belongs to none."""
    from sklearn.cluster import HDBSCAN

    if len(x) < 2 * smallest:
        return np.full(len(x), -1)
    found = HDBSCAN(min_cluster_size=smallest, min_samples=3, copy=True).fit_predict(x)
    kept = found[found >= 0]
    order = np.argsort(-np.bincount(kept, minlength=1), kind="stable")
    number = np.empty(len(order) + 1, np.int64)
    number[order], number[-1] = np.arange(len(order)), -1
    labels: NDArray[np.int64] = number[found]
    return labels
