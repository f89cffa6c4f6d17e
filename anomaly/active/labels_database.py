"""The engine under a label log: SQLite in a file with one writer, or PostgreSQL by a URL."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import AnomalyError, ArtifactError, ConfigError

try:
    from sqlalchemy import Connection, Engine, create_engine, event, inspect
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
    from sqlalchemy.pool import QueuePool
except ImportError as error:
    raise AnomalyError("labels are kept through SQLAlchemy: pip install 'anomaly[label]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from sqlalchemy import Column, Table

_WAIT_MS = 10_000
_MAKING = 0x6C6162656C73
"""Of the advisory lock under which tables are made: the word labels."""


def connect(where: Path | str, *, read_only: bool = False) -> Engine:
    """Return the engine of a database: a file, made where there is none, or a URL.

    Parameters
    ----------
    read_only : make and change nothing

    Raises
    ------
    ConfigError
        If the URL names no known engine.
    ArtifactError
        If the database cannot be opened, or is only to be read and holds no labels yet.
    """
    text = str(where)
    none_yet = ArtifactError(f"{shown(where)}: no labels yet; give some first, or import= them")
    if read_only and "://" not in text and not Path(where).is_file():
        raise none_yet
    engine = _postgres(text) if "://" in text else _sqlite(Path(where), read_only)
    try:
        with engine.begin() as connection:
            if not read_only:
                _make(connection)
            elif not inspect(connection).has_table("labels"):
                raise none_yet
    except ArtifactError:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise ArtifactError(f"{shown(where)}: the label database cannot be opened ({reason(error)})") from error

    @event.listens_for(engine, "handle_error")
    def _tell(context: Any) -> None:
        # Whatever was under way; a ping that finds a lost connection gets another one by itself.
        if isinstance(context.sqlalchemy_exception, OperationalError) and not context.is_pre_ping:
            cause = context.original_exception
            raise ArtifactError(f"{shown(where)}: the label database does not answer ({reason(cause)})") from cause

    return engine


def _make(connection: Connection) -> None:
    """Make the tables that are not there."""
    from anomaly.active.labels_schema import metadata

    if connection.dialect.name == "postgresql":
        # Two first starts at once would both find no table, and both make it.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING})")
    metadata.create_all(connection)
    for table, column in _lacks(connection):
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


def columns_of(engine: Engine) -> set[str]:
    """Return the names of the columns that the table of labels has."""
    return {column["name"] for column in inspect(engine).get_columns("labels")}


def _lacks(connection: Connection) -> Iterator[tuple[Table, Column[Any]]]:
    """Yield the columns that came in after a database was made; all of them may be null."""
    from anomaly.active.labels_schema import metadata

    for table in metadata.sorted_tables:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        yield from ((table, column) for column in table.columns if column.name not in there)


def _sqlite(path: Path, read_only: bool) -> Engine:
    """Return an engine with one connection: whoever writes waits in the pool, never for the file."""
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"timeout": 10}
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # Transactions begin in `_begin`; the driver would begin them late and unasked.
        connection.isolation_level = None
        own = ("query_only=ON",) if read_only else ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
        for pragma in (f"busy_timeout={_WAIT_MS}", *own):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _postgres(text: str) -> Engine:
    try:
        url = make_url(text)
        if url.get_backend_name() != "postgresql":
            raise ConfigError(f"database={shown(text)}: expected a file or a postgresql:// URL")
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"database={shown(text)}: not a URL of a database ({reason(error)})") from error
    except ImportError as error:
        raise AnomalyError("labels in PostgreSQL need its driver: pip install 'anomaly[postgres]'") from error


def shown(where: Path | str) -> str:
    """Return where a database is, without a password."""
    text = str(where)
    if "://" not in text:
        return text
    with suppress(ArgumentError):
        return make_url(text).render_as_string(hide_password=True)
    return text.partition("://")[0] + "://…"


def reason(error: Exception) -> str:
    """Return the database's own words, in one line."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())


class WriterLock:
    """The right to write to a file of labels, which one process has at a time; it ends with the process."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.with_name(path.name + ".lock").open("ab")
        try:
            _lock(self._file)
        except OSError as error:
            self._file.close()
            raise ArtifactError(
                f"{path}: another labelling session is writing to it; join that one, or end it first"
            ) from error

    def release(self) -> None:
        """Let another process write."""
        self._file.close()


def _lock(file: BinaryIO) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
