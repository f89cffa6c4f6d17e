"""How rarely a value is used so often in one sequence.

Shapes: T events, N sequences, F fields, V codes of one field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import EventDetector, Statistics
from anomaly.errors import DataError
from anomaly.features.segments import reported

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]


class RepetitionDetector(EventDetector):
    """Negative log probability that a sequence holds a value as often as it does, for the value that is oddest.

    The number of uses of value v is geometric beyond the first, ``P(N >= n) = p_v q_v^(n - 1)``, where `p_v` is the
    share of the sequences that hold it and `q_v` how often one use is followed by another. So every use adds to the
    evidence what it is worth, and nothing needs to be known of later ones.

    Parameters
    ----------
    prior : uses' worth of the field's own rate in every rate of repetition
    """

    def __init__(self, *, prior: float = 4.0, contamination: float = 0.01) -> None:
        self.prior = prior
        self.contamination = contamination

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Learn how many sequences hold each value, and how often it is repeated there."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        self.names_ = list(X.field_names)
        # A number's bin or an hour that comes again says little; where there is nothing else it is what there is.
        kinds = np.array([field.kind == "categorical" for field in X.fields], bool)
        self.read_ = kinds if kinds.any() else np.ones(len(kinds), bool)
        none = np.zeros(0), np.zeros(0)
        rates = [self._rates(X, f, field.size) if self.read_[f] else none for f, field in enumerate(X.fields)]
        self.first_, self.again_ = [first for first, _ in rates], [again for _, again in rates]
        return self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the evidence of the value that is oddest for its number of uses, in nats."""
        return np.asarray(self.statistics(X).values[:, 0])

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) what each use adds to the evidence of its value."""
        self._check_fitted()
        return self._evidence(X).astype(np.float32)

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the evidence of the oddest value of every sequence, over its reported events."""
        self._check_fitted()
        kept, sequence, evidence = reported(X)[1], X.sequence_of_event(), self._evidence(X)
        largest = np.zeros(len(X))
        for f in np.flatnonzero(self.read_):
            order, starts = _groups(sequence[kept], np.asarray(X.codes[:, f])[kept])
            if len(order):
                total = np.add.reduceat(evidence[kept, f][order], starts)
                np.maximum.at(largest, sequence[kept][order[starts]], total)
        return Statistics(largest[:, None], ("largest",))

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return (T, 0): one event repeats nothing."""
        return Statistics(np.zeros((X.n_events, 0)), ())

    def _rates(self, X: SequenceStore, f: int, size: int) -> tuple[Float, Float]:
        """Return (V + 1,) -log p and -log q of the codes of a field; the last is of codes beyond them."""
        code = np.minimum(np.asarray(X.codes[:, f], np.int64), size)
        order, starts = _groups(X.sequence_of_event(), code)
        uses = np.bincount(code, minlength=size + 1)
        holders = np.bincount(code[order[starts]], minlength=size + 1) if len(order) else np.zeros(size + 1, np.int64)
        pooled = (uses.sum() - holders.sum() + 0.5) / (uses.sum() + 1.0)
        again = (uses - holders + self.prior * pooled) / (uses + self.prior)
        return -np.log((holders + 0.5) / (len(X) + 1.0)), -np.log(np.clip(again, 1e-6, 1 - 1e-6))

    def _evidence(self, X: SequenceStore) -> Float:
        sequence, out = X.sequence_of_event(), np.zeros((X.n_events, len(self.names_)))
        for f in np.flatnonzero(self.read_):
            code = np.minimum(np.asarray(X.codes[:, f], np.int64), len(self.first_[f]) - 1)
            order, starts = _groups(sequence, code)
            first = np.zeros(X.n_events, bool)
            first[order[starts]] = True
            out[:, f] = np.where(first, self.first_[f][code], self.again_[f][code])
        return out


def _groups(sequence: NDArray[np.int64], code: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order that brings the uses of one value in one sequence together, in time, and where each begins."""
    if not len(code):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    key = np.asarray(sequence, np.int64) * (int(code.max()) + 1) + code
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    return order, starts
