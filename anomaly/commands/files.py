"""Small tables from files: labels and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from anomaly.errors import DataError

_READERS: dict[str, Any] = {
    ".parquet": pl.read_parquet,
    ".pq": pl.read_parquet,
    ".csv": lambda path: _read_csv(path, ","),
    ".tsv": lambda path: _read_csv(path, "\t"),
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
    ".arrow": pl.read_ipc,
    ".ipc": pl.read_ipc,
    ".feather": pl.read_ipc,
}


def read_table(table: Any, what: str) -> pl.DataFrame:
    """Return a table from a path, or a frame as a Polars frame.

    Parameters
    ----------
    what : the key that names it, for messages

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    """
    if isinstance(table, pl.DataFrame):
        return table
    if not isinstance(table, (str, Path)):
        return _from_frame(table)
    path = Path(table)
    if not path.is_file():
        raise DataError(f"{what}={path}: no such file")
    if path.suffix.lower() not in _READERS:
        raise DataError(f"{what}={path}: unknown kind of file; expected one of {', '.join(_READERS)}")
    try:
        frame: pl.DataFrame = _READERS[path.suffix.lower()](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{what}={path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not frame.height:
        raise DataError(f"{what}={path}: no rows")
    return frame


def _read_csv(path: Path, separator: str) -> pl.DataFrame:
    """Read a table; whole numbers stay text where they have leading zeros, which an id may not lose."""
    from anomaly.events.files import as_written

    table = pl.read_csv(path, infer_schema_length=None, separator=separator)
    text = pl.read_csv(path, infer_schema=False, separator=separator)
    whole = [name for name, dtype in table.schema.items() if dtype.is_integer()]
    good = text.select(as_written(pl.col(name), table.schema[name]) for name in whole)
    return table.with_columns(text[name] for name in whole if not good[name][0])


def _from_frame(table: Any) -> pl.DataFrame:
    from anomaly.events.readers import EventSource

    return next(EventSource.from_frame(table).batches(rows=1 << 62))
