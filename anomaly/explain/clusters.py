"""Flagged sequences that are flagged for the same reasons: hints at patterns, each with its typical cases.

Shapes: n sequences, R reasons, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.base import Estimator
from anomaly.scores.statistics import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.explain.explainer import Reasoned

    Floats = NDArray[np.float64]

FEWEST, ENOUGH, TYPICAL = 5, 20, 3
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
    fields : (field, mean share of the evidence), the largest first
    values : (code of the first field, mean share of the evidence of its events), the largest first
    """

    members: NDArray[np.int64]
    reasons: Sequence[tuple[str, float]]
    typical: NDArray[np.int64]
    fields: Sequence[tuple[str, float]] = ()
    values: Sequence[tuple[int, float]] = ()


class ContributionClusters(Estimator):
    """HDBSCAN (Campello et al. 2013) over what carries the evidence: square roots of shares, so Hellinger's distance.

    Parameters
    ----------
    smallest : share of the sequences that makes a cluster, `FEWEST` at least; `ENOUGH` of them always do

    Attributes
    ----------
    labels_ : (n,) cluster of each sequence, the largest first; -1 is none
    clusters_ : the clusters
    """

    def __init__(self, *, smallest: float = 0.05) -> None:
        self.smallest = smallest

    def fit(self, e: Reasoned) -> Self:
        """Cluster explained sequences."""
        smallest = max(FEWEST, min(int(self.smallest * len(e.evidence_n)), ENOUGH))
        parts = _parts(e)
        self.labels_ = _cluster(np.sqrt(np.concatenate(parts, axis=1)), smallest)
        names = (_codes(e), e.fields, range(parts[2].shape[1]))
        self.clusters_ = [self._cluster(k, parts, names) for k in range(int(self.labels_.max(initial=-1)) + 1)]
        return self

    def _cluster(self, k: int, parts: Sequence[Floats], names: Sequence[Sequence[Any]]) -> Cluster:
        members = np.flatnonzero(self.labels_ == k)
        reasons, fields, values = (_shared(x[members], own) for x, own in zip(parts, names, strict=True))
        share = parts[0][members]
        distance = ((share - share.mean(axis=0)) ** 2).sum(axis=1)
        typical = members[np.argsort(distance, kind="stable")[:TYPICAL]]
        return Cluster(members, reasons, typical, fields, values)


def _parts(e: Reasoned) -> list[Floats]:
    """Return the shares of the evidence of reasons, of fields, and of the events of each value of the first field."""
    sums, codes = Ragged(e.offsets).sum, _codes(e)
    reasons = np.zeros((len(e.evidence_n), len(codes)))
    for (code, _), part_T in e.reasons.items():
        reasons[:, codes.index(code)] += sums(part_T)
    values = np.zeros((len(reasons), e.store.fields[0].size + 1 if e.store.fields else 0))
    if e.store.fields:
        first = np.minimum(e.store.codes[:, 0], values.shape[1] - 1).astype(np.int64)
        np.add.at(values, (e.store.sequence_of_event(), first), e.event_T)
    return [x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12) for x in (reasons, sums(e.part_TF), values)]


def _codes(e: Reasoned) -> list[str]:
    return list(dict.fromkeys(code for code, _ in e.reasons))


def _shared(share: Floats, names: Sequence[Any]) -> list[tuple[Any, float]]:
    """Return what the rows share, by name and with its mean, the largest first."""
    mean = share.mean(axis=0)
    return [(names[r], float(mean[r])) for r in np.argsort(-mean, kind="stable") if mean[r] >= _SHARED]


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
