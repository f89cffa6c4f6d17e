"""Data sets by name: labelled folders, tables in files, and simulated shops where there is no data.

A set knows its files and their digest; it hands out tasks without labels, and afterwards the truth.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from anomaly.errors import ConfigError, DataError
from anomaly.sweeps.folder import LabelledFolder, find_folders, read_folder
from anomaly.sweeps.splits import halves, label_budget
from anomaly.sweeps.tablerows import encode, read_inputs, read_labels
from anomaly.sweeps.task import SequenceTask, TableTask, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.sweeps.task import Task

TABLES = (".npz", ".csv", ".parquet")
READING = ("events", "sequences", "features")
"""Rooms of the package by which events, and tables with more than numbers, are read."""


@dataclass(frozen=True)
class TableSet:
    """A file of columns and a label: npz with `X` and `y`, or CSV or Parquet with a column `label`.

    Attributes
    ----------
    rows : rows at most, drawn by the seed; None keeps all
    """

    path: Path
    rows: int | None = None
    kind: ClassVar[str] = "table"

    @property
    def name(self) -> str:
        """Return the file's name without its ending."""
        return self.path.stem

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the file."""
        return _digest([self.path])

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Return the rooms of the package by which it is read: an array of numbers is taken as it is."""
        return ("events/tabular.py",) if self.path.suffix == ".npz" else READING

    @property
    def floors(self) -> dict[str, Any]:
        """Return what people know about the set: nothing."""
        return {}

    def draws(self, labels: float | None) -> bool:
        """Return whether the seed decides which rows are read."""
        return labels is not None or (self.rows is not None and self._n > self.rows)

    def task(self, seed: int, labels: float | None = None) -> Task:
        """Return all rows to fit and score; under a label budget, halves without duplicates, the first one labelled."""
        X, roles = read_inputs(self.path)
        chosen = self._drawn(len(X), seed)
        if labels is None:
            whole, _ = encode(self.path, roles, X[chosen], None)
            return TableTask(self.name, whole, whole, seed=seed, rows=chosen)
        truth = read_labels(self.path)
        chosen = chosen[np.unique(digest(X[chosen]), return_index=True)[1]]
        first, second = halves(truth[chosen], seed)
        known = label_budget(truth[chosen[first]], labels, seed)
        fit, score = encode(self.path, roles, X[chosen[first]], X[chosen[second]])
        return TableTask(self.name, fit, score, seed=seed, rows=chosen[second], labels=known)

    def truth(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return (n,) the labels of rows by their place in the file."""
        labels = read_labels(self.path)
        if len(ids) and int(ids.to_numpy().max()) >= len(labels):
            raise DataError(f"{self.path}: {len(labels)} labels, and more rows")
        truth: NDArray[np.int64] = labels[ids.to_numpy()]
        return truth

    def _drawn(self, n: int, seed: int) -> NDArray[np.int64]:
        if self.rows is None or n <= self.rows:
            return np.arange(n)
        return np.sort(np.random.default_rng(seed).choice(n, self.rows, replace=False))

    @cached_property
    def _n(self) -> int:
        return len(read_labels(self.path))


@dataclass(frozen=True)
class SequenceSet:
    """A labelled folder of events; see `anomaly.sweeps.folder`."""

    folder: LabelledFolder
    kind: ClassVar[str] = "sequences"
    rests_on: ClassVar[tuple[str, ...]] = READING
    rows: None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """Return the folder."""
        return self.folder.path

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the folder's files."""
        return _digest(sorted(p for p in self.folder.path.iterdir() if p.suffix in (".parquet", ".yaml")))

    @property
    def floors(self) -> dict[str, Any]:
        """Return the floors that dataset.yaml quotes."""
        return {str(k): str(v) for k, v in self.folder.floors.items()}

    def draws(self, labels: float | None) -> bool:
        """Return whether the seed decides which rows are read: never."""
        return False

    def task(self, seed: int, labels: float | None = None) -> Task:
        """Return the rows that dataset.yaml names.

        Raises
        ------
        ConfigError
            Under a label budget, which only tables have.
        """
        if labels is not None:
            raise ConfigError(f"{self.name}: label budgets are for tables; replay labels on events with anomaly replay")
        return SequenceTask(self.folder, seed=seed)

    def truth(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return (n,) the label of each id, -1 where there is none."""
        return match(self.folder.read_labels(), ids)


DataSet = TableSet | SequenceSet


def find_sets(names: Sequence[str], root: Path | None, rows: int | None = None) -> list[DataSet]:
    """Return the data sets that names stand for.

    Parameters
    ----------
    names : ``sequences``, ``tabular``, ``aad`` (all of a folder below `root`), ``tabular/6_cardio`` (one of them), or
        the path of a labelled folder or of a table
    root : the folder of data
    rows : rows of a table at most

    Raises
    ------
    ConfigError
        If there is no such set.
    """
    found = [each for name in names for each in _find(name, root, rows)]
    return list({each.path.resolve(): each for each in found}.values())


def _find(name: str, root: Path | None, rows: int | None) -> list[DataSet]:
    places = [Path(name)] if root is None else [root / name, Path(name)]
    for path in places:
        if (path / "dataset.yaml").is_file():
            return [SequenceSet(read_folder(path))]
        files = [path] if path.suffix in TABLES else [path.parent / f"{path.name}{suffix}" for suffix in TABLES]
        files = [file for file in files if file.is_file()]
        if files:
            return [TableSet(files[0], rows)]
        if path.is_dir():
            return _inside(path, rows)
    where = " or ".join(str(path) for path in places)
    raise ConfigError(
        f"data={name}: nothing at {where}; expected a folder with dataset.yaml, a table or a folder of these"
    )


def _inside(folder: Path, rows: int | None) -> list[DataSet]:
    if (folder / "events.parquet").is_file():
        # Its labels would pass for a table.
        read_folder(folder)
    tables = sorted((p for p in folder.iterdir() if p.suffix in TABLES), key=lambda p: (p.stat().st_size, p.name))
    sets: list[DataSet] = [SequenceSet(each) for each in find_folders(folder)]
    sets += [TableSet(path, rows) for path in tables]
    if not sets:
        raise ConfigError(f"data={folder}: holds neither labelled folders nor tables ({', '.join(TABLES)})")
    return sets


def match(labels: pl.DataFrame, ids: pl.Series) -> NDArray[np.int64]:
    """Return (n,) the label of each id, -1 where there is none.

    Raises
    ------
    DataError
        If an id is labelled twice or none is labelled.
    """
    if labels["item"].is_duplicated().any():
        raise DataError(f"the labels have {labels['item'].is_duplicated().sum()} repeated ids")
    items = ids.alias("item").to_frame().with_columns(pl.col("item").cast(labels.schema["item"]))
    joined = items.join(labels, on="item", how="left", maintain_order="left")["label"]
    if joined.is_null().all():
        raise DataError(f"no scored id is among the labels; the first is {ids[0]!r}")
    found: NDArray[np.int64] = joined.fill_null(-1).cast(pl.Int64).to_numpy()
    return found


def _digest(paths: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
