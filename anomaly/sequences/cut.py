"""Rows to sequences: who owns each row, in what order, and where one sequence ends.

Shapes: T rows, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.errors import DataError
from anomaly.events.schema import seconds
from anomaly.events.times import NO_TIME
from anomaly.sequences.sort import Integers, sort_rows
from anomaly.sequences.store import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.spine import Key, Spine


@dataclass(frozen=True)
class Cut:
    """The rows in their order and the sequences they form.

    Attributes
    ----------
    order : (T',) places in the spine, sequence by sequence; sequences that lie wholly in the past are left out
    offsets : (N + 1,)
    context : (N,) leading rows that are the past
    owner : (N,) rank of the entity among `entities`; 0 everywhere where there is none
    pause : (N,) float32 seconds since the newest event of the entity's sequence before, which may lie in the past; NaN
        where there is none or no time
    ids, entity_ids : N ids
    entities : distinct entities, or None
    """

    order: NDArray[np.int64]
    offsets: NDArray[np.int64]
    context: NDArray[np.int64]
    owner: NDArray[np.int64]
    pause: NDArray[np.float32]
    ids: pl.Series
    entity_ids: pl.Series
    entities: pl.Series | None


def cut(spine: Spine) -> Cut:
    """Sort the rows and cut them into sequences as the schema says."""
    sequence, entity = spine.key("sequence"), spine.key("entity")
    group = sequence if sequence is not None else entity
    order = _sort(spine, group)
    starts = _starts(spine, group, order)
    offsets = np.append(starts, len(order)).astype(np.int64)
    owner = np.zeros(len(starts), np.int64)
    if entity is not None:
        owner = entity.codes[order[starts]].astype(np.int64)
        if sequence is not None:
            _check_owners(entity, sequence, order, starts)
    ids = _ids(group, order[starts], built=sequence is None)
    names = entity.values[owner] if entity is not None else pl.Series("entity", [None] * len(ids), dtype=pl.String)
    context = _context(spine, order, offsets)
    entities = None if entity is None else entity.values
    whole = Cut(order, offsets, context, owner, np.empty(0, np.float32), ids, names, entities)
    if sequence is not None or spine.n_past:
        return _arrange(spine, whole)
    return replace(whole, pause=_pause(spine, whole, np.arange(len(owner))))


def _sort(spine: Spine, group: Key | None) -> NDArray[np.int64]:
    """Order rows by group, past before present, the order columns, time, and place in the file."""
    keys: list[Integers] = [] if group is None else [group.codes]
    if spine.n_past:
        keys.append((np.arange(spine.n_rows) >= spine.n_past).astype(np.int64))
    ordered = spine.schema.names("order")
    keys += [spine.keys[name].codes for name in ordered]
    if spine.schema.time is not None:
        fill = not ordered and bool((spine.time == NO_TIME).any())
        keys.append(_filled(spine, group) if fill else spine.time)
    return sort_rows(keys, spine.n_rows)


def _filled(spine: Spine, group: Key | None) -> NDArray[np.int64]:
    """Give a row without a time that of the row before it in its group, so that it stays where the file has it."""
    time = pl.Series("time", spine.time).replace(NO_TIME, None)
    codes = pl.Series("group", np.zeros(spine.n_rows, np.int32) if group is None else group.codes)
    filled = pl.DataFrame([time, codes]).select(pl.col("time").forward_fill().over("group"))
    time_filled: NDArray[np.int64] = filled["time"].fill_null(NO_TIME).to_numpy()
    return time_filled


def _starts(spine: Spine, group: Key | None, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where sequences start in the sorted rows."""
    first = np.zeros(len(order), bool)
    first[:1] = True
    if group is not None:
        codes = group.codes[order]
        first[1:] = codes[1:] != codes[:-1]
    schema = spine.schema
    if schema.gap is not None:
        time = _carried(spine.time[order], first)
        known = (time[1:] != NO_TIME) & (time[:-1] != NO_TIME)
        first[1:] |= known & (time[1:] - np.where(known, time[:-1], 0) > seconds(schema.gap) * 1e6)
    starts = np.flatnonzero(first)
    if schema.window is not None:
        lengths = np.diff(np.append(starts, len(order)))
        place = np.arange(len(order)) - np.repeat(starts, lengths)
        starts = np.flatnonzero(place % schema.window == 0)
    return starts


def _carried(time: NDArray[np.int64], first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give rows without a time that of the row before them, as far back as to the first of their group."""
    if not (time == NO_TIME).any():
        return time
    places = np.arange(len(time))
    known = np.maximum.accumulate(np.where(time != NO_TIME, places, -1))
    begin = np.maximum.accumulate(np.where(first, places, 0))
    return np.where(known >= begin, time[np.maximum(known, 0)], NO_TIME)


def _check_owners(entity: Key, sequence: Key, order: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
    codes = entity.codes[order]
    torn = codes[1:] != codes[:-1]
    torn[starts[1:] - 1] = False
    if torn.any():
        place = int(np.flatnonzero(torn)[0])
        name = sequence.values[int(sequence.codes[order[place]])]
        one, other = entity.values[int(codes[place])], entity.values[int(codes[place + 1])]
        raise DataError(
            f"sequence {name!r} (column {sequence.values.name}) occurs under two entities, {one!r} and {other!r} "
            f"(column {entity.values.name}); make its ids unique, state another events.entity, or cut by silences: "
            "events.sequence=null events.gap=30m"
        )


def _ids(group: Key | None, rows: NDArray[np.int64], *, built: bool) -> pl.Series:
    """Return the ids of sequences by their first rows; those that are built are ``<entity>#<n>``."""
    if group is None:
        return pl.Series("sequence", [f"all#{n}" for n in range(len(rows))])
    codes = group.codes[rows].astype(np.int64)
    names = group.values[codes]
    if not built:
        return names.alias("sequence")
    first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])) if len(codes) else np.zeros(0, np.int64)
    number = np.arange(len(codes)) - np.repeat(first, np.diff(np.append(first, len(codes))))
    texts = pl.DataFrame([names.cast(pl.String).alias("e"), pl.Series("n", number)])
    return texts.select(sequence=pl.concat_str("e", pl.lit("#"), "n"))["sequence"]


def _context(spine: Spine, order: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    if not spine.n_past:
        return np.zeros(len(offsets) - 1, np.int64)
    past = np.concatenate([[0], np.cumsum(order < spine.n_past)])
    context: NDArray[np.int64] = past[offsets[1:]] - past[offsets[:-1]]
    return context


def _pause(spine: Spine, whole: Cut, rank: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (N,) `Cut.pause` of sequences whose order within their entities is `rank`."""
    pause = np.full(len(rank), np.nan, np.float32)
    if whole.entities is None or spine.schema.time is None:
        return pause
    time, owner = spine.time[whole.order], whole.owner[rank]
    first, newest = time[whole.offsets[:-1]][rank], np.maximum.reduceat(time, whole.offsets[:-1])[rank]
    follows = (owner[1:] == owner[:-1]) & (first[1:] != NO_TIME) & (newest[:-1] != NO_TIME)
    pause[rank[1:][follows]] = np.maximum(first[1:][follows] - newest[:-1][follows], 0) * 1e-6
    return pause


def _arrange(spine: Spine, whole: Cut) -> Cut:
    """Put an entity's sequences in the order of their first rows, and leave out those that lie wholly in the past."""
    first = whole.order[whole.offsets[:-1]]
    ordered = spine.schema.names("order")
    keys: list[Integers] = [whole.owner, *(spine.keys[name].codes[first] for name in ordered[:-1])]
    if spine.schema.time is not None:
        keys.append(spine.time[first])
    keys += [spine.keys[name].codes[first] for name in ordered[-1:]]
    rank = sort_rows([*keys, first], len(first)) if spine.schema.sequence else np.arange(len(first))
    lengths = np.diff(whole.offsets)
    pause = _pause(spine, whole, rank)
    rank = rank[lengths[rank] > whole.context[rank]]
    places, offsets = runs(whole.offsets[:-1][rank], lengths[rank])
    return Cut(
        order=whole.order[places],
        offsets=offsets,
        context=whole.context[rank],
        owner=whole.owner[rank],
        pause=pause[rank],
        ids=whole.ids[rank],
        entity_ids=whole.entity_ids[rank],
        entities=whole.entities,
    )
