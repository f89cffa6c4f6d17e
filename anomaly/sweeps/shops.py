"""Simulated shops as data sets, for where no data lies: as a labelled folder, or as a table of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.atomic import replacing, replacing_folder
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SHARED = ("sequences", "tabular", "aad")
"""Names of folders of real data; a shop stands in for each."""

_SIZES = {"small": (60, 20), "medium": (300, 45)}
"""Users and days."""

_DATASET = """\
about: a simulated shop; sessions of fraud among those of honest users
role: benchmark
events:
  entity: user
  sequence: session
  time: time
  categorical: [event, category, device]
  numeric: [amount]
fit: {split: train}
score: {split: test}
level: sequence
labels: {path: labels.parquet, id: session, label: label, split: split}
"""


def simulated(name: str, folder: Path) -> list[Path]:
    """Return where the shops that a name stands for lie; what is not there yet is simulated.

    Raises
    ------
    ConfigError
        If no shop has that name.
    """
    first, _, size = name.partition("/")
    if size not in ("", *_SIZES) or first not in ("shop", *SHARED):
        raise ConfigError(f"data={name}: there is shop, shop/small and shop/medium; other data needs ANOMALY_DATA")
    sizes = [size] if size else ["small"] if first == "shop" else list(_SIZES)
    return [_folder(folder / f"shop_{s}", s) if first in ("shop", "sequences") else _table(folder, s) for s in sizes]


def _folder(path: Path, size: str) -> Path:
    if (path / "dataset.yaml").is_file():
        return path
    from anomaly.simulation.shop import Shop

    users, days = _SIZES[size]
    shop = Shop(users=users, days=days, sessions_per_user=8, anomaly_rate=0.05, random_state=11).simulate()
    kept = _without_repeats(shop.events)
    with replacing_folder(path) as draft:
        events = shop.events.filter(pl.col("session").is_in(kept["session"].implode()))
        labels = shop.labels.rename({"sequence": "session"}) if "sequence" in shop.labels.columns else shop.labels
        events.write_parquet(draft / "events.parquet")
        labels.drop("split", strict=False).join(_by_time(kept), on="session").write_parquet(draft / "labels.parquet")
        (draft / "dataset.yaml").write_text(_DATASET, encoding="utf-8")
    return path


def _without_repeats(events: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions with the time of their first event, one of each that do the same at the same pace."""
    second = pl.col("time").diff().dt.total_seconds().fill_null(0)
    told = pl.struct("event", "category", "device", "amount", second=second.over("session"))
    return (
        events.group_by("session", maintain_order=True)
        .agg(begun=pl.col("time").min(), told=told.alias("told"))
        .unique("told", keep="first", maintain_order=True)
        .select("session", "begun")
    )


def _by_time(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions with a column `split`: the first 60% by time are learnt from."""
    cut = sessions["begun"].quantile(0.6, "nearest")
    test = pl.col("begun") > cut
    return sessions.select("session", split=pl.when(test).then(pl.lit("test")).otherwise(pl.lit("train")))


def _table(folder: Path, size: str) -> Path:
    """Return the sessions of a shop as a table of aggregates with a label."""
    path = folder / f"shop_{size}_table.parquet"
    if path.is_file():
        return path
    from anomaly.sweeps.datasets import SequenceSet
    from anomaly.sweeps.folder import read_folder

    told = SequenceSet(read_folder(_folder(folder / f"shop_{size}", size)))
    task = told.task(0)
    features = task.features()[1]
    frame = pl.DataFrame(np.nan_to_num(features.values), schema=list(features.names))
    frame = frame.with_columns(label=pl.Series(told.truth(task.ids)))
    with replacing(path) as temporary:
        frame.write_parquet(temporary)
    return path
