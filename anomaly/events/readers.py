"""Events from a file, a folder, a glob or a frame, read lazily and in file order."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from anomaly.errors import DataError, SchemaError
from anomaly.events.files import (
    Part,
    as_written,
    find_files,
    flat,
    joined,
    narrowed,
    pieces,
    unreadable,
    written_alike,
)
from anomaly.events.numbers import Writing, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_WIDTH_OF_TEXT = 24
_SLICES, _SLICE_ROWS = 10, 5_000


class EventSource:
    """Rows of events that can be read as often as needed.

    Attributes
    ----------
    columns : type of each column; for CSV as its first 50,000 rows suggest, while the rows themselves come as text
    n_rows : number of rows
    n_bytes : size of the files, or of the frame in memory
    name : what errors call it
    """

    def __init__(
        self,
        frame: pl.LazyFrame,
        *,
        columns: dict[str, pl.DataType],
        n_bytes: int,
        name: str,
        parts: Sequence[Part] = (),
        held: pl.DataFrame | None = None,
        writings: Mapping[str, Writing] | None = None,
    ) -> None:
        self.columns = columns
        self.n_bytes = n_bytes
        self.name = name
        self._raw = frame
        self._writings = dict(writings or {})
        self._parts = tuple(parts)
        self._held = held
        self._n_rows: int | None = None if held is None else held.height

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a file, a folder or a glob of CSV, NDJSON, Parquet or Arrow IPC; nothing is read yet.

        Raises
        ------
        DataError
            If there is no such file, it holds no rows, or its type is not known.
        SchemaError
            If the files of a folder differ in their columns.
        """
        parts = find_files(path)
        try:
            frame, columns = joined(parts)
            n_bytes = sum(part.path.stat().st_size for part in parts)
            writings = written_alike(parts)
            columns |= dict.fromkeys(writings, pl.Float64())
            source = cls(frame, columns=columns, n_bytes=n_bytes, name=str(path), parts=parts, writings=writings)
            empty = source.head(1).height == 0
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(str(path), error) from error
        if empty:
            raise DataError(f"{path}: no rows")
        return source

    @classmethod
    def from_frame(cls, frame: Any, name: str = "frame") -> Self:
        """Read a Polars frame, eager or lazy, or a pandas frame.

        Raises
        ------
        DataError
            If it is no frame or holds no rows.
        SchemaError
            If a field of a record has the name of a column.
        """
        try:
            table = flat(_polars(frame).lazy()).collect()
        except pl.exceptions.DuplicateError as error:
            raise SchemaError(f"{name}: {error}") from error
        if table.height == 0:
            raise DataError(f"{name}: no rows")
        n_bytes = int(table.estimated_size())
        return cls(table.lazy(), columns=dict(table.schema), n_bytes=n_bytes, name=name, held=table)

    @property
    def _frame(self) -> pl.LazyFrame:
        """The rows, unread; numbers as a machine writes them, save where a column is to be text."""
        told = {name: how for name, how in self._writings.items() if self.columns.get(name) != pl.String}
        return self._raw.with_columns(plain(pl.col(name), how) for name, how in told.items())

    def numbered(self, name: str) -> EventSource:
        """Return the source with one more column: each row's number, from 0."""
        number = pl.col(name).cast(pl.Int64)
        return EventSource(
            self._raw.with_row_index(name).with_columns(number),
            columns={name: pl.Int64(), **self.columns},
            n_bytes=self.n_bytes,
            name=self.name,
            parts=self._parts,
            held=None if self._held is None else self._held.with_row_index(name).with_columns(number),
            writings=self._writings,
        )

    @property
    def n_rows(self) -> int:
        """Number of rows; read from the footer where the format has one, counted once where not."""
        if self._n_rows is None:
            self._n_rows = self._collect(self._frame.select(pl.len())).item()
        return self._n_rows

    @property
    def memory(self) -> int:
        """Estimated bytes of all rows in memory."""
        if self._held is not None:
            return self.n_bytes
        return self.n_rows * sum(_width(dtype) for dtype in self.columns.values())

    def head(self, rows: int) -> pl.DataFrame:
        """Return the first rows."""
        return self._collect(self._frame.head(rows))

    def textual(self, names: Iterable[str]) -> set[str]:
        """Return the columns of CSV that only begin with numbers, or whose numbers have leading zeros.

        As ids such columns are text: an id is kept as it is written.
        """
        # A column that is no text as it is scanned is not in the file: the number of the row.
        written = self._raw.collect_schema()
        guessed = [name for name in names if self.columns[name] != pl.String and written[name] == pl.String]
        if self._held is not None or not guessed or all(part.kind != "csv" for part in self._parts):
            return set()
        checks = self._raw.select(as_written(pl.col(name), self.columns[name]) for name in guessed)
        try:
            kept = checks.collect(engine="streaming").row(0)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.name, error) from error
        return {name for name, good in zip(guessed, kept, strict=True) if not good}

    def with_text(self, names: Iterable[str]) -> EventSource:
        """Return the source with these columns of CSV read as text."""
        csv = any(part.kind == "csv" for part in self._parts)
        return self.with_types(dict.fromkeys(names, pl.String()) if csv else {})

    def with_types(self, types: Mapping[str, pl.DataType]) -> EventSource:
        """Return the source with these columns to be read as other types."""
        source = copy.copy(self)
        source.columns = {**self.columns, **types}
        return source

    def with_absent(self, names: Iterable[str]) -> EventSource:
        """Return the source of NDJSON, whose records leave out what they lack, with columns that none of them has."""
        absent = [name for name in names if name not in self.columns]
        if not absent or {part.kind for part in self._parts} != {"ndjson"}:
            return self
        source = self.with_types(dict.fromkeys(absent, pl.String()))
        source._raw = self._raw.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        return source

    def load(self, columns: Sequence[str], limit: int) -> EventSource:
        """Return the source with these columns held in memory, or itself where that takes more than `limit` bytes."""
        if self._held is not None or self.memory > limit:
            return self
        held = self._collect(self._frame.select(columns))
        return EventSource(
            self._raw,
            columns={name: self.columns[name] for name in columns},
            n_bytes=self.n_bytes,
            name=self.name,
            parts=self._parts,
            held=held,
            writings=self._writings,
        )

    def batches(self, columns: Sequence[str] | None = None, rows: int = 500_000) -> Iterator[pl.DataFrame]:
        """Yield frames of up to `rows` rows, in file order; CSV columns are text."""
        names = list(self.columns) if columns is None else list(columns)
        if self._held is not None:
            table = self._held.select(names)
            yield from (table.slice(start, rows) for start in range(0, table.height, rows))
            return
        try:
            stream = self._frame.select(names).collect_batches(chunk_size=rows, maintain_order=True)
            yield from (batch for batch in stream if batch.height)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.name, error) from error

    def table(self, text: Iterable[str] = ()) -> pl.DataFrame:
        """Return all rows at once; of CSV whatever all rows of a column are: whole numbers, numbers, flags, or text.

        Parameters
        ----------
        text : columns of CSV that are text whatever they look like
        """
        table = self._collect(self.with_text(text)._frame)
        if all(part.kind != "csv" for part in self._parts):
            return table
        return table.with_columns(narrowed(table[name]) for name in table.columns if name not in set(text))

    def sample(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return up to 50,000 rows from ten places spread over the file."""
        frame = self._frame.select(list(self.columns) if columns is None else list(columns))
        if any(part.kind in ("csv", "ndjson") for part in self._parts) and self._held is None:
            # Text cannot be read from the middle.
            return self._typed(self._collect(frame.head(_SLICES * _SLICE_ROWS)))
        if self.n_rows <= _SLICES * _SLICE_ROWS:
            return self._typed(self._collect(frame))
        step = self.n_rows // _SLICES
        return pl.concat([self._collect(frame.slice(k * step, _SLICE_ROWS)) for k in range(_SLICES)])

    def _typed(self, table: pl.DataFrame) -> pl.DataFrame:
        casts = [pl.col(c).cast(self.columns[c], strict=False) for c in table.columns if table[c].dtype == pl.String]
        return table.with_columns(casts)

    def fingerprint(self) -> str:
        """Return a digest: of a file, of 64 pieces where it is large, or of a frame's sample."""
        digest = hashlib.sha256()
        for part in self._parts:
            for piece in pieces(part.path):
                digest.update(piece)
        if not self._parts:
            digest.update(f"{self.n_rows} {self.columns}".encode())
            flat = [c for c, dtype in self.columns.items() if not dtype.is_nested() and dtype != pl.Object]
            # CSV has no form for these two.
            told = self.sample(flat).with_columns(
                pl.col(pl.Duration).to_physical(), pl.col(pl.Binary).bin.encode("hex")
            )
            digest.update(told.write_csv().encode())
        return digest.hexdigest()[:16]

    def locate(self, row: int) -> str:
        """Return the file, the row in it (from 0) and for CSV the line of a row of the source."""
        for part in self._parts:
            height = self._collect(part.scan().select(pl.len())).item()
            if row < height or part is self._parts[-1]:
                line = f" (line {row + 2})" if part.kind == "csv" else ""
                return f"{part.path}, row {row}{line}"
            row -= height
        return f"{self.name}, row {row}"

    def describe(self) -> dict[str, Any]:
        """Return what was read: name, rows, bytes, files and columns."""
        return {
            "name": self.name,
            "rows": self.n_rows,
            "bytes": self.n_bytes,
            "files": max(len(self._parts), 1),
            "columns": {name: str(dtype) for name, dtype in self.columns.items()},
        }

    def _collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        try:
            return frame.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.name, error) from error


def _width(dtype: pl.DataType) -> int:
    """Return the bytes of one value; text takes a view and some of it lies elsewhere."""
    if dtype.is_nested() or dtype in (pl.String, pl.Binary):
        return _WIDTH_OF_TEXT
    return max(int(pl.Series([None] * 64, dtype=dtype).estimated_size()) // 64, 1)


def _polars(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if not (hasattr(frame, "columns") and hasattr(frame, "dtypes")):
        raise DataError(f"expected a path, a Polars or a pandas frame, got {type(frame).__name__}")
    return pl.DataFrame([_from_pandas(str(name), frame[name]) for name in frame.columns])


def _from_pandas(name: str, column: Any) -> pl.Series:
    """Return a pandas column without the Arrow bridge, which is an extra dependency."""
    values = column.to_numpy()
    if values.dtype.kind in "mM" and np.datetime_data(values.dtype)[0] not in ("ns", "us", "ms"):
        values = values.astype(f"{values.dtype.kind}8[us]")
    if values.dtype.kind in "biufmM":
        return pl.Series(name, values, nan_to_null=values.dtype.kind == "f")
    missing = column.isna().to_numpy()
    return pl.Series(name, [None if gone else v for v, gone in zip(values, missing, strict=True)], strict=False)
