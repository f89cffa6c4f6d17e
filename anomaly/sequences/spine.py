"""The few columns that decide where each row goes, kept for all rows while the others stream past.

Shapes: T rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.errors import SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.checks import CheckedBatch
    from anomaly.events.schema import EventSchema

_DENSE_PER_ROW = 4
_MIN_DENSE = 1 << 24


@dataclass(frozen=True)
class Key:
    """A column as ranks: code k stands for the k-th of its sorted distinct values; -1 is missing.

    Attributes
    ----------
    codes : (T,) int32
    values : distinct values, of the column's own type
    """

    codes: NDArray[np.int32]
    values: pl.Series


class KeyColumn:
    """Collect a column of any type as small integers, batch by batch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype: pl.DataType | None = None
        self.numbers = False
        self._categories = pl.Categories.random()
        # Polars forgets the categories once no column uses them.
        self._anchor = pl.Series([], dtype=pl.Categorical(self._categories))
        self._parts: list[NDArray[Any]] = []
        self._gone: list[NDArray[np.bool_]] = []

    def add(self, column: pl.Series) -> None:
        """Add the values of a batch.

        Raises
        ------
        SchemaError
            If the column held text before and numbers now, or the reverse.
        """
        numbers = _is_number(column.dtype)
        if self.dtype is None:
            self.dtype, self.numbers = column.dtype, numbers
        elif numbers != self.numbers:
            raise SchemaError(f"column {self.name} is {self.dtype} in one file and {column.dtype} in the other")
        if self.numbers:
            column = column.fill_nan(None) if column.dtype.is_float() else column
            values = _integers(column)
        else:
            text = column.cast(pl.String).cast(pl.Categorical(self._categories))
            values = text.to_physical().fill_null(0).to_numpy().view(np.int32)
        self._parts.append(values)
        if column.null_count():
            self._gone.append(column.is_null().to_numpy())
        else:
            self._gone.append(np.zeros(0, bool))

    def finish(self) -> Key:
        """Return the whole column as ranks, and forget the parts."""
        missing = [np.flatnonzero(g) + start for g, start in zip(self._gone, self._starts(), strict=True) if len(g)]
        whole = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        self._parts = []
        gone = np.concatenate(missing) if missing else np.zeros(0, np.int64)
        codes, distinct = _dense(whole)
        values = self._values(distinct)
        if not self.numbers:
            rank = np.empty(len(values), np.int32)
            rank[values.arg_sort().to_numpy()] = np.arange(len(values), dtype=np.int32)
            codes, values = rank[codes], values.sort()
        codes[gone] = -1
        assert self.dtype is not None
        return Key(codes, values.cast(self.dtype).alias(self.name))

    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum([len(part) for part in self._parts])[:-1]]).astype(np.int64)

    def _values(self, distinct: NDArray[np.int64]) -> pl.Series:
        assert self.dtype is not None
        if self.dtype.is_float() or self.dtype.is_decimal():
            return pl.Series(_flip(distinct).view(np.float64))
        if self.numbers:
            return pl.Series(distinct.view(np.uint64) if self.dtype == pl.UInt64 else distinct)
        physical = pl.Series(distinct.astype(np.uint32))
        return physical.cat.to(pl.Categorical(self._categories)).cast(pl.String)


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean


def _integers(column: pl.Series) -> NDArray[Any]:
    """Return numbers, dates and flags as integers of the same order; 0 where missing."""
    if column.dtype.is_float() or column.dtype.is_decimal():
        return _flip(column.cast(pl.Float64).fill_null(0.0).to_numpy().view(np.int64))
    physical = column.to_physical()
    if physical.dtype == pl.UInt64:
        return physical.fill_null(0).to_numpy().view(np.int64)
    narrow = physical.dtype not in (pl.Int64, pl.UInt32)
    filled: NDArray[np.int64] = physical.cast(pl.Int32 if narrow else pl.Int64).fill_null(0).to_numpy()
    return filled


def _flip(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn the bits of floats into integers of the same order, or back."""
    return bits ^ ((bits >> 63) & np.int64(2**63 - 1))


def _dense(whole: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return ranks of integers and the distinct integers; by a table where their range is small."""
    if not len(whole):
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    low, high = int(whole.min()), int(whole.max())
    if high - low > max(_MIN_DENSE, _DENSE_PER_ROW * len(whole)):
        distinct, codes = np.unique(whole, return_inverse=True)
        return codes.astype(np.int32), distinct.astype(np.int64)
    seen = np.zeros(high - low + 1, bool)
    seen[whole - low] = True
    rank = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return rank[whole - low], np.flatnonzero(seen) + low


class Spine:
    """Keys, times and ids of all rows, in the order they were read; rows of the history first.

    Attributes
    ----------
    time : (T,) int64 microseconds, `NO_TIME` where missing
    row : (T,) int64, the row in its file; rows of the history count from minus their number
    n_past : rows of the history
    """

    time: NDArray[np.int64]
    row: NDArray[np.int64]

    def __init__(self, schema: EventSchema) -> None:
        self.schema = schema
        names = [*schema.names("entity"), *schema.names("sequence"), *schema.names("order"), *schema.names("shared")]
        self._columns = {name: KeyColumn(name) for name in dict.fromkeys(names)}
        self._times: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._ids: list[pl.Series] = []
        self.n_past = 0
        self.n_rows = 0
        self.keys: dict[str, Key] = {}

    def add(self, batch: CheckedBatch, row0: int) -> None:
        """Add the kept rows of a batch whose first row is `row0` of its file."""
        for name, column in self._columns.items():
            column.add(batch.frame[name])
        self._times.append(batch.time)
        places = np.arange(batch.frame.height) if batch.kept is None else batch.kept
        self._rows.append(places + row0)
        if self.schema.id is not None:
            self._ids.append(batch.frame[self.schema.id])
        self.n_rows += batch.frame.height

    def end_history(self) -> None:
        """Say that the rows so far are the past."""
        self.n_past = self.n_rows
        total = sum(len(r) for r in self._rows)
        self._rows = [rows - total for rows in self._rows]

    def finish(self) -> None:
        """Put the parts together."""
        self.time = _join(self._times)
        self.row = _join(self._rows)
        for name in list(self._columns):
            self.keys[name] = self._columns.pop(name).finish()

    def ids(self) -> pl.Series | None:
        """Return the T row ids, or None where no column holds any."""
        return pl.concat(self._ids).rechunk() if self._ids else None

    def key(self, role: str) -> Key | None:
        """Return the key of a role of one column."""
        names = self.schema.names(role)
        return self.keys[names[0]] if names else None


def _join(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.int64)
    parts.clear()
    return joined
