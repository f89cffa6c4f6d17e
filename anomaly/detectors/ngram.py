"""Smoothed n-grams over the fields of events, with each entity's own habits against everybody else's.

Shapes: T events, N sequences, F fields, C fields that the contrast reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Analysis, EventDetector, Statistics, Tail
from anomaly.detectors.blockwise import gathered
from anomaly.detectors.contexts import Chain, choose_parts, count, surprisals
from anomaly.detectors.counts import ConditionalCounts, Float, were_counted
from anomaly.detectors.habits import Contrast, Habits
from anomaly.errors import ConfigError, DataError
from anomaly.features.segments import (
    blocks,
    distinct,
    reported,
    segment_max,
    segment_mean,
    segment_sum,
    segment_top_mean,
)

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore


class Surprisals(NamedTuple):
    """What one pass finds: (T, F) without and with context, (N,) of the ends where these mean something, contrasts."""

    low_TF: Float
    high_TF: Float
    ends_N: Float | None
    contrasts: list[Contrast]


class NGramDetector(EventDetector):
    """Surprisal of each field given a short context, backing off to shorter ones and at last to the uniform.

    The first field is conditioned on its predecessor, every other field on the first field of its own event; further
    parts of the context are those that leave-one-out likelihood asks for. A sequence that was in `fit`, known by its
    key, is scored without what it added to the counts, so that it is scored as if it were new; the price is that its
    events' scores are those of that whole sequence. Where single events are the items, the fold is left out that the
    event lies in, see `SequenceStore.fold_of_event`.

    Parameters
    ----------
    max_order : codes of context; 0 leaves frequencies alone
    kinds : kinds of field whose surprisal is read; all fields where a store has none of these kinds
    contrast_kinds : kinds of field that the contrast reads
    leave_out : score what was in `fit` without its own counts
    statistic : the statistic that `decision_function` returns
    block_events : events that are scored at a time
    """

    def __init__(
        self,
        *,
        max_order: int = 2,
        kinds: tuple[str, ...] = ("categorical",),
        contrast_kinds: tuple[str, ...] = ("categorical", "numeric", "clock"),
        leave_out: bool = True,
        statistic: str = "order1.largest",
        contamination: float = 0.01,
        block_events: int = 2_000_000,
        random_state: int = 0,
    ) -> None:
        self.max_order = max_order
        self.kinds = kinds
        self.contrast_kinds = contrast_kinds
        self.leave_out = leave_out
        self.statistic = statistic
        self.contamination = contamination
        self.block_events = block_events
        self.random_state = random_state

    def fit(self, X: SequenceStore, y: NDArray[np.int64] | None = None) -> Self:
        """Choose the contexts and count the reported events of `X`.

        Raises
        ------
        ConfigError
            If `max_order` or `statistic` is not one that exists.
        DataError
            If there is no sequence or no field.
        """
        if not len(X) or not X.fields:
            raise DataError("nothing to learn from; give at least one sequence with one categorical or numeric field")
        if self.max_order < 0:
            raise ConfigError(f"max_order is {self.max_order}, but 0 or more is needed")
        self._fit_columns(X)
        self.keys_ = distinct(X.keys())
        self.chains_: list[Chain] = []
        self.tables_: list[list[ConditionalCounts]] = []
        parts = choose_parts(X, self.columns_, self.max_order, self.random_state)
        for k, column in enumerate(self.columns_):
            chain = Chain.of(X, column, parts[k], ends=k == 0 and X.closed)
            self.chains_.append(chain)
            self.tables_.append(count(chain.rows(X).counted(), chain))
        self.habits_ = self._fit_habits(X)
        return self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Float:
        """Return (N,) the statistic named in the constructor."""
        return self.statistics(X).column(self.statistic)

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) surprisals given the whole context, in nats."""
        self._check_fitted()
        return np.concatenate([self._pass(b).high_TF.astype(np.float32) for b in blocks(X, self.block_events)])

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return means, largest and top surprisals without and with context, and the contrasts."""
        self._check_fitted()
        return Statistics.concat([self._of_sequences(b, self._pass(b)) for b in blocks(X, self.block_events)])

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return (T, m) surprisals and contrasts of every event."""
        self._check_fitted()
        return Statistics.concat([self._of_events(self._pass(b)) for b in blocks(X, self.block_events)])

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return all of it from one pass."""
        self._check_fitted()
        return gathered(map(self._analysis, blocks(X, self.block_events)), len(X), X.n_events)

    def _analysis(self, block: SequenceStore) -> Analysis:
        one = self._pass(block)
        return Analysis(self._of_sequences(block, one), one.high_TF.astype(np.float32), self._of_events(one))

    def surprisals(self, X: SequenceStore) -> Surprisals:
        """Return all that one pass finds, the store in one block."""
        self._check_fitted()
        return self._pass(X)

    def contrasts(self, X: SequenceStore, found: Surprisals, order: int) -> dict[str, Float]:
        """Return, by field, what each event (T,) adds to the contrast of an order; empty without profiles."""
        offsets, kept = reported(X)
        lengths, out = np.diff(offsets), {}
        for habits, contrast in zip(self.habits_, found.contrasts, strict=True):
            total = np.repeat(np.maximum(segment_sum(contrast.weight[kept], offsets), 1e-12), lengths)
            part = np.zeros(X.n_events)
            part[kept] = (_ratio(contrast, order) * contrast.weight)[kept] / total
            out[X.field_names[habits.chain.column]] = part
        return out

    def _fit_columns(self, X: SequenceStore) -> None:
        every = range(len(X.fields))
        self.columns_ = [k for k in every if X.fields[k].kind in tuple(self.kinds)] or list(every)
        self.names_ = [X.fields[k].name for k in self.columns_]
        self.further_ = [k for k in every if X.fields[k].kind in tuple(self.contrast_kinds) and k not in self.columns_]

    def _fit_habits(self, X: SequenceStore) -> list[Habits]:
        """Return the habits of every column of the contrast; none where there are no two entities to compare."""
        if len(np.unique(X.entity[X.entity > 0])) < 2:
            return []
        parts = {chain.column: chain.parts[:1] for chain in self.chains_} | {k: [] for k in self.further_}
        chains = [Chain.of(X, column, some) for column, some in parts.items()]
        return [Habits.of(chain, chain.rows(X), X.entity) for chain in chains]

    def _pass(self, X: SequenceStore) -> Surprisals:
        counted = were_counted(X, self.keys_) & self.leave_out
        low, high, ends = [], [], None
        for chain, tables in zip(self.chains_, self.tables_, strict=True):
            rows = chain.rows(X)
            found = surprisals(tables, rows, rows.own(counted))
            if chain.ends:
                ends = found[-1][X.n_events :]
            low.append(found[0][: X.n_events])
            high.append(found[-1][: X.n_events])
        contrasts = [habits.contrast(habits.chain.rows(X), X.entity, counted) for habits in self.habits_]
        return Surprisals(np.stack(low, 1), np.stack(high, 1), ends, contrasts)

    def _of_sequences(self, X: SequenceStore, found: Surprisals) -> Statistics:
        offsets, kept = reported(X)
        low_TF, high_TF = found.low_TF[kept], found.high_TF[kept]
        high_T, ends = high_TF.sum(1), 0.0 if found.ends_N is None else found.ends_N
        largest_NF = segment_max(high_TF, offsets)
        columns: dict[str, tuple[Float, Tail]] = {
            "order0.mean": (segment_mean(low_TF.sum(1), offsets), "both"),
            "order0.largest": (segment_max(low_TF.max(1), offsets), "upper"),
            "order1.mean": (segment_mean(high_T, offsets) + ends / np.maximum(np.diff(offsets), 1), "both"),
            "order1.largest": (np.maximum(largest_NF.max(1), ends), "upper"),
            "order1.top5": (segment_top_mean(high_T, offsets, 5), "upper"),
        }
        if high_TF.shape[1] > 1:
            columns["order1.largest_event"] = (np.maximum(segment_max(high_T, offsets), ends), "upper")
            columns["order1.largest_sum"] = (largest_NF.sum(1) + ends, "upper")
        for order in range(max((len(c.ratios) for c in found.contrasts), default=0)):
            columns[f"contrast.order{order}"] = (_weighted(found.contrasts, order, offsets, kept), "upper")
        return Statistics(
            np.stack([values for values, _ in columns.values()], 1),
            tuple(columns),
            tuple(tail for _, tail in columns.values()),
        )

    def _of_events(self, found: Surprisals) -> Statistics:
        columns = {"order0": found.low_TF.sum(1), "order1": found.high_TF.sum(1)}
        if found.high_TF.shape[1] > 1:
            columns["order1.largest"] = found.high_TF.max(1)
        for order in range(max((len(c.ratios) for c in found.contrasts), default=0)):
            columns[f"contrast.order{order}"] = np.sum([_ratio(c, order) for c in found.contrasts], axis=0)
        return Statistics(np.stack(list(columns.values()), 1), tuple(columns))


def _ratio(contrast: Contrast, order: int) -> Float:
    """Return the ratio of that order, or of the highest that the column has."""
    return contrast.ratios[min(order, len(contrast.ratios) - 1)]


def _weighted(contrasts: list[Contrast], order: int, offsets: NDArray[np.int64], kept: NDArray[np.bool_]) -> Float:
    """Return (N,) the sum over fields of the weighted means of the events' ratios."""
    total = np.zeros(len(offsets) - 1)
    for contrast in contrasts:
        sums = segment_sum((_ratio(contrast, order) * contrast.weight)[kept], offsets)
        total += sums / np.maximum(segment_sum(contrast.weight[kept], offsets), 1e-12)
    return total
