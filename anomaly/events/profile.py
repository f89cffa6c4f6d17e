"""What one pass over the rows tells about each input: counts of values, a sample of numbers, the hours in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.events.times import DATES_FROM, NO_TIME, clock
from anomaly.events.vocabulary import canonical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.schema import EventSchema

_SAMPLE = 1 << 19
_TABLE_ROWS = 1 << 21
_DISTINCT = 1 << 22


class ValueCounts:
    """Uses of each distinct value, in bounded memory: past four million values the least used are forgotten."""

    def __init__(self) -> None:
        self._tables: list[pl.DataFrame] = []
        self._rows = 0
        self._limit = _TABLE_ROWS
        self._n_missing = 0
        self._open()

    def _open(self) -> None:
        self._categories = pl.Categories.random()
        # Polars forgets the categories once no column uses them.
        self._anchor = pl.Series([], dtype=pl.Categorical(self._categories))
        self._uses = np.zeros(0, np.int64)

    def add(self, column: pl.Series) -> None:
        """Count the values of a batch."""
        column = canonical(column)
        self._n_missing += column.null_count()
        column = column.drop_nulls()
        if column.dtype != pl.String:
            self._keep(column.value_counts(name="count").rename({column.name: "value"}))
            return
        # Counting the places of a growing dictionary is several times faster than grouping text.
        places = column.cast(pl.Categorical(self._categories)).to_physical().to_numpy()
        uses = np.bincount(places, minlength=len(self._uses))
        uses[: len(self._uses)] += self._uses
        self._uses = uses
        if len(uses) > _DISTINCT:
            self._close()

    def _close(self) -> None:
        """Turn the dictionary into a table, and start a new one."""
        seen = np.flatnonzero(self._uses)
        places = pl.Series("value", seen.astype(np.uint32)).cat.to(pl.Categorical(self._categories))
        table = pl.DataFrame([places.cast(pl.String), pl.Series("count", self._uses[seen])])
        self._open()
        self._keep(table)

    def _keep(self, table: pl.DataFrame) -> None:
        self._tables.append(table.with_columns(pl.col("count").cast(pl.Int64)))
        self._rows += table.height
        if self._rows > self._limit:
            merged = self._merged()
            if merged.height > _DISTINCT:
                merged = merged.sort(["count", "value"], descending=[True, False]).head(_DISTINCT // 2)
            self._tables, self._rows = [merged], merged.height
            # Merging again at the same size at every batch would be quadratic.
            self._limit = max(_TABLE_ROWS, 2 * merged.height)

    def _merged(self) -> pl.DataFrame:
        tables = self._tables
        if len({t.schema["value"] for t in tables}) > 1:
            tables = [t.with_columns(pl.col("value").cast(pl.String)) for t in tables]
        return pl.concat(tables).group_by("value").agg(pl.col("count").sum())

    def table(self) -> pl.DataFrame:
        """Return distinct values and their counts, null among them where values are missing."""
        if len(self._uses):
            self._close()
        found = self._merged() if self._tables else pl.DataFrame(schema={"value": pl.String, "count": pl.Int64})
        missing = pl.DataFrame({"value": [None], "count": [self._n_missing]}, schema=found.schema)
        return pl.concat([found, missing.head(int(self._n_missing > 0))])


@dataclass
class NumberSample:
    """Every k-th number, k doubling as rows come, and the range of all; it does not depend on the batches."""

    n_seen: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    _stride: int = 1
    _parts: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, numbers: NDArray[np.float32]) -> None:
        """Sample the numbers of a batch, NaN where missing."""
        if not len(numbers):
            return
        with np.errstate(invalid="ignore"):
            low, high = np.fmin.reduce(numbers), np.fmax.reduce(numbers)
        if not np.isnan(low):
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self._parts.append(numbers[(-self.n_seen) % self._stride :: self._stride].copy())
        self.n_seen += len(numbers)
        while sum(map(len, self._parts)) > 2 * _SAMPLE:
            self._stride *= 2
            self._parts = [np.concatenate(self._parts)[::2]]

    def values(self) -> NDArray[np.float32]:
        """Return the sample."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)


@dataclass
class ColumnProfile:
    """Statistics of the inputs, added up batch by batch.

    Attributes
    ----------
    counts : by categorical column
    samples : by numeric column, relational counts included
    hours, weekdays : (24,) and (7,) uses, of dates only
    dtypes : type of each input as it was read
    """

    schema: EventSchema
    counts: dict[str, ValueCounts] = field(default_factory=dict)
    samples: dict[str, NumberSample] = field(default_factory=dict)
    hours: NDArray[np.int64] = field(default_factory=lambda: np.zeros(24, np.int64))
    weekdays: NDArray[np.int64] = field(default_factory=lambda: np.zeros(7, np.int64))
    dtypes: dict[str, str] = field(default_factory=dict)
    n_rows: int = 0
    n_undated: int = 0

    def add(self, frame: pl.DataFrame, time: NDArray[np.int64]) -> None:
        """Add a batch that was checked."""
        self.n_rows += frame.height
        for name in self.schema.names("categorical"):
            self.counts.setdefault(name, ValueCounts()).add(frame[name])
        for name in self.schema.names("numeric"):
            self.add_numbers(name, numbers(frame[name]))
        for name in self.schema.inputs:
            self.dtypes.setdefault(name, type_name(frame[name].dtype))
        if self.schema.time is not None:
            self._add_clock(time)

    def add_numbers(self, name: str, column: NDArray[np.float32]) -> None:
        """Add numbers that are no column of the file, such as relational counts."""
        self.samples.setdefault(name, NumberSample()).add(column)

    def _add_clock(self, time: NDArray[np.int64]) -> None:
        dated = time[time >= DATES_FROM]
        self.n_undated += int(((time < DATES_FROM) & (time != NO_TIME)).sum())
        # A strided share of the rows tells which hours are in use.
        hour, weekday = clock(dated[:: max(len(dated) // 100_000, 1)], self.schema.timezone)
        self.hours += np.bincount(hour, minlength=24)
        self.weekdays += np.bincount(weekday, minlength=7)


def numbers(column: pl.Series) -> NDArray[np.float32]:
    """Return a column as (T,) float32, NaN where it holds no number."""
    cast = column if column.dtype == pl.Float32 else column.cast(pl.Float32, strict=False)
    filled: NDArray[np.float32] = cast.fill_null(float("nan")).to_numpy()
    return filled


def type_name(dtype: pl.DataType) -> str:
    """Return "integer", "number", "text", "time" or the type's own name: widths do not matter."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "time"
    text = dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))
    return "text" if text else str(dtype)
