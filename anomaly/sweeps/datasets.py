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

from anomaly.base import FeatureMatrix
from anomaly.errors import ConfigError, DataError
from anomaly.events.tabular import read_npz
from anomaly.sweeps.folder import LabelledFolder, find_folders, read_folder
from anomaly.sweeps.splits import halves, label_budget
from anomaly.sweeps.task import SequenceTask, TableTask, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.sweeps.task import Task

TABLES = (".npz", ".csv", ".parquet")
ANOMALOUS, UNKNOWN = ("1", "1.0", "true", "anomaly", "outlier"), ("-1", "-1.0", "nan")
"""What a label column says of an anomalous row, and of one of which nothing is known, as where it is empty; the rest is
normal."""


@dataclass(frozen=True)
class TableSet:
    """A file of numeric columns and a label: npz with `X` and `y`, or CSV or Parquet with a column `label`.

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
    def floors(self) -> dict[str, Any]:
        """Return what people know about the set: nothing."""
        return {}

    def draws(self, labels: float | None) -> bool:
        """Return whether the seed decides which rows are read."""
        return labels is not None or (self.rows is not None and self._n > self.rows)

    def task(self, seed: int, labels: float | None = None) -> Task:
        """Return all rows to fit and score; under a label budget, halves without duplicates, the first one labelled."""
        X, chosen = self._drawn(seed)
        if labels is None:
            whole = self._matrix(X[chosen])
            return TableTask(self.name, whole, whole, seed=seed, rows=chosen)
        truth = self._labels()
        chosen = chosen[np.unique(digest(X[chosen]), return_index=True)[1]]
        first, second = halves(truth[chosen], seed)
        fit, score = chosen[first], chosen[second]
        known = label_budget(truth[fit], labels, seed)
        return TableTask(self.name, self._matrix(X[fit]), self._matrix(X[score]), seed=seed, rows=score, labels=known)

    def truth(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return (n,) the labels of rows by their place in the file."""
        labels = self._labels()
        if len(ids) and int(ids.to_numpy().max()) >= len(labels):
            raise DataError(f"{self.path}: {len(labels)} labels, and more rows")
        truth: NDArray[np.int64] = labels[ids.to_numpy()]
        return truth

    def _drawn(self, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        X = self._values()
        if self.rows is None or len(X) <= self.rows:
            return X, np.arange(len(X))
        drawn = np.random.default_rng(seed).choice(len(X), self.rows, replace=False)
        return X, np.sort(drawn)

    def _matrix(self, values: NDArray[np.float32]) -> FeatureMatrix:
        return FeatureMatrix(values, tuple(self._names()))

    @cached_property
    def _n(self) -> int:
        return len(self._labels())

    def _names(self) -> list[str]:
        if self.path.suffix == ".npz":
            return [f"x{k}" for k in range(self._values().shape[1])]
        return [name for name in self._frame().columns if name != "label"]

    def _values(self) -> NDArray[np.float32]:
        if self.path.suffix != ".npz":
            columns = self._frame().drop("label")
            wrong = [name for name, dtype in columns.schema.items() if not (dtype.is_numeric() or dtype == pl.Boolean)]
            if wrong:
                raise DataError(f"{self.path}: column {wrong[0]} is not numeric; leave it out or encode it")
            return columns.cast(pl.Float32).to_numpy()
        values = _member(self.path, "X")
        if values.ndim != 2:
            raise DataError(f"{self.path}: X has shape {values.shape}, expected (rows, columns)")
        return values.astype(np.float32)

    def _labels(self) -> NDArray[np.int64]:
        if self.path.suffix == ".npz":
            return np.asarray(_member(self.path, "y"), np.int64).reshape(-1)
        text = pl.col("label").cast(pl.String).str.to_lowercase()
        known = pl.when(text.is_null() | text.is_in(UNKNOWN)).then(-1).otherwise(text.is_in(ANOMALOUS).cast(pl.Int64))
        labels: NDArray[np.int64] = self._frame().select(known).to_series().to_numpy()
        return labels

    def _frame(self) -> pl.DataFrame:
        if self.path.suffix == ".parquet":
            frame = pl.read_parquet(self.path)
        else:
            # The first rows alone may not tell a column of floats from one of whole numbers.
            frame = pl.read_csv(self.path, infer_schema_length=None)
        if "label" not in frame.columns:
            raise DataError(
                f"{self.path}: no column label, which holds 1, 0 or -1; there are {', '.join(frame.columns[:8])}"
            )
        return frame


@dataclass(frozen=True)
class SequenceSet:
    """A labelled folder of events; see `anomaly.sweeps.folder`."""

    folder: LabelledFolder
    kind: ClassVar[str] = "sequences"
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


def _member(path: Path, name: str) -> NDArray[Any]:
    values = read_npz(path, name)
    if values is None:
        raise DataError(f"{path}: no array {name}")
    return values


def _digest(paths: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
