"""A labelled folder: dataset.yaml, events.parquet, and labels.parquet or event_labels.parquet.

dataset.yaml says what is read:

    role: benchmark
    events: {entity: user, sequence: session, order: [day, position], time: t, categorical: [event], numeric: []}
    fit: all                     all | {split: train} | {before: 2024-05-01} | {from: 2024-05-01}; keys may be joined
    score: {split: test}         the same
    history: {before: ...}       the same, or left out: rows that are the past of the scored ones
    level: sequence              or event
    labels: {path: labels.parquet, id: session, label: label, split: split}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from anomaly.errors import ConfigError, DataError, SchemaError
from anomaly.events.times import NO_TIME, parse_time

Which = str | dict[str, Any]
"""`all`, or what the rows have in common: `split`, `before`, `from`."""

ROLES = ("entity", "sequence", "time", "order", "id", "categorical", "numeric", "shared")
_KEYS = ("split", "before", "from")


@dataclass(frozen=True)
class LabelledFolder:
    """What dataset.yaml says.

    Attributes
    ----------
    events : overrides of the group `events`; roles that are not named are stated to be none, so nothing is guessed
    fit, score, history : which rows
    level : "sequence" or "event"
    labels : path, id, label, split
    role : "benchmark", "smoke" or another
    """

    path: Path
    events: dict[str, Any]
    fit: Which
    score: Which
    history: Which | None
    level: str
    labels: dict[str, str]
    role: str = "benchmark"
    floors: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.path.resolve().name

    @property
    def scores_what_it_fits(self) -> bool:
        """Whether the scored rows are the fitted ones."""
        return self.fit == self.score

    @property
    def item(self) -> str:
        """Return the column of the events that the labels' key names."""
        name: str | None = self.events["id" if self.level == "event" else "sequence"]
        if name is None:
            raise ConfigError(
                f"{self.path}/dataset.yaml: events has no {'id' if self.level == 'event' else 'sequence'}"
            )
        return name

    def read_events(self) -> pl.DataFrame:
        """Return the rows of the stated columns, and the column `split` where it is needed to choose among them."""
        scan = pl.scan_parquet(self.path / "events.parquet")
        have = scan.collect_schema().names()
        missing = [name for name in self.columns if name not in have]
        if missing:
            raise SchemaError(
                f"{self.path}/events.parquet: no column {', '.join(missing)}; there are {', '.join(have)}"
            )
        if not self._splits:
            return scan.select(self.columns).collect()
        if self.split in have:
            return scan.select(*self.columns, pl.col(self.split).alias("split")).collect()
        key = pl.col(self.labels["id"]).alias(self.item)
        # Only key and split are read here: no label is in memory before the scores are.
        splits = pl.scan_parquet(self._labels).select(key, pl.col(self.split).alias("split"))
        return scan.select(self.columns).join(splits, on=self.item, how="left", maintain_order="left").collect()

    def rows(self, events: pl.DataFrame, which: Which) -> pl.DataFrame:
        """Return the chosen rows, in the stated columns.

        Raises
        ------
        DataError
            If none is left.
        """
        chosen = events.filter(self._condition(events, which)).select(self.columns)
        if not chosen.height:
            raise DataError(f"{self.path}: no row is {which}")
        return chosen

    def read_labels(self) -> pl.DataFrame:
        """Return `item` and `label` in {1, 0, -1}; call it when the scores are there."""
        columns = [pl.col(self.labels["id"]).alias("item"), pl.col(self.labels["label"]).fill_null(-1).alias("label")]
        return pl.read_parquet(self._labels).select(columns)

    @property
    def columns(self) -> list[str]:
        """Return the columns with a role, once each."""
        names = (name for role in ROLES for name in _list(self.events[role]))
        return list(dict.fromkeys(names))

    @property
    def split(self) -> str:
        """Return the name of the column that splits the rows."""
        return self.labels.get("split", "split")

    @property
    def _splits(self) -> bool:
        return any(isinstance(w, dict) and "split" in w for w in (self.fit, self.score, self.history))

    @property
    def _labels(self) -> Path:
        return self.path / self.labels["path"]

    def _condition(self, events: pl.DataFrame, which: Which) -> pl.Expr:
        conditions = [pl.lit(True)]
        for key, value in which.items() if isinstance(which, dict) else ():
            if key == "split":
                conditions.append(pl.col("split") == value)
            else:
                time, moment = self._times(events, value)
                conditions.append(pl.lit(time < moment if key == "before" else time >= moment))
        return pl.all_horizontal(conditions)

    def _times(self, events: pl.DataFrame, value: Any) -> tuple[pl.Series, float]:
        """Return the times and a moment as numbers: as they stand, or of dates and text as microseconds since 1970."""
        if self.events["time"] is None:
            raise ConfigError(f"{self.path}/dataset.yaml: rows by date need events.time")
        column = events[self.events["time"]]
        try:
            if column.dtype.is_numeric():
                return column, float(value)
            moment = pl.Series([datetime.fromisoformat(str(value))])
        except ValueError as error:
            raise ConfigError(f"{self.path}/dataset.yaml: {value!r} is no time as {column.name} holds them") from error
        time = pl.Series(parse_time(column))
        return time.set(time == NO_TIME, None), int(parse_time(moment)[0])


def read_folder(path: Path) -> LabelledFolder:
    """Read dataset.yaml.

    Raises
    ------
    ConfigError
        If the file is not there or says what cannot be.
    """
    from omegaconf import OmegaConf

    file = path / "dataset.yaml"
    if not file.is_file():
        raise ConfigError(
            f"{file}: no such file; a labelled folder has one beside events.parquet and says there what these hold"
        )
    told: Any = OmegaConf.to_container(OmegaConf.load(file))
    for key in ("events", "labels"):
        if not isinstance(told.get(key), dict):
            raise ConfigError(f"{file}: {key} is missing")
    if told["labels"].get("id") is None:
        raise ConfigError(f"{file}: labels.id is missing, the column of the labels that names the item")
    level = told.get("level", "sequence")
    if level not in ("sequence", "event"):
        raise ConfigError(f"{file}: level is sequence or event, got {level!r}")
    which = {key: _which(file, key, told.get(key)) for key in ("fit", "score", "history")}
    return LabelledFolder(
        path=path,
        events={role: None for role in ROLES} | told["events"],
        fit=which["fit"] or "all",
        score=which["score"] or "all",
        history=which["history"],
        level=level,
        labels={"label": "label", "path": _labels_file(level)} | told["labels"],
        role=told.get("role", "benchmark"),
        floors=told.get("floors") or {},
    )


def find_folders(root: Path, names: list[str] | None = None) -> list[LabelledFolder]:
    """Return the named folders below `root`, or all with the role `benchmark`."""
    found = [read_folder(file.parent) for file in sorted(root.glob("*/dataset.yaml"))]
    if names is None:
        return [folder for folder in found if folder.role == "benchmark"]
    by_name = {folder.name: folder for folder in found}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ConfigError(f"{root}: no set {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names]


def _labels_file(level: str) -> str:
    return "event_labels.parquet" if level == "event" else "labels.parquet"


def _which(file: Path, key: str, value: Any) -> Which | None:
    if value is None:
        return None
    if value == "all":
        return "all"
    if not isinstance(value, dict) or not value or set(value) - set(_KEYS):
        raise ConfigError(f"{file}: {key} is all or a mapping of {', '.join(_KEYS)}, got {value!r}")
    return value


def _list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
