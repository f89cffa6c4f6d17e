"""The rows of a table as features, and a table read to them in one step.

Shapes: n rows, F coded columns, G numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.base import Estimator, FeatureMatrix
from anomaly.errors import DataError, NotFittedError
from anomaly.events.encoder import EventEncoder
from anomaly.events.tabular import TableRoles, open_table, table_labels, table_schema
from anomaly.sequences.build import build_store
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore


class TableFeatures(Estimator):
    """Numbers as they are; of every categorical column how rare its value is, and a flag for each of a few values.

    Parameters
    ----------
    max_flags : a categorical column of at most so many values gets a column of 0 and 1 for each

    Attributes
    ----------
    chosen_, code_names_ : per field, the codes that have a flag and the flags' names, as of `SequenceAggregates`
    rarity_ : per field, by code; empty for numbers
    """

    def __init__(self, *, max_flags: int = 8) -> None:
        self.max_flags = max_flags

    def fit(self, X: SequenceStore) -> Self:
        """Count the values of the categorical columns."""
        if not len(X):
            raise DataError("no row to learn from; give at least one")
        _check_rows(X)
        self.fields_ = list(X.field_names)
        self.rarity_, self.chosen_, self.code_names_ = [], [], []
        self.names_ = list(X.value_names)
        for k, field in enumerate(X.fields):
            counts = np.bincount(X.codes[:, k].astype(np.int64), minlength=field.size)
            seen = np.flatnonzero(counts) if field.kind == "categorical" else np.zeros(0, np.int64)
            self.chosen_.append(seen if 2 < len(seen) <= self.max_flags else seen[:0])
            self.code_names_.append([f"{field.name}=code {c - FIRST_VALUE}" for c in self.chosen_[-1]])
            # What was never seen counts as half a row.
            rarity = np.log(counts.sum() + 1.0) - np.log(np.maximum(counts, 0.5))
            self.rarity_.append(rarity if field.kind == "categorical" else rarity[:0])
            self.names_ += [f"{field.name}.rarity", *self.code_names_[-1]] if field.kind == "categorical" else []
        # No step leads from row to row.
        self.transitions_ = None
        self.transition_names_: list[str] = []
        return self

    def transform(self, X: SequenceStore) -> FeatureMatrix:
        """Return (n, k) features, NaN where a number is missing."""
        if not hasattr(self, "names_"):
            raise NotFittedError("TableFeatures is not fitted; call fit first")
        _check_rows(X)
        if list(X.field_names) != self.fields_:
            raise DataError(f"columns are {', '.join(X.field_names)}, but {', '.join(self.fields_)} were fitted")
        columns: list[NDArray[Any]] = [np.asarray(X.values, np.float32)]
        for k in (k for k, rarity in enumerate(self.rarity_) if len(rarity)):
            codes = np.minimum(X.codes[:, k].astype(np.int64), len(self.rarity_[k]) - 1)
            columns += [self.rarity_[k][codes][:, None], codes[:, None] == self.chosen_[k]]
        values = np.concatenate(columns, axis=1).astype(np.float32)
        return FeatureMatrix(values, tuple(self.names_), X.keys())


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes
    ----------
    X : (n, k) features; its keys tell equal rows
    ids : n ids, the rows' numbers unless stated
    y : (n,) 1 anomalous, 0 normal, -1 unknown, or None where no column says it
    encoder, features : what reads further rows the same way
    """

    X: FeatureMatrix
    ids: pl.Series
    y: NDArray[np.int64] | None
    encoder: EventEncoder
    features: TableFeatures


def read_table(table: Any, roles: TableRoles | Mapping[str, Any] | None = None) -> Table:
    """Read a path or a frame to features, ids and labels.

    Parameters
    ----------
    roles : `id`, `numeric`, `categorical`, `label` and `anomaly`, see `anomaly.events.tabular.TableRoles`
    """
    roles = roles if isinstance(roles, TableRoles) else TableRoles.of(roles)
    source = open_table(table)
    prepared = build_store(source, table_schema(source, roles), encoder=EventEncoder(table=True))
    features = TableFeatures().fit(prepared.store)
    labels = table_labels(source, roles)
    y = None if labels is None else labels["label"].to_numpy().astype(np.int64)
    return Table(features.transform(prepared.store), prepared.store.sequence_ids, y, prepared.encoder, features)


def _check_rows(X: SequenceStore) -> None:
    if (X.lengths != 1).any():
        raise DataError("a table's rows stand alone, but these sequences hold several events; use SequenceAggregates")
