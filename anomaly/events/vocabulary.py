"""The codes of a categorical column.

Shapes: T events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl

from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAD, UNKNOWN, RARE, FIRST_VALUE = 0, 1, 2, 3
"""Codes of every field: padding, a value never seen in `fit`, a value seen too rarely, then the values."""

FieldKind = Literal["categorical", "numeric", "clock"]

_DENSE = 1 << 22
_RARE_PER_VALUE = 10


@dataclass(frozen=True)
class Field:
    """One coded column of an event.

    Attributes
    ----------
    name : the column it came from, or the clock field's name ("hour", "weekday")
    kind : "categorical" codes are values, "numeric" codes are ordered quantile bins, "clock" codes are hours or days
    size : number of codes, the three reserved ones included
    """

    name: str
    kind: FieldKind
    size: int


class Vocabulary(Estimator):
    """The values of one column and their codes, the most frequent first.

    A missing value is a value of its own where `fit` saw one, and unknown where it did not. Of the values that are
    too rare for a code, the ten times `max_size` most frequent are remembered; the others read as unknown.

    Attributes
    ----------
    values_ : values with a code of their own; code `FIRST_VALUE` + place
    rare_ : values seen in `fit` that share the code `RARE`
    missing_ : code of a missing value
    counts_ : (size,) uses of each code in `fit`
    """

    values_: pl.Series
    rare_: pl.Series
    missing_: int
    counts_: NDArray[np.int64]

    def __init__(self, *, max_size: int = 30_000, min_count: int = 1) -> None:
        self.max_size = max_size
        self.min_count = min_count

    @property
    def size(self) -> int:
        """Number of codes, the reserved ones included."""
        return len(self.counts_)

    def fit(self, values: pl.Series, counts: pl.Series) -> Self:
        """Give codes to distinct values that were used `counts` times."""
        table = pl.DataFrame({"value": canonical(values), "count": counts.cast(pl.Int64)})
        n_missing = int(table.filter(pl.col("value").is_null())["count"].sum())
        table = table.drop_nulls("value").sort(["count", "value"], descending=[True, False])
        n_kept = min(int((table["count"] >= self.min_count).sum()), self.max_size)
        rare = table.slice(n_kept)
        self.values_ = table["value"].head(n_kept)
        self.rare_ = rare["value"].head(_RARE_PER_VALUE * self.max_size)
        own = [0, 0, int(rare["count"].sum()), *table["count"].head(n_kept)]
        self.missing_ = len(own) if n_missing else UNKNOWN
        self.counts_ = np.array([*own, n_missing] if n_missing else own, np.int64)
        self._lookup: _Lookup | None = None
        return self

    def transform(self, column: pl.Series) -> NDArray[np.int32]:
        """Return (T,) codes."""
        if getattr(self, "_lookup", None) is None:
            known = pl.concat([self.values_, self.rare_])
            codes = np.full(len(known), RARE, np.int32)
            codes[: len(self.values_)] = np.arange(FIRST_VALUE, FIRST_VALUE + len(self.values_))
            self._lookup = _Lookup(known, codes, unknown=UNKNOWN, missing=self.missing_)
        assert self._lookup is not None
        return self._lookup(column)

    def decode(self, codes: NDArray[Any]) -> pl.Series:
        """Return the values of codes; null where a code stands for no single value."""
        places = codes.astype(np.int64) - FIRST_VALUE
        inside = (places >= 0) & (places < len(self.values_))
        return self.values_.gather(pl.Series(np.where(inside, places, -1)).replace(-1, None).cast(pl.UInt32))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lookup, which `transform` makes again."""
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k != "_lookup"}


class _Lookup:
    """Distinct values to codes by the quickest way their type allows."""

    def __init__(self, known: pl.Series, codes: NDArray[np.int32], *, unknown: int, missing: int) -> None:
        self.unknown, self.missing = unknown, missing
        self.dtype = known.dtype
        self.codes = codes
        if self.dtype == pl.String:
            self.enum = pl.Enum(known)
            return
        numbers = known.to_numpy().astype(np.int64)
        order = np.argsort(numbers)
        self.sorted, self.codes = numbers[order], codes[order]
        low, high = (int(self.sorted[0]), int(self.sorted[-1])) if len(numbers) else (0, 0)
        self.table: NDArray[np.int32] | None = None
        if high - low < _DENSE:
            # One slot on either side catches every value outside the range.
            self.low = low - 1
            self.table = np.full(high - low + 3, unknown, np.int32)
            self.table[numbers - self.low] = codes

    def __call__(self, column: pl.Series) -> NDArray[np.int32]:
        column = canonical(column)
        null = column.is_null()
        found = self._strings(column) if self.dtype == pl.String else self._integers(column)
        if null.any():
            found[null.to_numpy()] = self.missing
        return found

    def _strings(self, column: pl.Series) -> NDArray[np.int32]:
        places = column.cast(pl.String).cast(self.enum, strict=False).to_physical()
        table = np.append(self.codes, np.int32(self.unknown))
        found: NDArray[np.int32] = table[places.fill_null(len(self.codes)).to_numpy().astype(np.int64)]
        return found

    def _integers(self, column: pl.Series) -> NDArray[np.int32]:
        cast = column.cast(pl.Int64, strict=False)
        alien = cast.is_null().to_numpy()
        numbers = cast.fill_null(0).to_numpy()
        if self.table is not None:
            found = self.table[np.clip(numbers - self.low, 0, len(self.table) - 1)]
        elif len(self.sorted):
            places = np.minimum(np.searchsorted(self.sorted, numbers), len(self.sorted) - 1)
            found = np.where(self.sorted[places] == numbers, self.codes[places], np.int32(self.unknown))
        return np.where(alien, np.int32(self.unknown), found)


def canonical(column: pl.Series) -> pl.Series:
    """Return a column as Int64 where it holds integers, else as String, so that equal values meet across files.

    Whole numbers among floats are written without a point: a missing value turns integers to floats in many tools.
    """
    dtype = column.dtype
    if dtype.is_integer() and dtype != pl.UInt64:  # Unsigned ones are hashes, more often than not, and do not fit.
        return column.cast(pl.Int64)
    if dtype.is_float():
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        text = column.cast(pl.String)
        return text.zip_with((whole != column).fill_null(True), whole.cast(pl.String))
    return column if dtype == pl.String else column.cast(pl.String)
