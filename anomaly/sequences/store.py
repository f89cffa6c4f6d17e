"""Ragged sequences as flat columns and offsets, in memory or mapped from disk.

Shapes: T events, N sequences, F fields, G numeric fields.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from anomaly.errors import ArtifactError, DataError
from anomaly.events.vocabulary import FIRST_VALUE, PAD, RARE, UNKNOWN, Field, FieldKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FIRST_VALUE", "PAD", "RARE", "UNKNOWN", "Field", "FieldKind", "SequenceStore"]

FLAT = ("codes", "values", "delta", "time", "row")
"""What a store holds of every event."""
_RAGGED = ("offsets", "entity", "context")
_AROUND = ("pause", "silence")

FOLDS = 4
"""Of what was learnt of a sequence, where single events are the items: a fold is then as long as the fifth that
calibrates, whose events are scored without one another as well."""


@dataclass(frozen=True)
class SequenceStore:
    """Sequences of encoded events.

    Attributes
    ----------
    fields : the F coded columns
    codes : (T, F) uint16 or int32
    value_names : names of the G columns of `values`
    values : (T, G) float32, scaled, 0 where missing
    delta : (T,) float32, seconds since the previous event of the sequence; 0 at its start; NaN where there is no time
    time : (T,) int64, microseconds since 1970 UTC (since the column's zero if it is no date); 0 where there is no time
    row : (T,) int64, the event's row in its source, from 0
    offsets : (N + 1,) int64, sequence n holds events ``offsets[n]:offsets[n + 1]``
    entity : (N,) int32, code of the entity; 0 is an entity that was not in `fit`, or no entity
    context : (N,) int64, leading events of the sequence that are its past: read, never reported
    sequence_ids, entity_ids : N ids, the columns' own type and values
    event_ids : T ids, or None where no id column is stated
    pause : (N,) float32, seconds since the newest event of the entity's sequence before, NaN where there is none; None
        where there is no time, or sequences are no visits of entities
    silence : (N,) float32, seconds from the last event to the stated end of observation, 0 where the entity went on in
        another sequence; None where no end is stated, there is no time, or closed sequences are no visits of entities
    edited_from : (N,) `keys` of the sequences that these are edited copies of, or None: members that leave out what a
        sequence added in `fit` know it in its copies too
    learnt : (N,) leading events of each sequence, its past included, that were learnt from, where single events are the
        items; None where sequences are
    n_entities : number of entity codes, the unknown one included
    closed : whether the end of a sequence means something
    has_time : whether `delta` and `time` mean something
    """

    fields: tuple[Field, ...]
    codes: NDArray[Any]
    value_names: tuple[str, ...]
    values: NDArray[np.float32]
    delta: NDArray[np.float32]
    time: NDArray[np.int64]
    row: NDArray[np.int64]
    offsets: NDArray[np.int64]
    entity: NDArray[np.int32]
    context: NDArray[np.int64]
    sequence_ids: pl.Series
    entity_ids: pl.Series
    event_ids: pl.Series | None = None
    pause: NDArray[np.float32] | None = None
    silence: NDArray[np.float32] | None = None
    edited_from: NDArray[np.uint64] | None = None
    learnt: NDArray[np.int64] | None = None
    n_entities: int = 1
    closed: bool = True
    has_time: bool = True
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        """Number of events, T."""
        return int(self.offsets[-1] - self.offsets[0])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) events per sequence."""
        return np.diff(self.offsets)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the F coded columns."""
        return tuple(f.name for f in self.fields)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each field."""
        return tuple(f.size for f in self.fields)

    def sequence_of_event(self) -> NDArray[np.int64]:
        """Return (T,) the place of each event's sequence."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def position(self) -> NDArray[np.int64]:
        """Return (T,) the place of each event in its sequence, from 0."""
        return np.arange(self.n_events) - np.repeat(self.offsets[:-1], self.lengths)

    def fold_of_event(self) -> NDArray[np.int64]:
        """Return (T,) the fold of each event, whose events are scored without one another.

        It is the sequence; where single events are the items, a quarter of what was learnt of it, or what was not. An
        event that is left out alone is vouched for by the others of its visit.
        """
        if self.learnt is None:
            return self.sequence_of_event()
        context_T, learnt_T = np.repeat(self.context, self.lengths), np.repeat(self.learnt, self.lengths)
        position_T = self.position()
        counted_T = (position_T >= context_T) & (position_T < learnt_T)
        fold_T = np.where(counted_T, position_T * FOLDS // np.maximum(learnt_T, 1), FOLDS)
        return self.sequence_of_event() * (FOLDS + 1) + fold_T

    def events_of(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flat places of the events of some sequences, and the offsets these then have."""
        return runs(self.offsets[indices], self.lengths[indices])

    def take(self, indices: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> SequenceStore:
        """Return a store of the named sequences, in that order, copied into memory."""
        index = np.asarray(indices)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        places, offsets = self.events_of(index)
        flat: dict[str, Any] = {name: rows_at(getattr(self, name), places) for name in FLAT}
        return replace(
            self,
            **flat,
            offsets=offsets,
            entity=self.entity[index],
            context=self.context[index],
            sequence_ids=self.sequence_ids[index],
            entity_ids=self.entity_ids[index],
            event_ids=None if self.event_ids is None else self.event_ids[places],
            pause=None if self.pause is None else self.pause[index],
            silence=None if self.silence is None else self.silence[index],
            edited_from=None if self.edited_from is None else self.edited_from[index],
            learnt=None if self.learnt is None else self.learnt[index],
        )

    def keep_events(self, kept_T: NDArray[np.bool_]) -> SequenceStore:
        """Return a store of the same sequences with some of their events, copied into memory."""
        counts, kept = self._counts(kept_T), np.flatnonzero(kept_T)
        flat: dict[str, Any] = {name: rows_at(getattr(self, name), kept) for name in FLAT}
        return replace(
            self,
            **flat,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            context=np.minimum(self.context, counts),
            event_ids=None if self.event_ids is None else self.event_ids.filter(pl.Series(kept_T)),
            silence=None if self.silence is None else np.where(self.ends_with(kept_T), self.silence, np.float32(0)),
            learnt=None if self.learnt is None else self._counts(kept_T & self.was_learnt()),
        )

    def was_learnt(self) -> NDArray[np.bool_]:
        """Return (T,) whether each event is one of the leading ones that were learnt; none where that is not known."""
        learnt_N = np.zeros(len(self), np.int64) if self.learnt is None else self.learnt
        return self.position() < np.repeat(learnt_N, self.lengths)

    def _counts(self, some_T: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(self.sequence_of_event()[some_T], minlength=len(self))

    def ends_with(self, kept_T: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return (N,) whether the last event of each sequence is among some events."""
        last = (self.offsets[1:] - self.offsets[0] - 1)[self.lengths > 0]
        ends = np.zeros(len(self), bool)
        ends[self.lengths > 0] = kept_T[last]
        return ends

    def for_edits(self) -> SequenceStore:
        """Return the store whose copies stay known as its sequences whatever is changed in them."""
        return replace(self, edited_from=self.keys())

    def keys(self) -> NDArray[np.uint64]:
        """Return (N,) a digest of each sequence's content: codes, values, gaps, entity and length."""
        if self.edited_from is not None:
            return self.edited_from
        filled, sums = self.lengths > 0, np.zeros(len(self), np.uint64)
        if filled.any():
            # reduceat runs from one named start to the next, so empty sequences must not name theirs.
            sums[filled] = np.add.reduceat(self._digests(), self.offsets[:-1][filled])
        return _sealed(sums, self.lengths, self.entity)

    def longest_known(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return (N,) the length of each sequence's longest beginning whose key is one of some (sorted), else 0."""
        length_N = np.zeros(len(self), np.int64)
        if not len(keys) or not self.n_events:
            return length_N
        flat, owner, length_T = self._digests(), self.sequence_of_event(), self.position() + 1
        # A key is made of a sum, so those of all beginnings are made of the running one.
        sums = np.cumsum(flat)
        sums -= np.append(np.uint64(0), sums)[self.offsets[:-1] - self.offsets[0]][owner]
        found = _sealed(sums, length_T, self.entity[owner])
        known = keys[np.minimum(np.searchsorted(keys, found), len(keys) - 1)] == found
        np.maximum.at(length_N, owner[known], length_T[known])
        return length_N

    def _digests(self) -> NDArray[np.uint64]:
        """Return (T,) a digest of each event and its place in the sequence."""
        flat = np.zeros(self.n_events, np.uint64)
        columns = [*self.codes.T, *self.values.view(np.uint32).T, np.nan_to_num(self.delta).view(np.uint32)]
        for column in columns:
            flat = _mix(flat ^ column.astype(np.uint64))
        # Weighting by the position before summing keeps the order of events in the digest.
        return _mix(flat ^ self.position().astype(np.uint64))

    def save(self, folder: Path | str) -> Path:
        """Write the store as a folder of npy and Arrow files; the folder must not hold a store."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        around = [name for name in _AROUND if getattr(self, name) is not None]
        for name in (*FLAT, *_RAGGED, *around):
            array, path = getattr(self, name), folder / f"{name}.npy"
            if isinstance(array, np.memmap) and Path(str(array.filename)).resolve() == path.resolve():
                array.flush()  # It was made in place.
            else:
                np.save(path, array)
        self._save_ids(folder)
        return folder

    def _save_ids(self, folder: Path) -> None:
        ids = pl.DataFrame({"sequence": self.sequence_ids, "entity": self.entity_ids})
        ids.write_ipc(folder / "ids.arrow")
        if self.event_ids is not None:
            self.event_ids.to_frame("id").write_ipc(folder / "event_ids.arrow")
        meta = {
            "fields": [asdict(f) for f in self.fields],
            "value_names": self.value_names,
            "n_entities": self.n_entities,
            "closed": self.closed,
            "has_time": self.has_time,
            "extra": self.extra,
        }
        (folder / "store.json").write_text(json.dumps(meta, indent=1))

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Map a saved store; nothing is read until it is used.

        Raises
        ------
        ArtifactError
            If the folder holds no complete store.
        """
        folder = Path(folder)
        try:
            meta = json.loads((folder / "store.json").read_text())
            ids = pl.read_ipc(folder / "ids.arrow")
            around = [name for name in _AROUND if (folder / f"{name}.npy").exists()]
            names = (*FLAT, *_RAGGED, *around)
            arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in names}
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise ArtifactError(f"{folder}: no complete sequence store ({error})") from error
        events = folder / "event_ids.arrow"
        return cls(
            fields=tuple(Field(**f) for f in meta["fields"]),
            value_names=tuple(meta["value_names"]),
            sequence_ids=ids["sequence"],
            entity_ids=ids["entity"],
            event_ids=pl.read_ipc(events)["id"] if events.exists() else None,
            n_entities=meta["n_entities"],
            closed=meta["closed"],
            has_time=meta["has_time"],
            extra=meta["extra"],
            **arrays,
        )

    @classmethod
    def from_codes(
        cls,
        codes: NDArray[Any],
        lengths: Sequence[int] | NDArray[np.int64],
        *,
        fields: Sequence[Field] | None = None,
        delta: NDArray[np.float32] | None = None,
        values: NDArray[np.float32] | None = None,
        entity: NDArray[np.int32] | None = None,
        closed: bool = True,
    ) -> Self:
        """Build a store in memory from codes that are already there (codes from `FIRST_VALUE` on are values).

        Parameters
        ----------
        codes : (T, F) or (T,) integers
        lengths : (N,) events per sequence, summing to T
        """
        codes = np.atleast_2d(np.asarray(codes).T).T
        sizes = codes.max(axis=0, initial=FIRST_VALUE) + 1
        if fields is None:
            fields = [Field(f"field{k}", "categorical", int(size)) for k, size in enumerate(sizes)]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        n, t = len(offsets) - 1, len(codes)
        if offsets[-1] != t:
            raise DataError(f"lengths sum to {offsets[-1]}, but there are {t} events")
        entity = np.zeros(n, np.int32) if entity is None else np.asarray(entity, np.int32)
        steps = np.zeros(t, np.float32) if delta is None else np.asarray(delta, np.float32)
        return cls(
            fields=tuple(fields),
            codes=codes.astype(np.int32),
            value_names=() if values is None else tuple(f"value{g}" for g in range(values.shape[1])),
            values=np.zeros((t, 0), np.float32) if values is None else np.asarray(values, np.float32),
            delta=steps if delta is not None else np.full(t, np.nan, np.float32),
            time=(np.cumsum(steps.astype(np.float64)) * 1e6).astype(np.int64),
            row=np.arange(t),
            offsets=offsets,
            entity=entity,
            context=np.zeros(n, np.int64),
            sequence_ids=pl.Series("sequence", np.arange(n)),
            entity_ids=pl.Series("entity", entity),
            n_entities=int(entity.max(initial=0)) + 1,
            closed=closed,
            has_time=delta is not None,
        )


def runs(begin: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of runs of neighbours, given where each begins and its length, and the offsets these have."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], lengths), offsets


def rows_at(column: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Return ``column[places]`` of (T,) or (T, k) in memory: as a take, several times faster than as an index."""
    return np.take(np.asarray(column), places, axis=0)


def put_rows(column: NDArray[Any], places: NDArray[Any], rows: NDArray[Any]) -> None:
    """Write (n, k) rows to ``column[places]`` of (T, k), both contiguous: a row as one item, which is faster too."""
    if column.shape[1]:
        whole = np.dtype((np.void, column.itemsize * column.shape[1]))
        column.view(whole)[places] = rows.view(whole)


def _sealed(sums: NDArray[np.uint64], length: NDArray[np.int64], entity: NDArray[np.int32]) -> NDArray[np.uint64]:
    return _mix(_mix(sums ^ length.astype(np.uint64)) ^ entity.astype(np.uint64))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalise 64 bits so that every input bit moves every output bit (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
