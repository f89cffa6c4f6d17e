"""Smoothed n-grams over the fields of events, and each entity's own habits against everybody else's.

Shapes: T events, N sequences, F fields; R = T rows, or T + N where each sequence adds its end symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import EventDetector, Statistics
from anomaly.detectors.counts import ConditionalCounts, Keys, Own, hash_columns
from anomaly.errors import ConfigError, DataError
from anomaly.features.segments import reported, segment_max, segment_mean, segment_top_mean
from anomaly.sequences.store import PAD

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """One field of some events, ready to be counted or looked up.

    Attributes
    ----------
    value : (R,) codes
    contexts : one (R,) array of keys per order, from no context to the longest
    sequence : (R,) the place of each row's sequence
    """

    value: NDArray[Any]
    contexts: list[Keys]
    sequence: NDArray[np.int64]

    def take(self, where: NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        return Rows(self.value[where], [c[where] for c in self.contexts], self.sequence[where])


class NGramDetector(EventDetector):
    """Surprisal of each field given its context, with Witten-Bell smoothing down to the uniform distribution.

    The first field is conditioned on its own predecessors; every other field on the first field of the same event,
    then on its own previous value as well. A sequence that was in `fit` is scored without what it added to the counts.

    Parameters
    ----------
    max_order : 0, 1 or 2 events of context
    kinds : kinds of field that are read; all of them where a store has none of these
    entity_mass : events' worth of everybody's habits in an entity's profile
    statistic : the statistic that `decision_function` returns
    """

    def __init__(
        self,
        *,
        max_order: int = 1,
        kinds: tuple[str, ...] = ("categorical",),
        entity_mass: float = 10.0,
        leave_out: bool = True,
        statistic: str = "order1.largest",
        contamination: float = 0.01,
    ) -> None:
        self.max_order = max_order
        self.kinds = kinds
        self.entity_mass = entity_mass
        self.leave_out = leave_out
        self.statistic = statistic
        self.contamination = contamination

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Count the reported events of `X`."""
        if not len(X):
            raise DataError("no sequence to learn from; give at least one")
        if self.max_order not in (0, 1, 2):
            raise ConfigError(f"max_order is {self.max_order}, but 0, 1 or 2 is needed")
        self.columns_ = [k for k, f in enumerate(X.fields) if f.kind in tuple(self.kinds)] or list(range(len(X.fields)))
        self.names_ = [X.fields[k].name for k in self.columns_]
        self.sizes_ = [X.fields[k].size for k in self.columns_]
        self.keys_ = np.unique(X.keys())
        self.tables_: list[list[ConditionalCounts]] = []
        self.profiles_: list[list[ConditionalCounts]] = []
        for rows in self._rows(X):
            counted = rows.take(self._reported(X, rows))
            entity = X.entity[counted.sequence]
            self.tables_.append([ConditionalCounts.of(c, counted.value) for c in counted.contexts])
            known = entity > 0
            own = [hash_columns(entity[known], c[known]) for c in counted.contexts[:2]]
            self.profiles_.append([ConditionalCounts.of(c, counted.value[known]) for c in own])
        return self._set_scores(X)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the F columns of `score_fields`."""
        self._check_fitted()
        return tuple(self.names_)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the statistic named in the constructor."""
        found = self.statistics(X)
        if self.statistic not in found.names:
            raise ConfigError(f"statistic {self.statistic!r} is none of {', '.join(found.names)}")
        return found.values[:, found.names.index(self.statistic)]

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) surprisals at the highest order, in nats."""
        self._check_fitted()
        own = self._own_keys(X)
        columns = [self._surprisals(k, rows, X, own)[-1] for k, rows in enumerate(self._rows(X, ends=False))]
        return np.stack(columns, axis=1).astype(np.float32)

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return means, largest and top surprisals per order, and own against everybody else's likelihood."""
        self._check_fitted()
        own = self._own_keys(X)
        lengths = np.diff(X.offsets)
        low, high, contrast = [], [], []
        ends: Float = np.zeros(len(X))
        for k, rows in enumerate(self._rows(X)):
            found = self._surprisals(k, rows, X, own)
            low.append(found[0][: X.n_events])
            high.append(found[-1][: X.n_events])
            ends += np.append(found[-1], np.zeros(len(X)))[X.n_events :][: len(X)]
            contrast.append([c[: X.n_events] for c in self._contrast(k, rows, X, own)])
        offsets, kept = reported(X)
        low_TF, high_TF = np.stack(low, 1)[kept], np.stack(high, 1)[kept]
        low_T, high_T = low_TF.sum(1), high_TF.sum(1)
        columns = {
            "order0.mean": segment_mean(low_T, offsets),
            "order0.largest": segment_max(low_TF.max(1), offsets),
            "order1.mean": segment_mean(high_T, offsets) + ends / np.maximum(lengths, 1),
            "order1.largest": np.maximum(segment_max(high_TF.max(1), offsets), ends),
            "order1.top5": segment_top_mean(high_T, offsets, 5),
            "contrast.order0": segment_mean(sum(c[0] for c in contrast)[kept], offsets),
            "contrast.order1": segment_mean(sum(c[-1] for c in contrast)[kept], offsets),
        }
        return Statistics(np.stack(list(columns.values()), 1), tuple(columns))

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return (T, m) surprisals and contrasts of every event."""
        self._check_fitted()
        own = self._own_keys(X)
        low, high, contrast = [], [], []
        for k, rows in enumerate(self._rows(X, ends=False)):
            found = self._surprisals(k, rows, X, own)
            low.append(found[0])
            high.append(found[-1])
            contrast.append(self._contrast(k, rows, X, own))
        high_TF = np.stack(high, 1)
        columns = {
            "order0": np.sum(low, axis=0),
            "order1": high_TF.sum(1),
            "order1.largest": high_TF.max(1),
            "contrast.order0": np.sum([c[0] for c in contrast], axis=0),
            "contrast.order1": np.sum([c[-1] for c in contrast], axis=0),
        }
        return Statistics(np.stack(list(columns.values()), 1), tuple(columns))

    def _rows(self, X: SequenceStore, *, ends: bool = True) -> list[Rows]:
        """Return the rows of each field; those of the first end with one end symbol per sequence in closed stores."""
        sequence = X.sequence_of_event()
        codes = X.codes[:, self.columns_]
        first = codes[:, 0]
        before = [_previous(first, X, back) for back in (1, 2)]
        rows = [self._first_rows(X, first, before, sequence, ends=ends and X.closed)]
        for k in range(1, codes.shape[1]):
            contexts = [hash_columns(np.zeros(X.n_events, np.int64)), hash_columns(first)]
            contexts.append(hash_columns(first, _previous(codes[:, k], X, 1)))
            rows.append(Rows(codes[:, k], contexts[: 1 if self.max_order == 0 else 3], sequence))
        return rows

    def _first_rows(
        self, X: SequenceStore, first: NDArray[Any], before: list[NDArray[Any]], sequence: NDArray[np.int64], *, ends: bool
    ) -> Rows:
        if ends:
            n, last = len(X), np.maximum(X.offsets[1:] - 1, 0)
            padded = np.append(first, PAD) if not X.n_events else first
            tails = [np.where(X.lengths > k, padded[np.maximum(last - k, 0)], PAD) for k in (0, 1)]
            before = [np.concatenate([b, t]) for b, t in zip(before, tails, strict=True)]
            first = np.concatenate([first, np.full(n, self.sizes_[0])])
            sequence = np.concatenate([sequence, np.arange(n)])
        contexts = [hash_columns(np.zeros(len(first), np.int64))]
        contexts += [hash_columns(*before[:k]) for k in range(1, self.max_order + 1)]
        return Rows(first, contexts, sequence)

    def _reported(self, X: SequenceStore, rows: Rows) -> NDArray[np.bool_]:
        kept = reported(X)[1]
        return np.concatenate([kept, np.ones(len(rows.value) - len(kept), bool)])

    def _own_keys(self, X: SequenceStore) -> NDArray[np.bool_]:
        if not self.leave_out:
            return np.zeros(len(X), bool)
        return np.isin(X.keys(), self.keys_)

    def _own(self, X: SequenceStore, rows: Rows, known: NDArray[np.bool_]) -> Own:
        events = np.flatnonzero(self._reported(X, rows) & known[rows.sequence])
        return Own(events, rows.sequence[events])

    def _surprisals(self, k: int, rows: Rows, X: SequenceStore, known: NDArray[np.bool_]) -> list[Float]:
        own = self._own(X, rows, known)
        p = np.full(len(rows.value), 1.0 / (self.sizes_[k] + 1))
        out = []
        for table, context in zip(self.tables_[k], rows.contexts, strict=True):
            joint, total, types = table.look_up(context, rows.value, own)
            mass = np.maximum(types, 1)
            p = (joint + mass * p) / (total + mass)
            out.append(-np.log(p))
        return out

    def _contrast(self, k: int, rows: Rows, X: SequenceStore, known: NDArray[np.bool_]) -> list[Float]:
        """Return, per order, the log-likelihood ratio of everybody else's habits against the entity's own."""
        own = self._own(X, rows, known)
        entity = X.entity[rows.sequence]
        others = own_p = np.full(len(rows.value), 1.0 / (self.sizes_[k] + 1))
        out = []
        for table, profile, context in zip(self.tables_[k], self.profiles_[k], rows.contexts, strict=False):
            every = table.look_up(context, rows.value)
            mine = hash_columns(entity, context)
            full, mine_now = profile.look_up(mine, rows.value), profile.look_up(mine, rows.value, own)
            mass = np.maximum(every.types, 1)
            others = (every.joint - full.joint + mass * others) / (every.total - full.total + mass)
            prior = others if not out else own_p
            own_p = (mine_now.joint + self.entity_mass * prior) / (mine_now.total + self.entity_mass)
            out.append(np.where(entity > 0, np.log(others) - np.log(own_p), 0.0))
        return out


def _previous(codes: NDArray[Any], X: SequenceStore, back: int) -> NDArray[Any]:
    """Return the code `back` events earlier in the same sequence, `PAD` before its start."""
    out = np.full(len(codes), PAD, codes.dtype)
    out[back:] = codes[:-back] if len(codes) > back else codes[:0]
    out[X.position() < back] = PAD
    return out

