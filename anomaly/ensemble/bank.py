"""The fitted members side by side: one pass yields every raw statistic of the items.

Shapes: T events, N sequences, n items (sequences or events), m statistics.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.base import clone

from anomaly.base import Analysis, Estimator, EventDetector, FeatureMatrix, Progress, Statistics, silent
from anomaly.detectors.columns import ColumnTails
from anomaly.errors import AnomalyError, ConfigError, DataError
from anomaly.features.aggregates import SequenceAggregates
from anomaly.features.embeddings import embedding_matrix, join
from anomaly.features.segments import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly.base import Detector
    from anomaly.sequences.store import SequenceStore

REFERENCE_SEQUENCES, REFERENCE_EVENTS = 20_000, 500_000
"""What members on features learn from, at most."""
EVENTS_AT_ONCE = 1 << 18
"""Events that are read at a time: what members hold of each is many times what is kept of it."""

Unit = Literal["sequence", "event"]


@dataclass(frozen=True)
class BankReading:
    """Raw statistics of the items, and the event evidence behind them.

    Attributes
    ----------
    statistics : (n, m)
    fields_TF : evidence per event and field of the leading event detector
    """

    statistics: Statistics
    fields_TF: NDArray[np.float32]

    @classmethod
    def concat(cls, parts: list[BankReading]) -> BankReading:
        """Lay the readings of consecutive sequences end to end."""
        if len(parts) == 1:
            return parts[0]
        statistics = Statistics.concat([part.statistics for part in parts])
        return cls(statistics, np.concatenate([part.fields_TF for part in parts]))

    def in_order(self, X: SequenceStore, read: NDArray[np.int64]) -> BankReading:
        """Return a reading of all sequences of a store, the items, in its order, given the order of the reading."""
        place = np.argsort(read)
        begin = (np.cumsum(X.lengths[read]) - X.lengths[read])[place]
        events = np.arange(X.n_events) + np.repeat(begin - (X.offsets[:-1] - X.offsets[0]), X.lengths)
        statistics = replace(self.statistics, values=self.statistics.values[place])
        return BankReading(statistics, self.fields_TF[events])


class MemberBank(Estimator):
    """Fit every member on one store and read all of them on another.

    Parameters
    ----------
    members : name to detector; the first that scores events leads, and its embedding joins the features. Where none
        does, column tails say which event and field is odd, and have no say in the score
    aggregates : the features of those members that read features
    unit : what an item is; members that cannot score events take no part where it is the event
    random_state : seed of the draw of the rows that the members on features learn from
    """

    def __init__(
        self,
        *,
        members: Mapping[str, Detector],
        aggregates: SequenceAggregates | None = None,
        unit: Unit = "sequence",
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.aggregates = aggregates
        self.unit = unit
        self.random_state = random_state

    def fit(
        self,
        X: SequenceStore,
        *,
        held_out: SequenceStore,
        workspace: Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Fit the members in turn, those that score events first.

        Raises
        ------
        DataError
            If a member fails, whoever wrote it; the message names it.
        """
        self.event_members_: dict[str, EventDetector] = {}
        self.sequence_members_: dict[str, Detector] = {}
        self.table_members_: dict[str, Detector] = {}
        for name, member in self.members.items():
            scores_events = isinstance(member, EventDetector)
            if scores_events or (member.reads == "sequences" and self.unit == "sequence"):
                progress(f"fitting {name}")
                folder = None if workspace is None else workspace / name
                members: dict[str, Any] = self.event_members_ if scores_events else self.sequence_members_
                with _named(name, member):
                    members[name] = _fit_member(clone(member), X, held_out, folder, progress)
        self.lead_ = None
        if not self.event_members_:
            self.lead_ = ColumnTails(random_state=self.random_state).fit(X)
        tables = {n: m for n, m in self.members.items() if m.reads == "features"}
        if tables and self.unit == "sequence":
            self._fit_tables(tables, X, progress)
        if not (self.event_members_ or self.sequence_members_ or self.table_members_):
            raise ConfigError("no member scores events; add detector ngram or next_event")
        return self

    def read(self, X: SequenceStore, known: Mapping[str, Analysis] = MappingProxyType({})) -> BankReading:
        """Return every statistic of every item of a store.

        Parameters
        ----------
        known : analyses of this store that members have made already, by name

        Raises
        ------
        DataError
            If a member fails, or a score of one is NaN or infinite; the message names it.
        """
        if known:
            return self._read(X, known)
        return BankReading.concat([self._read(block, known) for block in blocks(X, EVENTS_AT_ONCE)])

    def features(self, X: SequenceStore, embedding_ND: NDArray[np.float32] | None) -> FeatureMatrix:
        """Return what the members on features read, given the embedding of the leading event detector."""
        aggregates: FeatureMatrix = self.aggregates_.transform(X)
        return aggregates if embedding_ND is None else join(aggregates, embedding_matrix(embedding_ND))

    def embedding(
        self, X: SequenceStore, known: Mapping[str, NDArray[np.float32] | None]
    ) -> NDArray[np.float32] | None:
        """Return what the leader makes of every sequence, None where it has no embedding.

        Parameters
        ----------
        known : what event members have made of these sequences already, by name
        """
        first = next(iter(self.event_members_), "")
        return known[first] if first in known else self.leader.embed(X)

    @property
    def trained_members(self) -> dict[str, Detector]:
        """Members that read sequences, by name; only these can have a curve of their training."""
        return {**self.event_members_, **self.sequence_members_}

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the columns of `fields_TF`."""
        return self.leader.field_names

    @property
    def leader(self) -> EventDetector:
        """The detector whose evidence per event and field is told, and whose embedding joins the features."""
        return self.lead_ or next(iter(self.event_members_.values()))

    def _read(self, X: SequenceStore, known: Mapping[str, Analysis]) -> BankReading:
        analyses = {}
        for name, member in self.event_members_.items():
            with _named(name, member):
                analyses[name] = known[name] if name in known else member.analyse(X)
                _check(name, analyses[name].fields_TF, X.n_events, "scores of events")
        lead = self.lead_.analyse(X) if self.lead_ is not None else next(iter(analyses.values()))
        parts = {name: self._items(analysis) for name, analysis in analyses.items()}
        parts |= _statistics(self.sequence_members_, X)
        if self.table_members_:
            parts |= _statistics(self.table_members_, self.features(X, lead.embedding_ND))
        for name, part in parts.items():
            _check(name, part.values, len(X) if self.unit == "sequence" else X.n_events, "scores")
        return BankReading(_side_by_side(parts), lead.fields_TF)

    def _fit_tables(self, tables: dict[str, Detector], X: SequenceStore, progress: Progress) -> None:
        progress("computing features")
        reference = X.take(_reference(X, np.random.default_rng(self.random_state)))
        self.aggregates_ = clone(self.aggregates or SequenceAggregates()).fit(reference)
        features = self.features(reference, self.leader.embed(reference))
        for name, member in tables.items():
            progress(f"fitting {name}")
            with _named(name, member):
                self.table_members_[name] = _without_rows(clone(member).fit(features))

    def _items(self, analysis: Analysis) -> Statistics:
        return analysis.statistics if self.unit == "sequence" else analysis.event_statistics


@contextmanager
def _named(name: str, member: object) -> Iterator[None]:
    """Tell which member failed where it is a user's own, which raises what it likes."""
    try:
        yield
    except (AnomalyError, MemoryError):
        raise
    except Exception as error:
        # A fault of a device, say, is no reason to throw away what was trained.
        if type(member).__module__.startswith("anomaly."):
            raise
        raise DataError(f"detector {name} failed: {type(error).__name__}: {error}; debug=true shows where") from error


def _statistics(members: Mapping[str, Detector], X: Any) -> dict[str, Statistics]:
    parts = {}
    for name, member in members.items():
        with _named(name, member):
            parts[name] = member.statistics(X)
    return parts


def _check(name: str, values: NDArray[Any], n: int, what: str) -> None:
    """Refuse what has no rank: calibration would take NaN for usual."""
    if values.ndim != 2 or len(values) != n:
        raise DataError(f"detector {name}: {what} of shape {values.shape} for {n} items")
    wrong = int((~np.isfinite(values)).any(axis=1).sum())
    if wrong:
        raise DataError(f"detector {name}: {wrong} of {n} {what} are NaN or infinite; mend it or leave it out")


def _fit_member(
    member: Detector,
    X: SequenceStore,
    held_out: SequenceStore,
    workspace: Path | None,
    progress: Progress,
) -> Detector:
    options: dict[str, Any] = {}
    if getattr(member, "trains_with_held_out", False):
        options = {"held_out": held_out, "workspace": workspace, "progress": progress}
    return _without_rows(member.fit(X, **options))


def _without_rows(member: Detector) -> Detector:
    """Let go of the fitted rows, whose scores nobody asks a member for."""
    member.__dict__.pop("_unscored", None)
    return member


def _reference(X: SequenceStore, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the sequences that members on features learn from; more would cost passes and win nothing."""
    order = rng.permutation(len(X))[:REFERENCE_SEQUENCES]
    within = np.cumsum(X.lengths[order]) <= REFERENCE_EVENTS
    return np.sort(order[: max(int(within.sum()), min(len(X), 100))])


def _side_by_side(parts: dict[str, Statistics]) -> Statistics:
    names = [f"{member}.{name}".rstrip(".") for member, part in parts.items() for name in part.names]
    values = np.concatenate([part.values for part in parts.values()], axis=1)
    tails = [tail for part in parts.values() for tail in part.tails]
    return Statistics(values, tuple(names), tuple(tails))
