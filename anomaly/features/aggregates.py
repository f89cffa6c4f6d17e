"""What happens in a sequence, as one row of named numbers.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Estimator, FeatureMatrix
from anomaly.errors import DataError, NotFittedError
from anomaly.features.segments import blocks, distinct, reported, segment_mean
from anomaly.features.summaries import Columns, chosen_counts, gap_columns, value_columns, variety
from anomaly.features.transitions import Transitions
from anomaly.sequences.store import FIRST_VALUE, PAD, RARE, UNKNOWN

if TYPE_CHECKING:
    from anomaly.sequences.store import Field, SequenceStore


class SequenceAggregates(Estimator):
    """Length, tempo, what lies before and after, values, variety and transitions of each sequence.

    Parameters
    ----------
    max_values : codes of each categorical field that get a column of their own, the most frequent first
    max_transitions : transitions of the first field that get a column of their own
    block_events : events that are held in working memory at a time
    """

    def __init__(self, *, max_values: int = 64, max_transitions: int = 32, block_events: int = 2_000_000) -> None:
        self.max_values = max_values
        self.max_transitions = max_transitions
        self.block_events = block_events

    def fit(self, X: SequenceStore, labels: Mapping[str, Sequence[str]] | None = None) -> Self:
        """Choose the codes and transitions that get columns; `labels` gives each field's codes readable names."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        labels = labels or {}
        offsets, kept = reported(X)
        self.fields_ = list(X.field_names)
        self.chosen_ = [self._choose(f, X.codes[kept, k]) for k, f in enumerate(X.fields)]
        self.code_names_ = [
            [f"{name}={_label(name, int(code), labels)}" for code in chosen]
            for name, chosen in zip(self.fields_, self.chosen_, strict=True)
        ]
        self.keys_ = distinct(X.keys())
        self.transitions_, self.transition_names_ = None, []
        if self.fields_:
            first = self.fields_[0]
            self.transitions_ = Transitions.of(X.codes[kept, 0], offsets, self.max_transitions)
            steps = [tuple(_label(first, code, labels) for code in pair) for pair in self.transitions_.codes()]
            self.transition_names_ = [f"{first}={before} > {after}" for before, after in steps]
        self.names_ = list(self._block(X.take(np.arange(1))))
        return self

    def transform(self, X: SequenceStore) -> FeatureMatrix:
        """Return one row per sequence, computed block by block; NaN where a feature does not exist."""
        if not hasattr(self, "names_"):
            raise NotFittedError("SequenceAggregates is not fitted; call fit first")
        if list(X.field_names) != self.fields_:
            raise DataError(f"fields are {', '.join(X.field_names)}, but {', '.join(self.fields_)} were fitted")
        out = np.empty((len(X), len(self.names_)), np.float32)
        start = 0
        for block in blocks(X, self.block_events):
            columns = self._block(block)
            for k, name in enumerate(self.names_):
                out[start : start + len(block), k] = columns[name]
            start += len(block)
        return FeatureMatrix(out, tuple(self.names_), X.keys())

    def _block(self, X: SequenceStore) -> Columns:
        """Return the columns of a block of sequences."""
        offsets, kept = reported(X)
        codes = X.codes[kept]
        columns: Columns = {"length.log": np.log1p(np.diff(offsets).astype(np.float64))}
        if X.has_time:
            columns |= gap_columns(X.delta[kept], offsets)
        columns |= value_columns(X.values[kept], X.value_names, offsets)
        for k, field in enumerate(X.fields):
            columns |= self._field_columns(field, k, codes[:, k], offsets)
        if self.transitions_ is not None:
            own = np.isin(X.keys(), self.keys_)
            first = self.fields_[0]
            columns |= self.transitions_.columns(codes[:, 0], offsets, own, first, self.transition_names_)
        return columns

    def _field_columns(self, field: Field, k: int, codes: NDArray[Any], offsets: NDArray[np.int64]) -> Columns:
        total = np.maximum(np.diff(offsets), 1)
        chosen = self.chosen_[k]
        slot = np.full(max(field.size, int(codes.max(initial=0)) + 1), len(chosen), np.int64)
        slot[chosen] = np.arange(len(chosen))
        counts = chosen_counts(slot[codes], len(chosen), offsets)
        columns = {name: np.log1p(c) for name, c in zip(self.code_names_[k], counts.T, strict=True)}
        kinds, entropy = variety(codes, len(slot), offsets)
        columns[f"{field.name}.distinct_log"] = np.log1p(kinds)
        columns[f"{field.name}.unique_share"] = kinds / total
        columns[f"{field.name}.entropy"] = entropy
        columns[f"{field.name}.unknown_share"] = segment_mean(codes == UNKNOWN, offsets)
        columns[f"{field.name}.rare_share"] = segment_mean(codes == RARE, offsets)
        return columns

    def _choose(self, field: Field, codes: NDArray[Any]) -> NDArray[np.int64]:
        if field.kind == "numeric":
            return np.zeros(0, np.int64)
        counts = np.bincount(codes.astype(np.int64), minlength=field.size)
        counts[[PAD, UNKNOWN, RARE][: len(counts)]] = 0
        order = np.argsort(-counts, kind="stable")[: self.max_values]
        return np.sort(order[counts[order] > 0]).astype(np.int64)


def _label(field: str, code: int, labels: Mapping[str, Sequence[str]]) -> str:
    """Return the code's own name, or its number."""
    names = labels.get(field, ())
    if code < len(names):
        return str(names[code])
    return f"code {code - FIRST_VALUE}" if code >= FIRST_VALUE else ("pad", "unknown", "rare")[code]
