"""Labels: what somebody said about an item, and what of it stands.

The log only grows. A correction is a row that names the row it supersedes; undoing is a row, `withdrawn`, that takes
one back as if it had never been, so that what it had corrected stands again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl

from anomaly.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

VERDICTS = {"anomalous": 1, "normal": 0, "unsure": -1}
"""What an item can be judged to be, and the number that tables of labels write for it."""
MOVES = ("skipped", "escalated", "asked", "withdrawn")
"""What else can be said of an item: put off, handed to a lead, its score asked for, the named row taken back."""
SOURCES = ("analyst", "chargeback", "rule")

_TIME = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    "seq": pl.Int64,
    "key": pl.String,
    "item": pl.String,
    "verdict": pl.String,
    "typology": pl.String,
    "confidence": pl.Float64,
    "note": pl.String,
    "annotator": pl.String,
    "source": pl.String,
    "event_time": _TIME,
    "known_at": _TIME,
    "recorded_at": _TIME,
    "model_version": pl.String,
    "taken_at": _TIME,
    "chosen_at": _TIME,
    "policy": pl.String,
    "probability": pl.Float64,
    "score_seen": pl.Boolean,
    "duration_ms": pl.Int64,
    "supersedes": pl.Int64,
}
"""The columns of a table of labels."""


def is_text(value: str) -> bool:
    """Return whether a label can hold a text: PostgreSQL keeps no NUL."""
    return "\0" not in value


def new_key() -> str:
    """Return a key that no other label has."""
    return uuid4().hex


@dataclass(frozen=True)
class Label:
    """One row of the log.

    Attributes
    ----------
    item : the item's id, as text
    verdict : one of `VERDICTS`, or one of `MOVES`
    annotator : who said it
    key : given by whoever sends it; a row that is sent again with the same key counts once
    confidence : from 0 to 1, where it was stated
    source : one of `SOURCES`
    event_time, known_at, recorded_at : microseconds since 1970 UTC: when it happened, when it could be known, when it
        was written
    model_version : of the run that ranked the item
    taken_at, chosen_at : since when the annotator held the item, and when it was chosen for them, as times above
    policy, probability : how the item was chosen, and with which probability
    score_seen : whether the annotator had asked for the score
    duration_ms : time on screen
    supersedes : the `seq` of the row that this one corrects or takes back
    seq : place in the log, from 1; 0 before it is written
    """

    item: str
    verdict: str
    annotator: str
    key: str = field(default_factory=new_key)
    typology: str | None = None
    confidence: float | None = None
    note: str | None = None
    source: str = "analyst"
    event_time: int | None = None
    known_at: int | None = None
    model_version: str | None = None
    taken_at: int | None = None
    chosen_at: int | None = None
    policy: str | None = None
    probability: float | None = None
    score_seen: bool = False
    duration_ms: int | None = None
    supersedes: int | None = None
    seq: int = 0
    recorded_at: int = 0

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS and self.verdict not in MOVES:
            raise DataError(f"verdict={self.verdict}: expected one of {', '.join((*VERDICTS, *MOVES))}")
        if self.source not in SOURCES:
            raise DataError(f"source={self.source}: expected one of {', '.join(SOURCES)}")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise DataError(f"confidence={self.confidence}: expected a number from 0 to 1")
        if self.probability is not None and not 0 < self.probability <= 1:
            raise DataError(f"probability={self.probability}: expected a number above 0, at most 1")
        if not self.item or not self.annotator or not self.key:
            raise DataError("a label needs an item, an annotator and a key")
        texts = (self.item, self.annotator, self.key, self.typology, self.note)
        if not all(is_text(text or "") for text in texts):
            raise DataError("a label holds the character NUL, which databases cannot keep as text")


def frame(labels: Iterable[Label]) -> pl.DataFrame:
    """Return rows of the log as a table, in their order."""
    rows = [asdict(label) for label in labels]
    columns = {name: [row[name] for row in rows] for name in (f.name for f in fields(Label))}
    plain = {name: pl.Int64 if kind == _TIME else kind for name, kind in SCHEMA.items()}
    table = pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=plain)
    return table.with_columns(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
