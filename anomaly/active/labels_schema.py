"""The tables of a label database, and the triggers that keep its log append-only, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from anomaly.active.labels import MOVES, SOURCES, VERDICTS

metadata = MetaData()

_SEQ = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=f"{column}_known")


labels = Table(
    "labels",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("session", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("typology", Text),
    Column("confidence", Float),
    Column("note", Text),
    Column("annotator", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("event_time", BigInteger),
    Column("known_at", BigInteger),
    Column("recorded_at", BigInteger, nullable=False),
    Column("model_version", Text),
    Column("taken_at", BigInteger),
    Column("chosen_at", BigInteger),
    Column("policy", Text),
    Column("probability", Float),
    Column("score_seen", Boolean, nullable=False),
    Column("duration_ms", BigInteger),
    Column("supersedes", BigInteger),
    UniqueConstraint("session", "key"),
    _one_of("verdict", (*VERDICTS, *MOVES)),
    _one_of("source", SOURCES),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_range"),
    CheckConstraint("probability > 0 AND probability <= 1", name="probability_range"),
    CheckConstraint("supersedes < seq", name="supersedes_earlier"),
    CheckConstraint("verdict <> 'withdrawn' OR supersedes IS NOT NULL", name="withdrawn_names_row"),
    sqlite_autoincrement=True,
)
Index("labels_session", labels.c.session, labels.c.seq)

leases = Table(
    "leases",
    metadata,
    Column("session", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("probability", Float),
    Column("spare", Boolean, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("chosen_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("session", "item"),
)

_REFUSAL = "labels are append-only: add a row that supersedes instead"
_SQLITE = {
    "labels_keep_rows": "BEFORE UPDATE ON labels",
    "labels_keep_all": "BEFORE DELETE ON labels",
    # INSERT OR REPLACE deletes without firing the trigger on deletes.
    "labels_keep_keys": "BEFORE INSERT ON labels WHEN EXISTS (SELECT 1 FROM labels WHERE seq = NEW.seq "
    "OR (session = NEW.session AND key = NEW.key))",
}
_POSTGRES = f"""
CREATE OR REPLACE FUNCTION labels_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER labels_keep_rows BEFORE UPDATE OR DELETE ON labels FOR EACH ROW EXECUTE FUNCTION labels_refuse();
CREATE TRIGGER labels_keep_all BEFORE TRUNCATE ON labels FOR EACH STATEMENT EXECUTE FUNCTION labels_refuse();
"""


def _after_create(statement: str, dialect: str) -> None:
    ddl: Any = DDL
    event.listen(labels, "after_create", ddl(statement.replace("%", "%%")).execute_if(dialect=dialect))


for _name, _when in _SQLITE.items():
    _after_create(f"CREATE TRIGGER {_name} {_when} BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END", "sqlite")
_after_create(_POSTGRES, "postgresql")
