"""Rows of a table as a pool: what they look like, and a score without labels to begin with.

Shapes: n rows, k columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.active.items import Items
from anomaly.base import FeatureMatrix
from anomaly.errors import DataError, SchemaError
from anomaly.events.tabular import ROW, TableRoles, label_column, open_table, table_labels, table_schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.base import Detector
    from anomaly.events.readers import EventSource


@dataclass(frozen=True)
class LabelledTable:
    """A table and its truth.

    Attributes
    ----------
    ids : n ids
    features : numbers as they are, values by how often they occur
    truth : (n,) 1 anomalous, 0 normal
    """

    ids: pl.Series
    features: FeatureMatrix
    truth: NDArray[np.int64]

    @classmethod
    def read(cls, table: Any, roles: TableRoles) -> LabelledTable:
        """Read the rows whose label is known.

        Raises
        ------
        SchemaError, DataError
            If the table cannot be read, or no column says which rows are anomalous.
        """
        source = open_table(table)
        schema = table_schema(source, roles)
        labels = table_labels(source, roles)
        if labels is None:
            raise SchemaError(f"{source.name}: a replay needs the truth; name its column with table.label=")
        features = _features(source, schema.names("numeric"), schema.names("categorical"))
        known = np.flatnonzero(labels["label"].to_numpy() >= 0)
        truth = labels["label"].to_numpy()[known].astype(np.int64)
        if truth.min(initial=1) == truth.max(initial=0):
            raise DataError(
                f"{source.name}: {label_column(source, roles)} has one kind of row only; a replay needs both"
            )
        rows = FeatureMatrix(features.values[known], features.names)
        return cls(labels["sequence"].gather(known), rows, truth)

    def pool(self, detector: Detector, rows: NDArray[np.int64]) -> Items:
        """Return some rows as items, scored by a detector that is fitted already."""
        X = FeatureMatrix(self.features.values[rows], self.features.names)
        return Items(self.ids.gather(rows), detector.decision_function(X), {"columns": X})


def _features(source: EventSource, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> FeatureMatrix:
    frame = pl.concat(list(source.batches([*numeric, *categorical] or [ROW])))
    columns = [frame[name].cast(pl.Float32, strict=False).to_numpy() for name in numeric]
    columns += [_rarity(frame[name]) for name in categorical]
    values = np.stack(columns, axis=1) if columns else np.zeros((frame.height, 0))
    return FeatureMatrix(np.where(np.isfinite(values), values, np.nan).astype(np.float32), (*numeric, *categorical))


def _rarity(column: pl.Series) -> NDArray[np.float64]:
    """Return (n,) -log of the share of rows with the same value."""
    counts = column.to_frame("value").select(pl.len().over("value"))["len"].to_numpy()
    return np.asarray(-np.log(counts / max(len(column), 1)))
