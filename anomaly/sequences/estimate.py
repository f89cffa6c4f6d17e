"""What a preparation will take, told before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from anomaly.errors import DataError
from anomaly.events.infer import infer_schema
from anomaly.events.readers import EventSource
from anomaly.sequences.build import build_store

if TYPE_CHECKING:
    from anomaly.events.schema import EventSchema

_MEBI = 1 << 20
_BASE = 300 * _MEBI
_KEY, _SPINE = 8, 40
"""Bytes per row of a key column, and of times, places and the sort."""


@dataclass(frozen=True)
class Estimate:
    """Memory, disk and time.

    Attributes
    ----------
    rows : rows of the source
    memory : peak bytes
    disk : bytes of the store
    seconds : wall time on this machine
    """

    rows: int
    memory: int
    disk: int
    seconds: float

    def __str__(self) -> str:
        memory, disk = self.memory / 1e9, self.disk / 1e9
        return f"{self.rows:,} rows: about {memory:.1f} GB of memory, {disk:.1f} GB of disk, {self.seconds:.0f} s"


def estimate(source: EventSource, schema: EventSchema | None = None, memory_limit: int = 4 << 30) -> Estimate:
    """Return what `build_store` will need, from a sample that is built for the purpose."""
    schema = infer_schema(source, schema)
    sample = source.sample(schema.columns)
    begun = time.perf_counter()
    width = _bytes_per_row(sample, schema)
    pace = (time.perf_counter() - begun) / sample.height
    rows = source.n_rows
    keys = sum(len(schema.names(role)) for role in ("entity", "sequence", "order", "shared"))
    ids = 24 if schema.id is not None else 0
    held = source.memory if source.memory <= memory_limit // 4 else 0
    memory = _BASE + rows * (_SPINE + _KEY * keys + ids) + rows * width + held
    return Estimate(rows, int(memory), int(rows * width), rows * pace)


def _bytes_per_row(sample: pl.DataFrame, schema: EventSchema) -> float:
    """Build the sample, whose pace is what time the rest will take, and return the size of its store per row."""
    try:
        store = build_store(EventSource.from_frame(sample), schema, bad_rows="drop").store
    except DataError:
        return float(_SPINE)
    flat = store.codes.nbytes + store.values.nbytes + store.delta.nbytes + store.time.nbytes + store.row.nbytes
    return float(flat + store.offsets.nbytes + 40 * len(store)) / max(store.n_events, 1)
