"""What is wrong or odd about the rows, as a table of findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from anomaly.errors import DataError
from anomaly.events.infer import looks_like_label, looks_like_number
from anomaly.events.profile import type_name
from anomaly.events.times import NO_TIME, parse_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema

Level = Literal["error", "warning", "info"]
BadRows = Literal["fail", "drop"]

_NULL_SPIKE = 0.2
_BATCH_NULLS, _BATCH_TIMES = 0.3, 3
"""Share of a batch without a value that is a spike, where it is also so many times the share of all rows."""


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes
    ----------
    level : "error" for rows that cannot be used, "warning" for what is likely wrong, "info" for the rest
    check : name of the check
    column : the column, "" for the whole
    count : rows concerned
    row : the first of them, from 0; -1 where no single row is meant
    message : what, and what to do
    """

    level: Level
    check: str
    column: str
    count: int
    row: int
    message: str


@dataclass(frozen=True)
class CheckedBatch:
    """A batch after the checks: typed columns, parsed times and the rows that are good.

    Attributes
    ----------
    frame : the rows that are kept, columns of the types the roles ask for
    time : (t,) int64 microseconds of the kept rows, `NO_TIME` where missing
    kept : (t,) places of the kept rows in the batch, None for all
    """

    frame: pl.DataFrame
    time: NDArray[np.int64]
    kept: NDArray[np.int64] | None


@dataclass
class _Tally:
    """Rows of one kind of trouble in one column."""

    count: int = 0
    row: int = -1
    example: str = ""

    def add(self, bad: NDArray[np.bool_], row0: int, column: pl.Series) -> None:
        places = np.flatnonzero(bad)
        if not len(places):
            return
        if self.row < 0:
            self.row = row0 + int(places[0])
            self.example = str(column[int(places[0])])
        self.count += len(places)


_PROBLEMS = {
    "mixed types": "holds {example!r}, which is no {expected}",
    "unparsable time": "holds {example!r}, which is no time; write it as 2025-01-31 17:05, or as a number",
    "infinite value": "holds an infinite number",
    "missing key": "is missing, so the row belongs to nobody",
}


@dataclass
class EventChecker:
    """Check batches as they pass, and drop or refuse the rows that cannot be used.

    Parameters
    ----------
    bad_rows : "fail" raises at the first bad row, "drop" leaves bad rows out
    max_bad : rows, or below 1 share of the rows, that may be dropped before that is an error too; None for any number
    """

    schema: EventSchema
    source: EventSource
    bad_rows: BadRows = "fail"
    max_bad: float | None = None
    n_rows: int = 0
    n_bad: int = 0
    _tallies: dict[tuple[str, str], _Tally] = field(default_factory=dict)
    _nulls: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _blank: dict[str, _Tally] = field(default_factory=dict)

    def check(self, batch: pl.DataFrame) -> CheckedBatch:
        """Type the columns, parse the times, and return the good rows.

        Raises
        ------
        DataError
            At the first bad row, or once more than `max_bad` are dropped; names file, row and column.
        """
        bad = np.zeros(batch.height, bool)
        for name in self.schema.columns:
            self._nulls.setdefault(name, []).append((batch[name].null_count(), batch.height))
        for name in self._keys:
            self._note("missing key", batch[name], batch[name].is_null(), bad)
            self._count_blank(batch[name])
        batch = self._typed(batch, bad)
        time = self._times(batch, bad)
        self.n_rows += batch.height
        if not bad.any():
            return CheckedBatch(batch, time, None)
        return self._drop(batch, time, bad)

    @property
    def _keys(self) -> tuple[str, ...]:
        return (*self.schema.names("entity"), *self.schema.names("sequence"))

    def _count_blank(self, column: pl.Series) -> None:
        """Count texts of blanks, as quoted fields of CSV leave them: a name like another, but likely of many."""
        if column.dtype == pl.String:
            blank = (column.str.strip_chars() == "").fill_null(False).to_numpy()
            self._blank.setdefault(column.name, _Tally()).add(blank, self.n_rows, column)

    def _note(
        self, check: str, column: pl.Series, found: pl.Series | NDArray[np.bool_], bad: NDArray[np.bool_]
    ) -> None:
        mask = found if isinstance(found, np.ndarray) else found.to_numpy()
        if mask.any():
            self._tallies.setdefault((check, column.name), _Tally()).add(mask, self.n_rows, column)
            np.logical_or(bad, mask, out=bad)

    def _typed(self, batch: pl.DataFrame, bad: NDArray[np.bool_]) -> pl.DataFrame:
        cast = []
        for name, dtype in expected_types(self.schema, self.source.columns).items():
            column = batch[name]
            if column.dtype != dtype:
                typed = column.cast(dtype, strict=False)
                if typed.null_count() > column.null_count():
                    self._note("mixed types", column, typed.is_null() & column.is_not_null(), bad)
                cast.append(typed)
        batch = batch.with_columns(cast)
        for name in self._keys:
            if batch[name].dtype.is_float():
                self._note("missing key", batch[name], batch[name].is_nan().fill_null(False), bad)
        for name in self.schema.names("numeric"):
            column = batch[name]
            if column.dtype.is_float() and (infinite := column.is_infinite()).any():
                self._note("infinite value", column, infinite.fill_null(False), bad)
        return batch

    def _times(self, batch: pl.DataFrame, bad: NDArray[np.bool_]) -> NDArray[np.int64]:
        if self.schema.time is None:
            return np.full(batch.height, NO_TIME)
        column = batch[self.schema.time]
        time = parse_times(column, self.schema)
        lost = time == NO_TIME
        if lost.any():
            self._note("unparsable time", column, lost & column.is_not_null().to_numpy(), bad)
        return time

    def _drop(self, batch: pl.DataFrame, time: NDArray[np.int64], bad: NDArray[np.bool_]) -> CheckedBatch:
        self.n_bad += int(bad.sum())
        if self.bad_rows == "fail" or self.n_bad > self._most_bad():
            raise DataError(self._refusal())
        kept = np.flatnonzero(~bad)
        return CheckedBatch(batch[kept], time[kept], kept)

    def _most_bad(self) -> float:
        if self.max_bad is None:
            return float("inf")
        return self.max_bad if self.max_bad >= 1 else self.max_bad * self.source.n_rows

    def _refusal(self) -> str:
        (check, name), tally = min(self._tallies.items(), key=lambda item: item[1].row)
        where = f"{self.source.locate(tally.row)}, column {name}"
        what = self._problem(check, name, tally)
        if self.bad_rows == "fail":
            return f"{where}: {what}; mend it, or leave such rows out with checks.bad_rows=drop"
        return f"{where}: {what}; {self.n_bad} bad rows are more than checks.max_bad={self.max_bad}"

    def _problem(self, check: str, name: str, tally: _Tally) -> str:
        if check == "unparsable time" and parse_time(pl.Series([tally.example]))[0] != NO_TIME:
            skipped = f"an hour that clocks skip where events.timezone={self.schema.timezone}"
            return f"holds {tally.example!r}, {skipped}; write it with its offset, such as +01:00"
        expected = expected_types(self.schema, self.source.columns).get(name, self.source.columns.get(name))
        if name in self.schema.names("numeric"):
            written = "; write it as 1234.5" if looks_like_number(tally.example) else ""
            return _PROBLEMS[check].format(example=tally.example, expected="number" + written)
        kind = type_name(expected) if expected is not None else "value"
        return _PROBLEMS[check].format(example=tally.example, expected=kind)

    def findings(self) -> list[Finding]:
        """Return the findings over all batches so far."""
        found = [
            Finding("error", check, name, t.count, t.row, f"{self._problem(check, name, t)}; row left out")
            for (check, name), t in self._tallies.items()
        ]
        for name, nulls in self._nulls.items():
            total = sum(missing for missing, _ in nulls)
            if total and ("missing key", name) not in self._tallies:
                found.append(self._null_finding(name, nulls, total))
        for name, t in self._blank.items():
            if t.count:
                message = "has an empty name here; these rows count as one of that name"
                found.append(Finding("warning", "blank key", name, t.count, t.row, message))
        for name in (*self.schema.inputs, *self.schema.names("shared")):
            if looks_like_label(name):
                message = "looks like a label or a split; leave it out of the inputs"
                found.append(Finding("warning", "label among inputs", name, self.n_rows, -1, message))
        return found

    def _null_finding(self, name: str, nulls: list[tuple[int, int]], total: int) -> Finding:
        share = total / max(self.n_rows, 1)
        worst = max(missing / max(rows, 1) for missing, rows in nulls)
        spike = share > _NULL_SPIKE or worst > max(_BATCH_NULLS, _BATCH_TIMES * share)
        level: Level = "warning" if spike else "info"
        check = "null spike" if spike else "missing values"
        return Finding(level, check, name, total, -1, f"{share:.1%} of the rows have no value")


def expected_types(schema: EventSchema, columns: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the type that each column's role asks for; a column that is only categorical keeps what it has."""
    types: dict[str, pl.DataType] = {}
    # A column with two roles keeps its type: the encoder reads it as a number all the same.
    for role in ("entity", "sequence", "time", "id", "order"):
        types.update({name: columns[name] for name in schema.names(role) if name in columns})
    return {name: pl.Float32() for name in schema.names("numeric")} | types


def parse_times(column: pl.Series, schema: EventSchema) -> NDArray[np.int64]:
    """Return (t,) microseconds of a column by the schema's unit and timezone."""
    unit = "s" if schema.time_unit == "auto" else schema.time_unit
    return parse_time(column, unit, schema.timezone)
