"""From raw rows to a store of encoded sequences.

The rows are read twice, batch by batch: the first pass checks them, keeps the few columns that decide where each row
goes and learns the encoder; the second encodes each batch and scatters it to its place, in memory or in mapped files.

Shapes: T events, F coded fields, G numeric values.
"""

from __future__ import annotations

import time as clock_time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.base import Progress, silent
from anomaly.errors import DataError
from anomaly.events.checks import BadRows, EventChecker, Finding
from anomaly.events.encoder import SHARED_SUFFIX, EventEncoder
from anomaly.events.infer import check_columns, infer_schema
from anomaly.events.profile import ColumnProfile, type_name
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema, seconds
from anomaly.events.times import NO_TIME
from anomaly.sequences.cut import Cut, cut
from anomaly.sequences.draft import Arrays, draft
from anomaly.sequences.gaps import final_silence, measure_gaps
from anomaly.sequences.relational import count_entities
from anomaly.sequences.spine import Spine
from anomaly.sequences.store import SequenceStore, put_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FOREVER = 1 << 61


@dataclass(frozen=True)
class Prepared:
    """A store and how it came to be.

    Attributes
    ----------
    store, encoder, schema : the sequences, what encoded them, and the roles, none left open
    findings : what the checks found
    seconds : wall time
    n_dropped : rows left out by `bad_rows="drop"`
    """

    store: SequenceStore
    encoder: EventEncoder
    schema: EventSchema
    findings: list[Finding]
    seconds: float
    n_dropped: int = 0


def build_store(
    source: EventSource,
    schema: EventSchema | None = None,
    *,
    encoder: EventEncoder | None = None,
    history: EventSource | None = None,
    out: Path | str | None = None,
    memory_limit: int = 4 << 30,
    bad_rows: BadRows = "fail",
    max_bad: float | None = None,
    batch_rows: int = 500_000,
    progress: Progress = silent,
) -> Prepared:
    """Build the sequences of a source.

    Parameters
    ----------
    schema : roles; the open ones are inferred
    encoder : None or not yet fitted is fitted here; a fitted one is used as it is
    history : rows that are read as the past of the source's rows and never reported
    out : folder to write the store to, instead of memory; it appears when it is complete
    bad_rows, max_bad : see `anomaly.events.checks.EventChecker`
    memory_limit : a source that needs more than a quarter of these bytes is streamed, not held

    Raises
    ------
    DataError, SchemaError
        If rows or columns cannot be used, or the disk is too small.
    """
    begun = clock_time.perf_counter()
    if encoder is not None and hasattr(encoder, "schema_"):
        source = source.with_absent(encoder.schema_.inputs)
        history = None if history is None else history.with_absent(encoder.schema_.inputs)
    schema = _complete(source, schema, encoder)
    job = _Build(source, schema, encoder, history, memory_limit, bad_rows, max_bad, batch_rows, progress)
    store = job.run(None if out is None else Path(out))
    elapsed = clock_time.perf_counter() - begun
    return Prepared(store, job.encoder, schema, job.findings(), elapsed, sum(c.n_bad for c in job.checkers))


def _complete(source: EventSource, schema: EventSchema | None, encoder: EventEncoder | None) -> EventSchema:
    if schema is None and encoder is not None and hasattr(encoder, "schema_"):
        schema = encoder.schema_
    if schema is not None and schema.complete:
        check_columns(source, schema)
        return schema
    return infer_schema(source, schema)


def _with_keys(sources: list[EventSource], schema: EventSchema) -> list[EventSource]:
    """Settle the types of ids; what is text in one file is text in the other, and numbers are those of the last."""
    keys = [name for role in ("entity", "sequence", "id") for name in schema.names(role)]
    text = {name for source in sources for name in source.textual(keys)}
    sources = [source.with_text(text) for source in sources] if text else sources
    last = sources[-1].columns
    numbers = [name for name in (*keys, *schema.names("order")) if last[name].is_numeric()]
    return [s.with_types({n: last[n] for n in numbers if s.columns[n].is_numeric()}) for s in sources]


class _Build:
    """The two passes, and what they leave."""

    def __init__(
        self,
        source: EventSource,
        schema: EventSchema,
        encoder: EventEncoder | None,
        history: EventSource | None,
        memory_limit: int,
        bad_rows: BadRows,
        max_bad: float | None,
        batch_rows: int,
        progress: Progress,
    ) -> None:
        self.schema, self.batch_rows, self.memory_limit = schema, batch_rows, memory_limit
        self.encoder = EventEncoder() if encoder is None else encoder
        self.fitting = not hasattr(self.encoder, "fields_")
        self.profile = ColumnProfile(schema)
        if history is not None:
            check_columns(history, schema)
        sources = _with_keys([s for s in (history, source) if s is not None], schema)
        self.has_history = history is not None
        self.sources = [s.load(schema.columns, memory_limit // 4) for s in sources]
        self.checkers = [EventChecker(schema, s, bad_rows, max_bad) for s in self.sources]
        self.total = sum(s.n_rows for s in self.sources)
        self.spine = Spine(schema)
        self.kept: list[NDArray[np.int64] | None] = []
        self.n_backwards = 0
        self.progress = progress

    def run(self, out: Path | None) -> SequenceStore:
        self._first_pass()
        rows = cut(self.spine)
        if not len(rows.offsets[1:]):
            raise DataError(f"{self.sources[-1].name}: no rows are left to form a sequence")
        shared = self._shared()
        if self.fitting:
            self._fit(rows, shared)
        if out is None:
            return self._fill(rows, shared, Arrays(None))
        return self._to_disk(rows, shared, out)

    def _first_pass(self) -> None:
        done = 0
        for place, (source, checker) in enumerate(zip(self.sources, self.checkers, strict=True)):
            for batch in source.batches(self.schema.columns, self.batch_rows):
                row0 = checker.n_rows
                checked = checker.check(batch)
                self.spine.add(checked, row0)
                self.kept.append(checked.kept)
                if self.fitting:
                    self.profile.add(checked.frame, checked.time)
                done += batch.height
                self.progress("reading", done, self.total)
            if self.has_history and place == 0:
                self.spine.end_history()
        self.spine.finish()

    def _shared(self) -> dict[str, NDArray[np.float32]]:
        """Count the entities behind each shared value; where there is no entity, the sequences."""
        owner = self.spine.key("entity") or self.spine.key("sequence")
        names = self.schema.names("shared")
        if not names or owner is None:
            return {name + SHARED_SUFFIX: np.ones(self.spine.n_rows, np.float32) for name in names}
        undated = self.spine.time == NO_TIME
        time = np.where(undated, 0, self.spine.time) if undated.any() else self.spine.time
        window = _FOREVER if self.schema.time is None else int(seconds(self.schema.shared_window) * 1e6)
        return {n + SHARED_SUFFIX: count_entities(self.spine.keys[n].codes, owner.codes, time, window) for n in names}

    def _fit(self, rows: Cut, shared: dict[str, NDArray[np.float32]]) -> None:
        for name, counts in shared.items():
            self.profile.add_numbers(name, counts)
        self.encoder.fit_profile(self.profile)
        self.encoder.dtypes_ = {name: dtype for name, dtype in self._dtypes().items() if name in self.schema.inputs}
        if rows.entities is not None and len(rows.owner) > len(np.unique(rows.owner)):
            used = np.unique(rows.owner)
            self.encoder.fit_entities(rows.entities[used])

    def _fill(self, rows: Cut, shared: dict[str, NDArray[np.float32]], arrays: Arrays) -> SequenceStore:
        """Encode every batch into its place and return the store."""
        n = len(rows.order)
        codes = arrays.empty("codes", (n, len(self.encoder.fields_)), self.encoder.code_dtype)
        values = arrays.empty("values", (n, len(self.encoder.bins_)), np.float32)
        for places, frame, time in self._second_pass(rows, shared):
            batch_codes, batch_values = self.encoder.transform(frame, time)
            target = places
            if (target < 0).any():
                inside = np.flatnonzero(target >= 0)
                target, batch_codes, batch_values = target[inside], batch_codes[inside], batch_values[inside]
            put_rows(codes, target, batch_codes)
            put_rows(values, target, batch_values)
        codes, values = arrays.full("codes", codes), arrays.full("values", values)
        return self._store(rows, codes, values)

    def _second_pass(
        self, rows: Cut, shared: dict[str, NDArray[np.float32]]
    ) -> Iterator[tuple[NDArray[Any], pl.DataFrame, NDArray[np.int64]]]:
        """Yield for each batch the places of its rows in the store (-1: left out), the rows and their times."""
        place = np.full(self.spine.n_rows, -1, np.int32 if self.spine.n_rows < 1 << 31 else np.int64)
        place[rows.order] = np.arange(len(rows.order), dtype=place.dtype)
        start, done, kept = 0, 0, iter(self.kept)
        columns = self.schema.inputs or self.schema.columns[:1]
        for source in self.sources:
            for batch in source.batches(columns, self.batch_rows):
                good = next(kept)
                done += batch.height
                frame = batch if good is None else batch[good]
                stop = start + frame.height
                frame = frame.with_columns([pl.Series(name, c[start:stop]) for name, c in shared.items()])
                yield place[start:stop], frame, self.spine.time[start:stop]
                start = stop
                self.progress("encoding", done, self.total)

    def _store(self, rows: Cut, codes: NDArray[Any], values: NDArray[np.float32]) -> SequenceStore:
        time = self.spine.time[rows.order]
        gaps = measure_gaps(time, rows.offsets, has_time=self.schema.time is not None)
        self.n_backwards = gaps.n_backwards
        ids = self.spine.ids()
        order = rows.order
        return SequenceStore(
            fields=self.encoder.fields_,
            codes=codes,
            value_names=self.encoder.value_names,
            values=values,
            delta=gaps.delta,
            time=gaps.time,
            row=self.spine.row[order],
            offsets=rows.offsets,
            entity=self._entities(rows),
            context=rows.context,
            sequence_ids=rows.ids,
            entity_ids=rows.entity_ids.alias("entity"),
            event_ids=None if ids is None else ids.gather(pl.Series(order.astype(np.uint32))).alias("id"),
            pause=rows.pause if self._has_pauses(rows) else None,
            silence=self._silence(rows, time),
            n_entities=self.encoder.n_entities,
            closed=self.schema.ends == "closed",
            has_time=self.schema.time is not None,
            extra={"dtypes": self._dtypes()},
        )

    def _has_pauses(self, rows: Cut) -> bool:
        schema = self.schema
        visits = schema.sequence not in (None, schema.entity) or schema.gap is not None
        return visits and rows.entities is not None and schema.time is not None

    def _silence(self, rows: Cut, time: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Measure the final silences up to a stated end; one read off the rows would let them answer for each other."""
        until, visits = self.schema.end_of_time, self._has_pauses(rows)
        if until is None or self.schema.time is None or (self.schema.ends == "closed" and not visits):
            return None
        alone = self.schema.sequence is not None and rows.entities is None
        goes_on = np.append(rows.owner[1:] == rows.owner[:-1], False) & (not alone)
        return final_silence(time, rows.offsets, goes_on, until)

    def _dtypes(self) -> dict[str, str]:
        return {name: type_name(self.sources[-1].columns[name]) for name in self.schema.columns}

    def _entities(self, rows: Cut) -> NDArray[np.int32]:
        if rows.entities is None or self.encoder.n_entities == 1:
            return np.zeros(len(rows.owner), np.int32)
        return self.encoder.entity_codes(rows.entities)[rows.owner]

    def _to_disk(self, rows: Cut, shared: dict[str, NDArray[np.float32]], out: Path) -> SequenceStore:
        width = np.dtype(self.encoder.code_dtype).itemsize * len(self.encoder.fields_) + 4 * len(self.encoder.bins_)
        with draft(out, need=len(rows.order) * (width + 20) + 40 * len(rows.offsets)) as folder:
            self._fill(rows, shared, Arrays(folder, self.memory_limit // 4)).save(folder)
        return SequenceStore.open(out)

    def _beyond_the_end(self) -> list[Finding]:
        until, time = self.schema.end_of_time, self.spine.time
        if until is None or self.schema.time is None or not (time > until).any():
            return []
        first = int(self.spine.row[np.argmax(time > until)])
        message = f"is later than events.until={self.schema.until}; no silence is judged after it"
        return [Finding("warning", "beyond the end", self.schema.time, int((time > until).sum()), first, message)]

    def findings(self) -> list[Finding]:
        """Return what both the single columns and the whole show."""
        found = [finding for checker in self.checkers for finding in checker.findings()]
        if self.has_history:
            past = len(self.checkers[0].findings())
            found[:past] = [replace(one, message=f"in the history: {one.message}") for one in found[:past]]
        if self.n_backwards:
            message = "time goes back against the stated order; the gap counts as none"
            found.append(
                Finding("warning", "time going backwards", str(self.schema.time), self.n_backwards, -1, message)
            )
        found += self._beyond_the_end()
        ids = self.spine.ids()
        if ids is not None:
            repeated = len(ids) - ids.n_unique()
            if repeated:
                message = "ids are not unique; labels by id will not be clear"
                row = int(ids.is_first_distinct().not_().arg_max() or 0)
                found.append(Finding("warning", "duplicated ids", ids.name, repeated, row, message))
        for name, shares in getattr(self.encoder, "shares_", {}).items():
            if self.fitting and (shares > 0).sum() < 2:
                found.append(
                    Finding("info", "constant column", name, self.total, -1, "has one value and tells nothing")
                )
        return found
