"""What happens in a sequence, as one row of named numbers.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from anomaly.base import FeatureMatrix
from anomaly.errors import DataError, NotFittedError
from anomaly.features.segments import reported, segment_mean, segment_sum
from anomaly.features.summaries import Columns, chosen_counts, gap_columns, value_columns, variety
from anomaly.sequences.store import FIRST_VALUE, PAD, RARE, UNKNOWN

if TYPE_CHECKING:
    from anomaly.sequences.store import Field, SequenceStore


class SequenceAggregates(BaseEstimator):  # type: ignore[misc]
    """Length, tempo, values, variety and transitions of each sequence.

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
        kept = reported(X)[1]
        self.fields_ = [f.name for f in X.fields]
        self.chosen_ = [self._choose(f, X.codes[kept, k]) for k, f in enumerate(X.fields)]
        self.keys_ = np.unique(X.keys())
        self._fit_transitions(X)
        names = [self._code_names(f, k, labels or {}) for k, f in enumerate(X.fields)]
        self.code_names_ = names
        first = names[0] if names else []
        self.transition_names_ = [f"{a} > {b}" for a, b in self._transition_labels(X, first, labels or {})]
        self.names_ = list(self._block(X.take(np.arange(1))))
        return self

    def transform(self, X: SequenceStore) -> FeatureMatrix:
        """Return one row per sequence, computed block by block; NaN where a feature does not exist."""
        if not hasattr(self, "names_"):
            raise NotFittedError("SequenceAggregates is not fitted; call fit first")
        if list(X.field_names) != self.fields_:
            raise DataError(f"fields are {', '.join(X.field_names)}, but {', '.join(self.fields_)} were fitted")
        out = np.empty((len(X), len(self.names_)), np.float32)
        cuts = np.searchsorted(X.offsets, np.arange(0, X.n_events + 1, self.block_events), side="left")
        for start, stop in zip(*_bounds(cuts, len(X)), strict=True):
            columns = self._block(X.take(np.arange(start, stop)))
            for k, name in enumerate(self.names_):
                out[start:stop, k] = columns[name]
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
        if len(X.fields):
            columns |= self._transition_columns(X, codes[:, 0], offsets)
        return columns

    def _field_columns(self, field: Field, k: int, codes: NDArray[Any], offsets: NDArray[np.int64]) -> Columns:
        total = np.maximum(np.diff(offsets), 1)
        chosen = self.chosen_[k]
        slot = np.full(max(field.size, int(codes.max(initial=0)) + 1), len(chosen), np.int64)
        slot[chosen] = np.arange(len(chosen))
        counts = chosen_counts(slot[codes], len(chosen), offsets)
        columns = {name: np.log1p(c) for name, c in zip(self.code_names_[k], counts.T, strict=True)}
        distinct, entropy = variety(codes, len(slot), offsets)
        columns[f"{field.name}.distinct_log"] = np.log1p(distinct)
        columns[f"{field.name}.unique_share"] = distinct / total
        columns[f"{field.name}.entropy"] = entropy
        columns[f"{field.name}.unknown_share"] = segment_mean(codes == UNKNOWN, offsets)
        columns[f"{field.name}.rare_share"] = segment_mean(codes == RARE, offsets)
        return columns

    def _transition_columns(self, X: SequenceStore, codes: NDArray[Any], offsets: NDArray[np.int64]) -> Columns:
        name = self.fields_[0]
        pairs = _transitions(codes, offsets)
        inside = np.ones(len(codes), bool)
        inside[offsets[:-1][np.diff(offsets) > 0]] = False
        steps = np.maximum(np.diff(offsets) - 1, 1)
        place = np.minimum(np.searchsorted(self.pairs_, pairs), max(len(self.pairs_) - 1, 0))
        known = self.pairs_[place] == pairs if len(self.pairs_) else np.zeros(len(pairs), bool)
        # A sequence that was in `fit` is looked at as if it had not been.
        own = np.repeat(np.isin(X.keys(), self.keys_), np.diff(offsets))
        seen_in = np.where(known, self.seen_in_[place], 0) - own if len(self.pairs_) else np.zeros(len(pairs), np.int64)
        slot = np.where(known & inside, self.slots_[place] if len(self.pairs_) else 0, len(self.transition_names_))
        counts = chosen_counts(slot, len(self.transition_names_), offsets)
        columns = {n: np.log1p(c) for n, c in zip(self.transition_names_, counts.T, strict=True)}
        repeated = inside & (pairs >> 32 == (pairs & 0xFFFFFFFF))
        columns[f"{name}.repeat_share"] = segment_sum(repeated, offsets) / steps
        columns[f"{name}.new_transition_share"] = segment_sum(inside & (seen_in <= 0), offsets) / steps
        return columns

    def _choose(self, field: Field, codes: NDArray[Any]) -> NDArray[np.int64]:
        if field.kind == "numeric":
            return np.zeros(0, np.int64)
        counts = np.bincount(codes.astype(np.int64), minlength=field.size)
        counts[[PAD, UNKNOWN, RARE][: len(counts)]] = 0
        order = np.argsort(-counts, kind="stable")[: self.max_values]
        return np.sort(order[counts[order] > 0]).astype(np.int64)

    def _fit_transitions(self, X: SequenceStore) -> None:
        """Learn in how many sequences each transition of the first field is, and which ones get a column."""
        offsets, kept = reported(X)
        codes = X.codes[kept, 0] if len(X.fields) else np.zeros(0, np.int64)
        pairs = _transitions(codes, offsets)
        sequence = np.repeat(np.arange(len(X)), np.diff(offsets))
        inside = np.ones(len(codes), bool)
        inside[offsets[:-1][np.diff(offsets) > 0]] = False
        self.pairs_, place, counts = np.unique(pairs[inside], return_inverse=True, return_counts=True)
        in_one = np.unique(sequence[inside] * np.int64(max(len(self.pairs_), 1)) + place)
        self.seen_in_ = np.bincount(in_one % max(len(self.pairs_), 1), minlength=len(self.pairs_))
        best = np.argsort(-counts, kind="stable")[: self.max_transitions]
        self.slots_ = np.full(len(self.pairs_), len(best), np.int64)
        self.slots_[np.sort(best)] = np.arange(len(best))

    def _code_names(self, field: Field, k: int, labels: Mapping[str, Sequence[str]]) -> list[str]:
        return [f"{field.name}={_label(field.name, int(c), labels)}" for c in self.chosen_[k]]

    def _transition_labels(
        self, X: SequenceStore, first: list[str], labels: Mapping[str, Sequence[str]]
    ) -> list[tuple[str, str]]:
        name = self.fields_[0] if self.fields_ else ""
        pairs = self.pairs_[self.slots_ < self.slots_.max(initial=0) + (len(self.slots_) <= self.max_transitions)]
        return [
            (f"{name}={_label(name, int(p >> 32), labels)}", _label(name, int(p & 0xFFFFFFFF), labels)) for p in pairs
        ]


def _transitions(codes: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (T,) previous and own code packed into 64 bits; a sequence's first event has no meaning."""
    previous = np.roll(codes, 1).astype(np.int64)
    return (previous << 32) | codes.astype(np.int64)


def _label(field: str, code: int, labels: Mapping[str, Sequence[str]]) -> str:
    names = labels.get(field, ())
    return str(names[code]) if code < len(names) else f"code {code - FIRST_VALUE}" if code >= FIRST_VALUE else "rare"


def _bounds(cuts: NDArray[np.int64], n: int) -> tuple[list[int], list[int]]:
    edges = sorted({0, *(int(c) for c in cuts if 0 < c < n), n})
    return edges[:-1], edges[1:]
