"""A simulated log and the truth about it, as Polars frames and Parquet files. T events, N sessions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.atomic import replacing
from anomaly.simulation.log import EVENTS, NONE, Log, first_of_session
from anomaly.simulation.population import CATEGORIES

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_PREFIX = {"user": "u", "seller": "m", "item": "i", "device": "d", "address": "a", "card": "c"}


@dataclass(frozen=True)
class Simulated:
    """Events as a shop would log them, and the truth beside them.

    Attributes
    ----------
    events : (T) event_id, user, session, time, event, category, seller, item, amount, device, address, card, rating;
        in the order of time; nothing in it tells a label
    labels : (N) sequence (the session), entity (the user), label, typology, split ("train" for sessions that start in
        the first 70% of the time, else "test")
    event_labels : (T) id (the event_id), sequence, position, label, typology; label 1 where the event itself is part of
        the deed, which leaves out what a fraudster does to look usual
    """

    events: pl.DataFrame
    labels: pl.DataFrame
    event_labels: pl.DataFrame

    def save(self, folder: Path | str) -> Path:
        """Write events.parquet, labels.parquet and event_labels.parquet, each complete or not at all.

        Events never lie beside the truth of others: the old ones go first, the new ones come last.

        Raises
        ------
        ArtifactError
            If the folder cannot be written to.
        """
        folder = Path(folder)
        with ExitStack() as stack:
            # What is entered last takes its place first.
            for name in ("events", "labels", "event_labels"):
                part = stack.enter_context(replacing(folder / f"{name}.parquet"))
                getattr(self, name).write_parquet(part)
            (folder / "events.parquet").unlink(missing_ok=True)
        return folder


def to_frames(
    log: Log, kinds: Ints, names: tuple[str, ...], start: datetime, split: datetime, rng: np.random.Generator
) -> Simulated:
    """Name everything anew, in an order that tells nothing, and lay out events and truth.

    Parameters
    ----------
    kinds : (sessions of the log) 0 for honest ones, k for the typology ``names[k]``
    """
    kind = kinds[log.session]
    session, position = _number_sessions(log)
    order = np.argsort(log.time, kind="stable")
    log, session, position, kind = log.take(order), session[order], position[order], kind[order]
    typology = pl.Series(names, dtype=pl.String)
    events = _events_frame(log, session, start, rng)
    label = log.marked & (kind > 0)
    event_labels = pl.DataFrame(
        {
            "id": events["event_id"],
            "sequence": events["session"],
            "position": position,
            "label": label.astype(np.int64),
            "typology": typology.gather(np.where(label, kind, 0)),
        }
    )
    begins = np.flatnonzero(position == 0)
    return Simulated(events, _labels_frame(events[begins], kind[begins], typology, split), event_labels)


def _labels_frame(firsts: pl.DataFrame, kind: Ints, typology: pl.Series, split: datetime) -> pl.DataFrame:
    """Return the truth per session, given the first event of each."""
    return firsts.select(
        sequence="session",
        entity="user",
        label=pl.lit(pl.Series((kind > 0).astype(np.int64))),
        typology=pl.lit(typology.gather(kind)),
        split=pl.when(pl.col("time") < split).then(pl.lit("train")).otherwise(pl.lit("test")),
    )


def _number_sessions(log: Log) -> tuple[Ints, Ints]:
    """Return (T,) sessions numbered by when they start, and (T,) positions; a session lies together, in order."""
    first = first_of_session(log.session)
    place = np.arange(len(log))
    starts = np.flatnonzero(first == place)
    number = np.empty(len(starts), np.int64)
    number[np.argsort(log.time[starts], kind="stable")] = np.arange(len(starts))
    return np.repeat(number, np.diff(np.append(starts, len(log)))), place - first


def _events_frame(log: Log, session: Ints, start: datetime, rng: np.random.Generator) -> pl.DataFrame:
    origin = int(start.timestamp() * 1e6)
    time = pl.Series(origin + (log.time * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
    named = {name: _anonymous(getattr(log, name), prefix, rng) for name, prefix in _PREFIX.items()}
    return pl.DataFrame(
        {
            "event_id": np.arange(len(log)),
            "user": named["user"],
            "session": _name(np.arange(int(session.max(initial=-1)) + 1), "s").gather(session),
            "time": time,
            "event": pl.Series(EVENTS).gather(log.event),
            "category": _gather(pl.Series(CATEGORIES), log.category),
            "seller": named["seller"],
            "item": named["item"],
            "amount": pl.Series(log.amount).fill_nan(None),
            "device": named["device"],
            "address": named["address"],
            "card": named["card"],
            "rating": pl.Series(log.rating).replace(NONE, None),
        }
    )


def _anonymous(codes: NDArray[np.int32], prefix: str, rng: np.random.Generator) -> pl.Series:
    """Return names whose order has nothing to do with that of the codes, null for `NONE`."""
    used = np.zeros(int(codes.max(initial=-1)) + 1, bool)
    used[codes[codes >= 0]] = True
    number = np.zeros(len(used), np.int64)
    number[used] = rng.permutation(int(used.sum()))
    return _gather(_name(number, prefix), codes)


def _name(numbers: Ints, prefix: str) -> pl.Series:
    width = max(4, len(str(int(numbers.max(initial=0)))))
    return pl.select(pl.lit(prefix) + pl.Series(numbers).cast(pl.String).str.zfill(width)).to_series()


def _gather(values: pl.Series, codes: NDArray[np.int32]) -> pl.Series:
    index = pl.Series(codes).cast(pl.Int64)
    index = index.set(index < 0, None)
    return values.gather(index)
