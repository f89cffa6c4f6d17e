"""What a competitor is given: rows to learn from, rows to score, and no label but those of the budget.

Shapes: n scored items, k features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from polars import selectors

from anomaly.base import FeatureMatrix
from anomaly.sweeps.eventrows import EventRows, reported_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema
    from anomaly.sequences.build import Prepared
    from anomaly.sequences.store import SequenceStore
    from anomaly.sweeps.folder import LabelledFolder, Which


class Task(ABC):
    """One data set under one seed and one label budget.

    Attributes
    ----------
    name : of the data set
    seed : of the competitor
    labels : (n_fit,) 1 anomalous, -1 unknown; None where no label is given
    """

    kind: ClassVar[Literal["sequences", "table"]]

    def __init__(self, name: str, seed: int, labels: NDArray[np.int64] | None = None) -> None:
        self.name = name
        self.seed = seed
        self.labels = labels

    @property
    @abstractmethod
    def scores_what_it_fits(self) -> bool:
        """Whether the scored items are the fitted ones."""

    @abstractmethod
    def features(self) -> tuple[FeatureMatrix, FeatureMatrix]:
        """Return the fitted and the scored items as rows of numbers."""

    @property
    @abstractmethod
    def ids(self) -> pl.Series:
        """Return the ids of the scored items, in the order in which `features` has them."""

    @abstractmethod
    def repeats(self) -> float | None:
        """Return the share of scored items that repeat a fitted one; None where the two are the same."""


class TableTask(Task):
    """Rows of numbers."""

    kind = "table"

    def __init__(
        self,
        name: str,
        fit: FeatureMatrix,
        score: FeatureMatrix,
        *,
        seed: int,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(name, seed, labels)
        self.fit = fit
        self.score = score
        self.rows = rows

    @property
    def scores_what_it_fits(self) -> bool:
        """Whether the scored rows are the fitted ones."""
        return self.fit is self.score

    def features(self) -> tuple[FeatureMatrix, FeatureMatrix]:
        """Return the rows as they are."""
        return self.fit, self.score

    @property
    def ids(self) -> pl.Series:
        """Return the scored rows' places in the file."""
        return pl.Series("id", self.rows)

    def repeats(self) -> float | None:
        """Return the share of scored rows that are equal to a fitted one."""
        return None if self.scores_what_it_fits else share_in(digest(self.score.values), digest(self.fit.values))


class SequenceTask(Task):
    """Events of a labelled folder."""

    kind = "sequences"

    def __init__(self, folder: LabelledFolder, *, seed: int) -> None:
        super().__init__(folder.name, seed)
        self.folder = folder

    @property
    def scores_what_it_fits(self) -> bool:
        """Whether the scored rows are the fitted ones."""
        return self.folder.scores_what_it_fits

    @property
    def level(self) -> str:
        """Return what an item is: sequence or event."""
        return self.folder.level

    @cached_property
    def events(self) -> pl.DataFrame:
        """Return the rows with a role; no label is among them."""
        return self.folder.read_events()

    def source(self, which: Literal["fit", "score", "history"]) -> EventSource | None:
        """Return the rows to learn from, to score, or the past of the scored; None where there are none."""
        from anomaly.events.readers import EventSource

        chosen: Which | None = getattr(self.folder, which)
        if chosen is None:
            return None
        return EventSource.from_frame(self.folder.rows(self.events, chosen), f"{self.name} ({which})")

    @property
    def schema(self) -> EventSchema:
        """Return the stated roles of the columns."""
        from anomaly.events.schema import EventSchema

        return EventSchema.of(self.folder.events)

    @cached_property
    def prepared(self) -> tuple[Prepared, SequenceStore]:
        """Return the fitted sequences with their encoder, and the scored ones, with the package's default encoder."""
        from anomaly.events.infer import infer_schema
        from anomaly.sequences.build import build_store

        source = self.source("fit")
        assert source is not None
        fitted = build_store(source, infer_schema(source, self.schema))
        if self.scores_what_it_fits:
            return fitted, fitted.store
        scored, history = self.source("score"), self.source("history")
        assert scored is not None
        return fitted, build_store(scored, fitted.schema, encoder=fitted.encoder, history=history).store

    @cached_property
    def _features(self) -> tuple[FeatureMatrix, FeatureMatrix]:
        fitted, store = self.prepared
        if self.level == "event":
            rows = EventRows().fit(fitted.store)
            return rows.transform(fitted.store), rows.transform(store)
        from anomaly.features.aggregates import SequenceAggregates

        aggregates = SequenceAggregates().fit(fitted.store)
        first = aggregates.transform(fitted.store)
        return first, first if self.scores_what_it_fits else aggregates.transform(store)

    def features(self) -> tuple[FeatureMatrix, FeatureMatrix]:
        """Return the package's aggregates of each sequence, or what is known of each event when it happens."""
        return self._features

    @property
    def ids(self) -> pl.Series:
        """Return the ids of the scored sequences or events."""
        return item_ids(self.prepared[1], self.level)

    def repeats(self) -> float | None:
        """Return the share of scored sequences whose events are those of a fitted one."""
        if self.scores_what_it_fits or self.folder.history is not None:
            return None
        fitted, store = self.prepared
        return share_in(store.keys(), fitted.store.keys())


def item_ids(store: SequenceStore, level: str) -> pl.Series:
    """Return the ids of a store's reported items."""
    if level == "sequence":
        return store.sequence_ids
    assert store.event_ids is not None
    return store.event_ids.gather(pl.Series(reported_events(store)))


def digest(values: NDArray[Any] | pl.DataFrame) -> NDArray[np.uint64]:
    """Return (n,) a number for each row; equal rows have equal numbers."""
    if not values.shape[1]:
        return np.zeros(len(values), np.uint64)
    # In single precision, in which competitors get them.
    if isinstance(values, pl.DataFrame):
        frame = values.with_columns((selectors.numeric() | selectors.boolean()).cast(pl.Float32))
    else:
        frame = pl.DataFrame(np.ascontiguousarray(values, np.float32))
    return frame.hash_rows(seed=0).to_numpy()


def share_in(keys: NDArray[np.uint64], others: NDArray[np.uint64]) -> float:
    """Return the share of keys that are among others."""
    return round(float(np.isin(keys, others).mean()), 4)
