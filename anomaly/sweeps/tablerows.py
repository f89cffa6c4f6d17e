"""A table's file to inputs and labels: columns are read and encoded as `anomaly train` does, labels by known words.

Shapes: n rows, k features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.base import FeatureMatrix
from anomaly.errors import DataError, SchemaError
from anomaly.events.readers import EventSource
from anomaly.events.tabular import TableRoles, open_table, read_npz, table_schema

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WORDS = {
    1: ("1", "1.0", "true", "anomaly", "anomalous", "outlier"),
    0: ("0", "0.0", "-0.0", "false", "nominal", "normal", "inlier"),
    -1: ("-1", "-1.0", "nan", "unknown", ""),
}
"""What a label column says of an anomalous row, of a normal one, and of one of which nothing is known."""


def read_inputs(path: Path) -> tuple[pl.DataFrame, TableRoles]:
    """Return the columns of a table that are inputs, and what they are; those of an npz file are float32.

    What is an input the whole table tells: in a draw of its rows their numbers no longer count up.
    """
    if path.suffix != ".npz":
        frame = _frame(path).drop("label")
        try:
            schema = table_schema(_source(path, frame), TableRoles())
        except SchemaError as error:
            raise DataError(f"{path}: no column is an input; numbers, flags and texts that rows share are") from error
        numeric, categorical = tuple(schema.numeric or ()), tuple(schema.categorical or ())
        return frame.select(numeric + categorical), TableRoles(numeric=numeric, categorical=categorical)
    values = _member(path, "X")
    if values.ndim != 2:
        raise DataError(f"{path}: X has shape {values.shape}, expected (rows, columns)")
    names = tuple(f"x{k}" for k in range(values.shape[1]))
    return pl.DataFrame(values.astype(np.float32), schema=list(names)), TableRoles(numeric=names)


def read_labels(path: Path) -> NDArray[np.int64]:
    """Return (n,) 1 anomalous, 0 normal, -1 unknown.

    Raises
    ------
    DataError
        If a value says none of that.
    """
    told = pl.Series("y", _member(path, "y").reshape(-1)) if path.suffix == ".npz" else _frame(path)["label"]
    text = told.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    meant = {word: label for label, words in WORDS.items() for word in words}
    labels = text.replace_strict(meant, default=None, return_dtype=pl.Int64)
    if labels.null_count():
        row = int(labels.is_null().arg_max() or 0)
        known = "; ".join(", ".join(filter(None, words)) for words in WORDS.values())
        raise DataError(
            f"{path}: column {told.name}, row {row + 1} holds {told[row]!r}, expected one of {known} or nothing"
        )
    found: NDArray[np.int64] = labels.to_numpy()
    return found


def encode(
    path: Path, roles: TableRoles, fit: pl.DataFrame, score: pl.DataFrame | None
) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Return the rows to learn from and to score as numbers, the same twice where there are none to score.

    What text and flags become is learnt from the former rows alone.
    """
    if path.suffix == ".npz":
        rows = FeatureMatrix(fit.to_numpy(), tuple(fit.columns))
        return rows, rows if score is None else FeatureMatrix(score.to_numpy(), tuple(score.columns))
    from anomaly.events.encoder import EventEncoder
    from anomaly.features.table import TableFeatures
    from anomaly.sequences.build import build_store

    source = _source(path, fit)
    fitted = build_store(source, table_schema(source, roles), encoder=EventEncoder(table=True))
    features = TableFeatures().fit(fitted.store)
    stores = [fitted.store]
    if score is not None:
        stores.append(build_store(_source(path, score), fitted.schema, encoder=fitted.encoder).store)
    # Without the keys of the store, which numbers of npz files have not either.
    found = [FeatureMatrix(each.values, each.names) for each in map(features.transform, stores)]
    return found[0], found[-1]


def _source(path: Path, rows: pl.DataFrame) -> EventSource:
    return open_table(EventSource.from_frame(rows, str(path)))


def _frame(path: Path) -> pl.DataFrame:
    # The first rows of CSV alone may not tell a column of floats from one of whole numbers.
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    if "label" not in frame.columns:
        raise DataError(f"{path}: no column label, which holds 1, 0 or -1; there are {', '.join(frame.columns[:8])}")
    return frame


def _member(path: Path, name: str) -> NDArray[Any]:
    values = read_npz(path, name)
    if values is None:
        raise DataError(f"{path}: no array {name}")
    return values
