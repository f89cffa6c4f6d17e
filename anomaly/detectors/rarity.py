"""How rare the values of an event are, alone and in pairs.

Shapes: T events, N sequences, F fields, P pairs of fields.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Analysis, EventDetector, Statistics
from anomaly.detectors.blockwise import gathered
from anomaly.detectors.counts import ConditionalCounts, Own, as_ints, were_counted
from anomaly.detectors.dictionary import Dictionary, Ints
from anomaly.errors import DataError
from anomaly.features.segments import blocks, distinct, reported, segment_max, segment_mean

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]


class RarityDetector(EventDetector):
    """Negative log frequency of values and of pairs of values in one event, whatever their order in time.

    Parameters
    ----------
    max_pairs : pairs of fields that are counted; those that depend most on each other are kept
    leave_out : score what was in `fit` without what it added to the counts: the sequence, or the fold of the event
    statistic : what `decision_function` returns; None is the largest rarity of pairs, of values in a single field
    """

    def __init__(
        self,
        *,
        max_pairs: int = 32,
        leave_out: bool = True,
        statistic: str | None = None,
        contamination: float = 0.01,
        block_events: int = 2_000_000,
    ) -> None:
        self.max_pairs = max_pairs
        self.leave_out = leave_out
        self.statistic = statistic
        self.contamination = contamination
        self.block_events = block_events

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Count the values and the pairs of the reported events."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        kept = reported(X)[1]
        self.names_, self.sizes_ = list(X.field_names), [f.size + 1 for f in X.fields]
        codes = [as_ints(X.codes[kept, k], size) for k, size in enumerate(self.sizes_)]
        self.keys_ = distinct(X.keys())
        self.n_events_ = int(kept.sum())
        nothing = np.zeros(self.n_events_, np.int64)
        self.values_ = [ConditionalCounts.of(nothing, 1, c, size) for c, size in zip(codes, self.sizes_, strict=True)]
        self.pairs_ = self._choose_pairs(codes)
        self.joint_ = [ConditionalCounts.of(codes[a], self.sizes_[a], codes[b], self.sizes_[b]) for a, b in self.pairs_]
        return self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the statistic named in the constructor."""
        return self.statistics(X).column(self.statistic or ("pair.largest" if self.pairs_ else "value.largest"))

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) rarity per field: half of its rarest pair, or its own rarity where there are no pairs."""
        return np.concatenate([self._of_fields(*self.rarities(b)) for b in blocks(X, self.block_events)])

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the rarest value, and the largest and the mean of the rarest pair of each event."""
        return Statistics.concat([self._of_sequences(b, *self.rarities(b)) for b in blocks(X, self.block_events)])

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return (T, m) the rarest value and the rarest pair of every event."""
        return Statistics.concat([self._of_events(*self.rarities(b)) for b in blocks(X, self.block_events)])

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return all of it from one pass."""
        return gathered(map(self._analysis, blocks(X, self.block_events)), len(X), X.n_events)

    def rarities(self, X: SequenceStore) -> tuple[Float, Float]:
        """Return (T, F) rarities of values and (T, P) of the pairs `pairs_`, in nats."""
        self._check_fitted()
        events = np.flatnonzero(were_counted(X, self.keys_)[: X.n_events] & self.leave_out)
        own = Own(events, X.fold_of_event()[events])
        total = np.full(X.n_events, self.n_events_)
        total[events] -= np.bincount(own.fold)[own.fold]
        rest, nothing = np.log(np.maximum(total, 0) + 1.0), np.zeros(X.n_events, np.int64)
        codes = [as_ints(X.codes[:, k], size) for k, size in enumerate(self.sizes_)]
        values_TF, pairs_TP = np.empty((X.n_events, len(codes))), np.empty((X.n_events, len(self.pairs_)))
        # What was never seen counts as half an event.
        for k, (table, code) in enumerate(zip(self.values_, codes, strict=True)):
            values_TF[:, k] = rest - np.log(table.joint(nothing, code, own) + 0.5)
        for p, (table, (a, b)) in enumerate(zip(self.joint_, self.pairs_, strict=True)):
            pairs_TP[:, p] = rest - np.log(table.joint(codes[a], codes[b], own) + 0.5)
        return values_TF, pairs_TP

    def _analysis(self, block: SequenceStore) -> Analysis:
        one = self.rarities(block)
        return Analysis(self._of_sequences(block, *one), self._of_fields(*one), self._of_events(*one))

    def _of_fields(self, values_TF: Float, pairs_TP: Float) -> NDArray[np.float32]:
        if not self.pairs_:
            return values_TF.astype(np.float32)
        out = np.zeros(values_TF.shape, np.float32)
        for p, (a, b) in enumerate(self.pairs_):
            for k in (a, b):
                out[:, k] = np.maximum(out[:, k], pairs_TP[:, p] / 2)
        return out

    def _of_sequences(self, X: SequenceStore, values_TF: Float, pairs_TP: Float) -> Statistics:
        offsets, kept = reported(X)
        largest = values_TF[kept].max(1, initial=0.0)
        columns = {"value.largest": segment_max(largest, offsets)}
        if self.pairs_:
            rarest = pairs_TP[kept].max(1)
            columns |= {"pair.largest": segment_max(rarest, offsets), "pair.mean": segment_mean(rarest, offsets)}
        else:
            columns["value.mean"] = segment_mean(largest, offsets)
        return Statistics(np.stack(list(columns.values()), 1), tuple(columns))

    def _of_events(self, values_TF: Float, pairs_TP: Float) -> Statistics:
        columns = {"value": values_TF.max(1, initial=0.0)}
        if self.pairs_:
            columns["pair"] = pairs_TP.max(1)
        return Statistics(np.stack(list(columns.values()), 1), tuple(columns))

    def _choose_pairs(self, codes: list[Ints]) -> list[tuple[int, int]]:
        pairs = list(combinations(range(len(codes)), 2))
        if len(pairs) <= self.max_pairs:
            return pairs
        step = max(self.n_events_ // 100_000, 1)
        shared = [_mutual_information(codes[a][::step], codes[b][::step], self.sizes_[b]) for a, b in pairs]
        return sorted(pairs[p] for p in np.argsort(-np.asarray(shared), kind="stable")[: self.max_pairs])


def _mutual_information(a: Ints, b: Ints, size: int) -> float:
    """Return the plug-in mutual information of two code columns, less its bias (Miller and Madow 1955), in nats."""
    n = len(a)
    if not n:
        return 0.0
    entropies, sizes = [], []
    for keys in (a, b, a * size + b):
        distinct = Dictionary.of(keys, int(keys.max()) + 1)
        p = np.bincount(distinct.places(keys)) / n
        entropies.append(float(-(p * np.log(p)).sum()))
        sizes.append(len(p))
    bias = (sizes[0] + sizes[1] - sizes[2] - 1) / (2 * n)
    return entropies[0] + entropies[1] - entropies[2] + bias
