"""What is usual: a sample of unremarkable sequences, and what each entity does.

Shapes: T events, N sequences, D width, K features.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.base import FeatureMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

SAMPLE = 1000
"""Sequences that stand for what is usual."""
UNREMARKABLE = 0.2
"""A usual sequence has at least this p-value."""


class Reference:
    """Usual sequences of a run.

    Parameters
    ----------
    ensemble : fitted
    store : the sequences that the run keeps
    p_value : (N,) of these; None where they are not known, and then all may be usual
    random_state : of the draw
    """

    def __init__(
        self, ensemble: CalibratedEnsemble, store: SequenceStore, p_value: Floats | None = None, random_state: int = 0
    ) -> None:
        self.ensemble = ensemble
        self.store = store
        usual = np.arange(len(store)) if p_value is None else np.flatnonzero(p_value >= UNREMARKABLE)
        usual = usual[store.lengths[usual] > 0]
        drawn = np.random.default_rng(random_state).permutation(usual)[:SAMPLE]
        self.places = np.sort(drawn)

    @cached_property
    def sample(self) -> SequenceStore:
        """The drawn sequences."""
        return self.store.take(self.places)

    @cached_property
    def embedding(self) -> tuple[Floats, Floats, Floats]:
        """Return the (n, D) standardised vectors of the sample, their centre and their scale."""
        vectors = self.vectors(self.sample)
        centre, scale = vectors.mean(axis=0), vectors.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        return (vectors - centre) / scale, centre, scale

    @cached_property
    def medians(self) -> NDArray[np.float32]:
        """(K,) medians of the features; NaN where a feature never is."""
        values = self.features(self.sample).values
        there = np.isfinite(values).any(axis=0)
        out = np.full(values.shape[1], np.nan, np.float32)
        out[there] = np.nanmedian(values[:, there], axis=0)
        return out

    @cached_property
    def gap(self) -> float:
        """Median time between two events, in seconds; NaN where there is none."""
        delta = np.asarray(self.sample.delta, np.float64)
        own = delta[(self.sample.position() > 0) & np.isfinite(delta)]
        return float(np.median(own)) if self.sample.has_time and len(own) else float("nan")

    def vectors(self, X: SequenceStore) -> Floats:
        """Return (n, D) the embedding of the leading member; its features where it has none."""
        embedding = self.ensemble.bank_.leader.analyse(X).embedding_ND
        if embedding is not None:
            return embedding.astype(np.float64)
        return np.nan_to_num(self.features(X).values.astype(np.float64))

    def features(self, X: SequenceStore) -> FeatureMatrix:
        """Return the aggregates of sequences; none where no member reads any."""
        aggregates: Any = getattr(self.ensemble.bank_, "aggregates_", None)
        if aggregates is None:
            return FeatureMatrix(np.zeros((len(X), 0), np.float32), ())
        found: FeatureMatrix = aggregates.transform(X)
        return found

    def nearest(self, X: SequenceStore, k: int = 3) -> tuple[NDArray[np.int64], Floats]:
        """Return (n, k) places in `store` of the usual sequences that are most alike, and their distances.

        A sequence is none of its own neighbours. Where members make no vectors nothing is like anything, and k is 0.
        """
        known, centre, scale = self.embedding
        k = k if known.shape[1] else 0
        own = (self.vectors(X) - centre) / scale
        distance = np.sqrt(np.maximum((own**2).sum(1)[:, None] + (known**2).sum(1) - 2 * own @ known.T, 0.0))
        distance[X.keys()[:, None] == self.sample.keys()] = np.inf
        k = min(k, distance.shape[1])
        order = np.argsort(distance, axis=1, kind="stable")[:, :k]
        return self.places[order], np.take_along_axis(distance, order, axis=1) / np.sqrt(max(known.shape[1], 1))

    def own(self, X: SequenceStore, n: int) -> NDArray[np.int64]:
        """Return the places in `store` of the other sequences of a sequence's entity."""
        if not X.entity[n]:
            return np.empty(0, np.int64)
        same = np.flatnonzero(np.asarray(self.store.entity) == X.entity[n])
        key = X.take([n]).keys()[0]
        others: NDArray[np.int64] = same[self.store.take(same).keys() != key]
        return others
