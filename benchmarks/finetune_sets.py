"""Sets on which a few labels are learnt: what is trained on without labels, what is labelled, and what is judged.

Labels come from the earlier half of the labelled items, figures from the later half, which gives none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

SIZES = (10, 50, 200)
WEEKS = (datetime(2018, 7, 18), datetime(2018, 8, 1), datetime(2018, 8, 8), datetime(2018, 8, 15))
"""Of fraud_handbook: two weeks that are trained on, one that is labelled, one that is judged."""


@dataclass(frozen=True)
class Task:
    """One set.

    Attributes
    ----------
    fit, labelled, judged : rows
    labels : key and label
    roles : of the columns, as `anomaly.train` takes them
    unit : of the run
    sizes : numbers of labels
    """

    name: str
    fit: pl.DataFrame
    labelled: pl.DataFrame
    judged: pl.DataFrame
    labels: pl.DataFrame
    roles: dict[str, Any]
    unit: str = "sequence"
    sizes: tuple[int, ...] = SIZES

    @property
    def key(self) -> str:
        """Return the labels' key."""
        return "id" if self.unit == "event" else "sequence"

    def history(self, judged: bool) -> pl.DataFrame | None:
        """Return what is the past of the labelled or of the judged rows, where the item is an event."""
        if self.unit == "sequence":
            return None
        return pl.concat([self.fit, self.labelled]) if judged else self.fit


def read_task(name: str, *, quick: bool = False) -> Task:
    """Return a set by its name; "shop" is simulated."""
    if name == "shop":
        return _shop(users=300 if quick else 2000)
    folder = Path(os.environ["ANOMALY_DATA"]) / "sequences" / name
    events = pl.read_parquet(folder / "events.parquet")
    labels = pl.read_parquet(folder / ("event_labels.parquet" if name == "fraud_handbook" else "labels.parquet"))
    return {"schonlau_sea": _schonlau, "btc_otc": _btc, "fraud_handbook": _fraud}.get(name, _declarations)(
        name, events, labels
    )


def _shop(users: int) -> Task:
    from anomaly.simulation.shop import Shop

    simulated = Shop(users=users, sessions_per_user=8, camouflage=0.6, random_state=11).simulate()
    events = simulated.events
    early, late = _halves(events, "session", "time")
    roles = {"entity": "user", "sequence": "session"}
    return Task("shop", events, early, late, simulated.labels.select("sequence", "label"), roles)


def _schonlau(name: str, events: pl.DataFrame, labels: pl.DataFrame) -> Task:
    roles = {"entity": "user", "sequence": "sequence_id", "order": ["block", "position"], "categorical": ["event"]}
    block = events["block"]
    parts = [events.filter(block < 50), events.filter((block >= 50) & (block < 100)), events.filter(block >= 100)]
    return Task(name, *parts, _keyed(labels, "sequence_id"), roles | {"numeric": [], "time": None, "id": None})


def _declarations(name: str, events: pl.DataFrame, labels: pl.DataFrame) -> Task:
    roles = {"entity": None, "sequence": "sequence_id", "order": "position", "time": "timestamp"}
    inputs = {"categorical": ["event", "org_resource", "org_role"], "numeric": [], "id": None}
    return Task(name, events, *_halves(events, "sequence_id"), _keyed(labels, "sequence_id"), roles | inputs)


def _btc(name: str, events: pl.DataFrame, labels: pl.DataFrame) -> Task:
    roles = {"entity": "sequence_id", "sequence": "sequence_id", "order": "position", "time": "timestamp"}
    known = labels.filter(pl.col("label") >= 0)["sequence_id"]
    early, late = _halves(events, "sequence_id", among=known)
    inputs = {"categorical": ["event"], "numeric": ["rating"], "id": None}
    return Task(name, events, early, late, _keyed(labels, "sequence_id"), roles | inputs, sizes=(10, 50, 100))


def _fraud(name: str, events: pl.DataFrame, labels: pl.DataFrame) -> Task:
    roles = {"id": "event_id", "entity": "customer", "sequence": "customer", "time": "timestamp", "order": None}
    events, time = events.drop("split"), pl.col("timestamp")
    weeks = pairwise(WEEKS)
    parts = [events.filter((time >= begin) & (time < end)) for begin, end in weeks]
    inputs = {"categorical": ["terminal"], "numeric": ["amount"]}
    keyed = labels.select(pl.col("event_id").alias("id"), "label")
    return Task(name, *parts, keyed, roles | inputs, unit="event")


def _halves(
    events: pl.DataFrame, sequence: str, time: str = "timestamp", among: pl.Series | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the sequences that end before the median end, and the others."""
    ends = events.group_by(sequence).agg(pl.col(time).max().alias("__end"))
    counted = ends if among is None else ends.filter(pl.col(sequence).is_in(among.implode()))
    early = ends.filter(pl.col("__end") <= counted["__end"].median())[sequence]
    inside = events[sequence].is_in(early.implode())
    return events.filter(inside), events.filter(~inside)


def _keyed(labels: pl.DataFrame, key: str) -> pl.DataFrame:
    return labels.select(pl.col(key).alias("sequence"), "label")
