"""The label log: append-only rows in SQLite or PostgreSQL, each counted once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from anomaly.active.labels import Label, frame
from anomaly.active.labels_database import WriterLock, columns_of, connect, reason, shown
from anomaly.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import polars as pl
    from sqlalchemy import Connection, Engine


def now() -> int:
    """Return the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class LabelLog:
    """Rows that are added and never changed; what was returned is on the disk.

    Parameters
    ----------
    where : a file of SQLite, or a URL of PostgreSQL
    session : sets the rows of one session apart from others in the same database
    read_only : take no right to write, so that a session that is open elsewhere is not disturbed
    """

    def __init__(self, where: Path | str, *, session: str = "default", read_only: bool = False) -> None:
        self.where = where
        self.session = session
        file = None if "://" in str(where) else Path(where)
        if file is not None and not file.parent.is_dir():
            raise ArtifactError(f"{file}: there is no folder {file.parent}; make it first")
        self._lock = WriterLock(file) if file is not None and not read_only else None
        with ExitStack() as failed:
            # The writer's lock must not stay behind, whatever goes wrong.
            failed.callback(self.close)
            self.engine: Engine = connect(where, read_only=read_only)
            self._there = columns_of(self.engine)
            failed.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, label: Label) -> Label:
        """Write a row and return it as it stands in the log; a key that is there already adds nothing.

        Raises
        ------
        DataError
            If the key is there with another item or annotator, or `supersedes` names no row of that item.
        ArtifactError
            If the database refuses; nothing was written then.
        """
        return self.extend([label])[0]

    def extend(self, labels: Iterable[Label]) -> list[Label]:
        """Write rows, all of them or none, and return them as they stand in the log."""
        from sqlalchemy.exc import SQLAlchemyError

        rows = list(labels)
        try:
            return self._write(rows)
        except SQLAlchemyError as error:
            raise ArtifactError(f"{shown(self.where)}: no label was written ({reason(error)})") from error

    def _write(self, rows: list[Label]) -> list[Label]:
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                # One writer at a time: whoever reads beyond a place must miss no row that was numbered before it.
                connection.exec_driver_sql("LOCK TABLE labels IN SHARE ROW EXCLUSIVE MODE")
            return [self._known(connection, row) or self._insert(connection, row) for row in rows]

    def _known(self, connection: Connection, label: Label) -> Label | None:
        """Return the row that has the label's key already."""
        from anomaly.active.labels_schema import labels

        found = self._select(connection, labels.c.key == label.key)
        if found and (found[0].item, found[0].annotator) != (label.item, label.annotator):
            raise DataError(f"key={label.key}: is that of another label; send a new label with a new key")
        return found[0] if found else None

    def _insert(self, connection: Connection, label: Label) -> Label:
        from anomaly.active.labels_schema import labels

        if label.supersedes is not None:
            named = self._select(connection, labels.c.seq == label.supersedes)
            if not named or named[0].item != label.item:
                raise DataError(f"supersedes={label.supersedes}: there is no such label of item {label.item}")
        row = {k: v for k, v in asdict(label).items() if k != "seq"}
        row |= {"session": self.session, "recorded_at": label.recorded_at or now()}
        seq = connection.execute(labels.insert().values(row).returning(labels.c.seq)).scalar_one()
        return replace(label, seq=int(seq), recorded_at=row["recorded_at"])

    def _select(self, connection: Connection, *where: Any) -> list[Label]:
        from sqlalchemy import select

        from anomaly.active.labels_schema import labels

        # A table of an older version, which is only read, lacks some.
        columns = [labels.c[name] for name in Label.__dataclass_fields__ if name in self._there]
        rows = connection.execute(
            select(*columns).where(labels.c.session == self.session, *where).order_by(labels.c.seq)
        )
        return [Label(**row) for row in rows.mappings()]

    def read(self, after: int = 0) -> list[Label]:
        """Return the rows beyond place `after`, in their order."""
        from anomaly.active.labels_schema import labels

        with self.engine.connect() as connection:
            return self._select(connection, labels.c.seq > after)

    def frame(self) -> pl.DataFrame:
        """Return every row as a table."""
        return frame(self.read())

    def close(self) -> None:
        """Give the database back."""
        if hasattr(self, "engine"):
            self.engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
