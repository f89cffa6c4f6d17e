"""The results: a small Parquet file per cell and competitor, there whole or not at all.

Any number of processes may write into one folder; a killed one leaves the rows that it had finished.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from anomaly.atomic import replacing
from anomaly.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("key", "set", "kind", "competitor", "group"), pl.String),
    **{"seed": pl.Int64, "labels": pl.Float64, "status": pl.String, "reason": pl.String},
    **dict.fromkeys(("auroc", "auroc_low", "auroc_high", "ap", "ap_low", "ap_high"), pl.Float64),
    **dict.fromkeys(("precision", "recall", "prevalence", "repeats"), pl.Float64),
    **dict.fromkeys(("n", "n_anomalous", "n_unknown", "rows"), pl.Int64),
    **dict.fromkeys(("seconds", "prepare_seconds", "fit_seconds", "score_seconds", "peak_mb"), pl.Float64),
    **dict.fromkeys(("limit_seconds", "limit_gb", "threads"), pl.Float64),
    **dict.fromkeys(("fingerprint", "code", "config", "members", "floors", "notes"), pl.String),
    **dict.fromkeys(("versions", "machine", "finished"), pl.String),
}


class ResultStore:
    """Rows by key.

    Parameters
    ----------
    folder : made when the first row is written
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def cells(self) -> Path:
        """Return where the rows lie."""
        return self.folder / "cells"

    def write(self, row: dict[str, Any]) -> None:
        """Keep a row; columns that it does not name are null."""
        # Competitors of one configuration have one key.
        name = hashlib.sha256(str(row["competitor"]).encode()).hexdigest()[:6]
        with replacing(self.cells / f"{row['key']}-{name}.parquet") as temporary:
            pl.DataFrame([row], schema=COLUMNS).write_parquet(temporary)

    def read(self) -> pl.DataFrame:
        """Return all rows.

        Raises
        ------
        ArtifactError
            If the folder holds none.
        """
        rows = list(self._rows())
        if not rows:
            raise ArtifactError(f"{self.folder}: holds no results; make them with anomaly sweep out={self.folder}")
        return pl.concat(rows).sort("set", "competitor", "labels", "seed", "finished", nulls_last=False)

    def by_cell(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the kept rows by their key and competitor."""
        return {(row["key"], row["competitor"]): row for frame in self._rows() for row in frame.iter_rows(named=True)}

    def _rows(self) -> Iterator[pl.DataFrame]:
        for path in sorted(self.cells.glob("*.parquet")):
            if not path.name.startswith("."):
                yield _read(path)


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
        # Rows of an older version may lack columns that are there now.
        missing = [pl.lit(None, dtype).alias(c) for c, dtype in COLUMNS.items() if c not in frame.columns]
        return frame.with_columns(missing).select(list(COLUMNS))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); delete it, and sweep again") from error
