"""Rows to codes and values.

Shapes: T events, F coded fields, G numeric values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from anomaly.base import Estimator
from anomaly.errors import NotFittedError, SchemaError
from anomaly.events.binning import ENGLISH, QuantileBins
from anomaly.events.checks import parse_times
from anomaly.events.drift import Drift, code_shares, drift
from anomaly.events.profile import ColumnProfile, numbers
from anomaly.events.times import NO_TIME, clock
from anomaly.events.vocabulary import FIRST_VALUE, UNKNOWN, Field, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from anomaly.events.schema import EventSchema

SHARED_SUFFIX = ".entities"
_CLOCK = {"hour": 24, "weekday": 7}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class EventEncoder(Estimator):
    """Typed columns to codes (T, F) and scaled values (T, G).

    Parameters
    ----------
    max_vocabulary : values of a column that get a code of their own, the most frequent first
    min_count : uses from which a value gets a code
    n_bins : quantile bins of a number, about
    clock : which of hour and weekday become fields where times are dates
    table : rows stand alone and numbers keep their own values, NaN where missing, in place of scaled ones

    Attributes
    ----------
    schema_ : the roles it was fitted with
    fields_ : the F coded columns: categorical, numeric, relational counts, clock
    vocabularies_, bins_ : by column
    entities_ : the entities seen in `fit`; codes from 1
    shares_ : by field, (size,) share of each code in `fit`
    dtypes_ : by input column, its type in `fit`
    """

    schema_: EventSchema
    fields_: tuple[Field, ...]
    vocabularies_: dict[str, Vocabulary]
    bins_: dict[str, QuantileBins]
    entities_: Vocabulary
    shares_: dict[str, NDArray[np.float64]]
    dtypes_: dict[str, str]

    def __init__(
        self,
        *,
        max_vocabulary: int = 4096,
        min_count: int = 1,
        n_bins: int = 32,
        clock: tuple[str, ...] = ("hour", "weekday"),
        table: bool = False,
    ) -> None:
        self.max_vocabulary = max_vocabulary
        self.min_count = min_count
        self.n_bins = n_bins
        self.clock = clock
        self.table = table

    def fit(self, batches: pl.DataFrame | Iterable[pl.DataFrame], schema: EventSchema) -> Self:
        """Learn from frames whose columns have the schema's roles."""
        profile = ColumnProfile(schema)
        for batch in [batches] if isinstance(batches, pl.DataFrame) else batches:
            profile.add(batch, self._time(batch, schema))
            for name in schema.names("shared"):
                if name + SHARED_SUFFIX in batch.columns:
                    profile.add_numbers(name + SHARED_SUFFIX, numbers(batch[name + SHARED_SUFFIX]))
        return self.fit_profile(profile)

    def fit_profile(self, profile: ColumnProfile) -> Self:
        """Learn from the statistics of one pass."""
        schema = self.schema_ = profile.schema
        self.dtypes_ = dict(profile.dtypes)
        self.vocabularies_ = {}
        for name in schema.names("categorical"):
            table = profile.counts[name].table()
            vocabulary = Vocabulary(max_size=self.max_vocabulary, min_count=self.min_count)
            self.vocabularies_[name] = vocabulary.fit(table["value"], table["count"])
        self.bins_ = {}
        shared = [name + SHARED_SUFFIX for name in schema.names("shared")]
        for name in (*schema.names("numeric"), *shared):
            sample = profile.samples[name]
            self.bins_[name] = QuantileBins(n_bins=self.n_bins).fit(sample.values(), sample.low, sample.high)
        self.entities_ = Vocabulary(max_size=2**31 - 8).fit(
            pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.Int64)
        )
        self._set_fields(profile)
        return self

    def _set_fields(self, profile: ColumnProfile) -> None:
        used = {"hour": profile.hours, "weekday": profile.weekdays}
        dated = not profile.n_undated
        clocks = [n for n in _CLOCK if n in self.clock and dated and (used[n] > 0).sum() > 1]
        self.fields_ = (
            *(Field(name, "categorical", v.size) for name, v in self.vocabularies_.items()),
            *(Field(name, "numeric", b.size) for name, b in self.bins_.items()),
            *(Field(name, "clock", FIRST_VALUE + _CLOCK[name]) for name in clocks),
        )
        if not self.fields_:
            raise SchemaError("no column is left as an input; state events.categorical or events.numeric")
        counts = {n: v.counts_ for n, v in self.vocabularies_.items()} | {n: b.counts_ for n, b in self.bins_.items()}
        counts |= {n: np.concatenate([np.zeros(FIRST_VALUE, np.int64), used[n]]) for n in clocks}
        self.shares_ = {n: c / max(c.sum(), 1) for n, c in counts.items()}

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the G columns of the values."""
        return tuple(self.bins_)

    @property
    def code_dtype(self) -> type[np.uint16] | type[np.int32]:
        """The narrowest type that holds every code."""
        return np.uint16 if max(f.size for f in self.fields_) <= 1 << 16 else np.int32

    def transform(
        self, batch: pl.DataFrame, time: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return codes (T, F) and values (T, G) of rows; the relational counts are columns of the frame.

        Parameters
        ----------
        time : (T,) microseconds, where they were parsed before
        """
        if not hasattr(self, "fields_"):
            raise NotFittedError("EventEncoder is not fitted; call fit first")
        codes = np.empty((batch.height, len(self.fields_)), self.code_dtype)
        values = np.empty((batch.height, len(self.bins_)), np.float32)
        clocks: dict[str, NDArray[np.int64]] = {}
        if self.fields_[-1].kind == "clock":
            time = self._time(batch, self.schema_) if time is None else time
            clocks = dict(zip(_CLOCK, clock(time, self.schema_.timezone), strict=True))
        for k, field in enumerate(self.fields_):
            if field.kind == "categorical":
                codes[:, k] = self.vocabularies_[field.name].transform(batch[field.name])
            elif field.kind == "clock":
                known = clocks[field.name]
                codes[:, k] = np.where(known < 0, UNKNOWN, known + FIRST_VALUE)
            else:
                column = numbers(batch[field.name])
                codes[:, k] = self.bins_[field.name].transform(column)
                values[:, k - len(self.vocabularies_)] = column if self.table else self.bins_[field.name].scale(column)
        return codes, values

    def _time(self, batch: pl.DataFrame, schema: EventSchema) -> NDArray[np.int64]:
        if schema.time is None:
            return np.full(batch.height, NO_TIME)
        return parse_times(batch[schema.time], schema)

    def fit_entities(self, entities: pl.Series) -> Self:
        """Give codes from 1 to the distinct entities, in their order; none at all where there are no profiles."""
        counts = pl.Series(np.arange(len(entities), 0, -1))
        self.entities_.fit(entities, counts)
        return self

    @property
    def n_entities(self) -> int:
        """Number of entity codes, the unknown one included."""
        return 1 + len(self.entities_.values_)

    def entity_codes(self, entities: pl.Series) -> NDArray[np.int32]:
        """Return the codes of entities, 0 where `fit` did not see them."""
        codes = self.entities_.transform(entities) - FIRST_VALUE + 1
        return np.maximum(codes, 0).astype(np.int32)

    def drift(self, codes: NDArray[Any], dtypes: Mapping[str, str] | None = None) -> list[Drift]:
        """Return what differs from training in encoded rows: types, shares of unknown values, shifted distributions.

        Parameters
        ----------
        codes : (T, F), as a store holds them
        dtypes : types of the columns, as a store's `extra["dtypes"]` holds them
        """
        names, sizes = tuple(f.name for f in self.fields_), tuple(f.size for f in self.fields_)
        return drift(self, code_shares(codes, sizes, names), dtypes)

    def decode(self, name: str, codes: Any, words: Mapping[str, str] = ENGLISH) -> list[str]:
        """Return what the codes of a field stand for, as text for people; `words` translates what is no value."""
        distinct, inverse = np.unique(codes, return_inverse=True)
        texts = [self._text(name, int(code), words) for code in distinct]
        return [texts[place] for place in inverse.ravel()]

    def _text(self, name: str, code: int, words: Mapping[str, str]) -> str:
        if code >= FIRST_VALUE and name in self.bins_:
            return self.bins_[name].text(code, words)
        if code >= FIRST_VALUE and name in self.vocabularies_ and code != self.vocabularies_[name].missing_:
            return str(self.vocabularies_[name].decode(np.array([code]))[0])
        if code < FIRST_VALUE:
            word = ("padding", "unknown", "rare")[code]
        elif name in self.vocabularies_:
            word = "missing"
        else:
            word = _DAYS[code - FIRST_VALUE] if name == "weekday" else f"{code - FIRST_VALUE:02d}h"
        return words.get(word, word)
