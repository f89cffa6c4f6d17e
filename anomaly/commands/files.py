"""Small tables from files: labels and scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import AnomalyError
from anomaly.events.readers import EventSource

if TYPE_CHECKING:
    import polars as pl


def read_table(table: Any, what: str) -> pl.DataFrame:
    """Return a table from a path to whatever events come in, or a frame as a Polars frame.

    Parameters
    ----------
    what : the key that names it, for messages

    Raises
    ------
    DataError
        If there is no such file, it cannot be read, or there are no rows.
    """
    if not isinstance(table, (str, Path)):
        return EventSource.from_frame(table, what).table()
    try:
        return EventSource.open(table).table()
    except AnomalyError as error:
        raise type(error)(f"{what}={error}") from error
