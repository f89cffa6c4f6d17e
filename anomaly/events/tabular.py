"""Tables, in which a row stands alone: a file or a frame to a source, and the roles of its columns.

A row is a sequence of length one. Its id is its number, or the value of a stated column.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from anomaly.errors import DataError, SchemaError
from anomaly.events.infer import closest, looks_like_label
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ROW = "#row"
"""Column that numbers the rows, where no column names them."""

_UNIQUE = 0.5
_FEW, _DENSE = 50, 0.9
"""Rows from which numbers can name them, and the share of these numbers that follow the one before by one."""
_NORMAL, _ANOMALOUS, _UNKNOWN = 0, 1, -1


@dataclass(frozen=True)
class TableRoles:
    """What the columns of a table are.

    Attributes
    ----------
    id : column that names a row; None for the row's number
    numeric, categorical : the inputs; once one is stated, only stated columns are
    label : column of the truth, never an input; None takes `y` of an npz file
    anomaly : value of `label` that means anomalous; None where it is 1 (or true) and normal is 0
    """

    id: str | None = None
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    label: str | None = None
    anomaly: Any = None

    @classmethod
    def of(cls, stated: Mapping[str, Any] | None = None) -> Self:
        """Return the roles of a mapping.

        Raises
        ------
        SchemaError
            If a key is no role.
        """
        known = [f.name for f in fields(cls)]
        roles = {name: value for name, value in (stated or {}).items() if name != "path"}
        for name in roles:
            if name not in known:
                raise SchemaError(f"table.{name} is no role of a column; there are {', '.join(known)}")
        for name in ("numeric", "categorical"):
            value = roles.get(name)
            roles[name] = None if value is None else (value,) if isinstance(value, str) else tuple(map(str, value))
        return cls(**roles)


def open_table(table: Any) -> EventSource:
    """Return the rows of a path (CSV, Parquet, Arrow, NDJSON, or npz with `X` and perhaps `y`) or a frame, numbered.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    """
    if isinstance(table, EventSource):
        source = table
    elif isinstance(table, (str, Path)):
        source = _open_npz(Path(table)) if Path(table).suffix == ".npz" else EventSource.open(table)
    else:
        source = EventSource.from_frame(table, "table")
    return source if ROW in source.columns else source.numbered(ROW)


def read_npz(path: Path, name: str) -> NDArray[Any] | None:
    """Return an array of an npz file, None where it holds none of that name; others are not read.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    """
    try:
        # numpy leaves a file that it opened itself open where it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found: NDArray[Any] | None = arrays.get(name)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise DataError(f"{path}: {reason}") from error
    return found


def _open_npz(path: Path) -> EventSource:
    values, y = read_npz(path, "X"), read_npz(path, "y")
    if values is None or values.ndim != 2 or values.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected an array X of numbers, rows x columns")
    frame = pl.DataFrame({f"x{k}": np.ascontiguousarray(column) for k, column in enumerate(values.T)})
    if y is not None:
        if y.size != len(values):
            raise DataError(f"{path}: {y.size} labels y for {len(values)} rows of X")
        frame = frame.with_columns(y=pl.Series(y.reshape(-1)))
    return EventSource.from_frame(frame, str(path))


def table_schema(source: EventSource, roles: TableRoles) -> EventSchema:
    """Return the schema of a table: numbers are numeric, text and flags are categorical, unless stated.

    Columns whose name says that they hold the truth, times, numbers of the rows and texts that nearly every row has of
    its own are no inputs unless they are stated.

    Raises
    ------
    SchemaError
        If a stated column is not there, or ids are missing or not unique.
    """
    _check_there(source, roles.id, roles.label, *(roles.numeric or ()), *(roles.categorical or ()))
    _check_ids(source, roles.id)
    if roles.numeric is None and roles.categorical is None:
        numeric, categorical = _inferred(source, roles)
    else:
        numeric, categorical = roles.numeric or (), roles.categorical or ()
    if roles.label in (*numeric, *categorical):
        raise SchemaError(f"column {roles.label} is table.label, which is never an input; state other inputs")
    return EventSchema(
        entity=None,
        sequence=roles.id or ROW,
        time=None,
        time_unit="s",
        order=None,
        id=None,
        categorical=categorical,
        numeric=numeric,
        ends="closed",
    )


def label_column(source: EventSource, roles: TableRoles) -> str | None:
    """Return the column of the truth; `y` of an npz file needs not be named."""
    return roles.label or ("y" if source.name.endswith(".npz") and "y" in source.columns else None)


def table_labels(source: EventSource, roles: TableRoles) -> pl.DataFrame | None:
    """Return each row's `sequence` id and `label` (1 anomalous, 0 normal, -1 unknown), or None without a label column.

    Raises
    ------
    SchemaError
        If a stated column is not there.
    DataError
        If the values are not 0, 1 and -1, and `anomaly` does not say which of them means anomalous.
    """
    name = label_column(source, roles)
    if name is None:
        return None
    _check_there(source, roles.id, name)
    frame = pl.concat(list(source.batches([roles.id or ROW, name])))
    return pl.DataFrame({"sequence": frame[roles.id or ROW], "label": _truth(frame[name], roles.anomaly)})


def _truth(column: pl.Series, anomaly: Any) -> pl.Series:
    if anomaly is not None:
        known = column.is_not_null()
        hit = column.cast(pl.String) == _text(anomaly, column)
        if not hit.any():
            values = ", ".join(map(str, column.unique().sort().head(10)))
            raise DataError(f"table.anomaly={anomaly} does not occur in column {column.name}; it holds {values}")
        return hit.cast(pl.Int64).set(~known, _UNKNOWN).alias("label")
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() > column.null_count() or not numbers.drop_nulls().is_in([-1.0, 0.0, 1.0]).all():
        values = ", ".join(map(str, column.drop_nulls().unique().sort().head(10)))
        raise DataError(f"column {column.name} holds {values}; table.anomaly=VALUE says which of them means anomalous")
    return numbers.cast(pl.Int64).fill_null(_UNKNOWN).alias("label")


def _text(value: Any, column: pl.Series) -> str:
    """Return a value as the column's own type writes it."""
    return str(pl.Series([value]).cast(column.dtype, strict=False).cast(pl.String)[0])


def _inferred(source: EventSource, roles: TableRoles) -> tuple[tuple[str, ...], tuple[str, ...]]:
    skipped = (ROW, roles.id, label_column(source, roles))
    sample = source.sample([c for c in source.columns if c not in skipped])
    kinds = {name: None if looks_like_label(name) else _kind(sample[name]) for name in sample.columns}
    numeric, categorical = ([c for c, kind in kinds.items() if kind == want] for want in ("numeric", "categorical"))
    if not numeric and not categorical:
        raise SchemaError(f"{source.name}: no column is left as an input; state table.numeric or table.categorical")
    return tuple(numeric), tuple(categorical)


def _kind(column: pl.Series) -> str | None:
    if column.dtype.is_numeric():
        return None if _numbers_rows(column) else "numeric"
    if column.dtype == pl.Boolean:
        return "categorical"
    if not (column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum))):
        return None
    filled = len(column) - column.null_count()
    return None if filled > _FEW and column.n_unique() > _UNIQUE * filled else "categorical"


def _numbers_rows(column: pl.Series) -> bool:
    """Return whether whole numbers, each of its own, leave hardly one out, as those that name rows do."""
    if not column.dtype.is_integer() or len(column) <= _FEW or column.n_unique() < len(column):
        return False
    steps = column.cast(pl.Int128).sort().diff().drop_nulls()
    return int((steps == 1).sum()) > _DENSE * len(steps)


def _check_there(source: EventSource, *names: str | None) -> None:
    own = [column for column in source.columns if column != ROW]
    for name in names:
        if name is not None and name not in own:
            raise SchemaError(f"{source.name}: no column {name}; {closest(name, own)}")


def _check_ids(source: EventSource, name: str | None) -> None:
    if name is None:
        return
    ids = pl.concat([batch[name] for batch in source.batches([name])])
    if ids.null_count() or ids.n_unique() < len(ids):
        what = "is missing in" if ids.null_count() else "is not unique in"
        count = ids.null_count() or len(ids) - ids.n_unique()
        raise SchemaError(f"{source.name}: column {name} (table.id) {what} {count} rows; choose another, or none")
