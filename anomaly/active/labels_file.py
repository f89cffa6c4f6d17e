"""Labels out as Parquet and CSV, and in as events are."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from anomaly.active.labels import SCHEMA, VERDICTS, Label, frame
from anomaly.active.ledger import Ledger
from anomaly.atomic import replacing
from anomaly.errors import DataError, SchemaError
from anomaly.events.readers import EventSource
from anomaly.events.times import NO_TIME, guess_unit, parse_time

if TYPE_CHECKING:
    from anomaly.active.labels_log import LabelLog

ITEM, EVENT = ("item", "sequence", "id"), ("item", "id")
"""Columns that name a labelled item, the first that is there; of an event its sequence says too little."""
_TIMES = tuple(name for name, kind in SCHEMA.items() if kind == SCHEMA["recorded_at"])
_TEXTS = {*ITEM, *(name for name, kind in SCHEMA.items() if kind == pl.String)}
"""Columns of a CSV that are text whatever they look like: 007 is no number."""
_OWN = ("seq", "supersedes")
"""What the log itself counts; the rows of a file are renumbered."""


def write_labels(rows: list[Label], path: Path | str, *, everything: bool = True) -> Path:
    """Write rows of a log as Parquet or CSV.

    Parameters
    ----------
    everything : every row; otherwise of each item the verdict that counts, with `label` 1, 0, -1
    """
    if everything:
        table = frame(rows)
    else:
        decided = Ledger.of(rows).decisions()
        numbers = pl.Series("label", [VERDICTS[row.verdict] for row in decided], dtype=pl.Int8)
        # What they correct is not in the file.
        table = frame(decided).drop("supersedes").with_columns(numbers)
    path = Path(path)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            table.write_csv(temporary, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        elif path.suffix == ".parquet":
            table.write_parquet(temporary)
        else:
            raise DataError(f"{path}: labels are written as .parquet or .csv")
    return path


def read_labels(
    path: Path | str,
    *,
    annotator: str = "import",
    source: str = "analyst",
    names: tuple[str, ...] = ITEM,
    timezone: str | None = None,
) -> list[Label]:
    """Return the rows of a file of any kind that events come in.

    They are those of an exported log, or items with verdicts or labels 1, 0, -1.

    A row without a key takes one from what it says, so that a file that is read twice counts once.

    Parameters
    ----------
    annotator, source : of rows that state none
    names : columns that may name the item
    timezone : in which times without a zone are read; UTC unless stated

    Raises
    ------
    DataError
        If the file cannot be read, holds no rows, has no column for the item or the verdict, or a row is none.
    """
    table = EventSource.open(path).table(_TEXTS)
    name = next((c for c in names if c in table.columns), None)
    if name is None or not {"verdict", "label"} & set(table.columns):
        there = ", ".join(table.columns)
        raise SchemaError(f"{path}: expected a column {' or '.join(names)}, and verdict or label; there are {there}")
    table = table.rename({name: "item"}) if name != "item" else table
    if "verdict" not in table.columns:
        table = table.with_columns(verdict=_verdicts(table["label"], path))
    table = table.select(c for c in SCHEMA if c in table.columns)
    found = []
    for number, row in enumerate(_plain(table, path, timezone).iter_rows(named=True), 1):
        try:
            found.append(_label(row, annotator, source))
        except DataError as error:
            raise DataError(f"{path}, row {number}: {error}") from error
    return found


def import_labels(log: LabelLog, rows: list[Label]) -> int:
    """Append the rows of a file, renumbered, and return how many were not there before.

    Raises
    ------
    DataError
        If a row supersedes none that stands before it in the file; nothing was written then.
    """
    earlier: set[int] = set()
    for row in rows:
        if row.supersedes is not None and row.supersedes not in earlier:
            raise DataError(f"item {row.item}: supersedes={row.supersedes} names no earlier row of the file")
        earlier.add(row.seq)
    before = max((row.seq for row in log.read()), default=0)
    places: dict[int, int] = {}
    # What supersedes nothing goes in together, and what does once the number of the other is known.
    for plain, group in groupby(rows, lambda row: row.supersedes is None):
        batch = list(group)
        for part in [batch] if plain else [[row] for row in batch]:
            new = [replace(r, seq=0, supersedes=None if plain else places[r.supersedes or 0]) for r in part]
            places |= {row.seq: written.seq for row, written in zip(part, log.extend(new), strict=True)}
    return len(log.read(before))


def _verdicts(label: pl.Series, path: Path | str) -> pl.Series:
    names: dict[float | None, str] = {number: verdict for verdict, number in VERDICTS.items()}
    found = [names.get(value) for value in label.cast(pl.Float64, strict=False)]
    if None in found:
        where = found.index(None)
        raise DataError(f"{path}, row {where + 1}: label={label[where]}: expected 1, 0 or -1")
    return pl.Series("verdict", found, dtype=pl.String)


def _plain(table: pl.DataFrame, path: Path | str, timezone: str | None) -> pl.DataFrame:
    """Return the columns in their types, times as microseconds."""
    columns = []
    for name, column in zip(table.columns, table.get_columns(), strict=True):
        try:
            columns.append(_microseconds(column, timezone) if name in _TIMES else column.cast(SCHEMA[name]))
        except (pl.exceptions.PolarsError, DataError, SchemaError) as error:
            raise DataError(f"{path}: column {name}: {str(error).splitlines()[0]}") from error
    return pl.DataFrame(columns)


def _microseconds(time: pl.Series, timezone: str | None) -> pl.Series:
    """Return times as the events of a run are read: of any form, numbers by the size of their unit."""
    micros = pl.Series(time.name, parse_time(time, guess_unit(time), timezone))
    micros = micros.set(micros == NO_TIME, None)
    wrong = time.filter(micros.is_null() & time.is_not_null())
    if len(wrong):
        raise DataError(f"{wrong[0]!r} is no time; write it as 2026-01-31T12:00:00Z")
    return micros


def _label(row: dict[str, Any], annotator: str, source: str) -> Label:
    said = {name: value for name, value in row.items() if value is not None}
    said = {"annotator": annotator, "source": source, **said}
    if "item" not in said:
        raise DataError("has no item")
    if "key" not in said:
        content = json.dumps({k: v for k, v in said.items() if k not in _OWN}, sort_keys=True, ensure_ascii=False)
        said["key"] = sha256(content.encode()).hexdigest()[:32]
    return Label(**said)
