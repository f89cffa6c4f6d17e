"""A guess of the roles that are left open."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.errors import SchemaError
from anomaly.events.schema import AUTO, EventSchema
from anomaly.events.times import DATES_FROM, NO_TIME, guess_unit, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anomaly.events.readers import EventSource

_PEOPLE = (
    *("user", "customer", "client", "account", "member", "buyer", "shopper", "player", "employee", "cardholder"),
    *(
        "person",
        "visitor",
        "entity",
        "uid",
        "username",
        "subscriber",
        "reviewer",
        "patient",
        "driver",
        "用户",
        "会员",
        "客户",
        "顾客",
        "买家",
        "账户",
        "账号",
    ),
)
_SEQUENCES = ("sequence", "session", "case", "trace", "visit", "conversation", "会话")
_TIMES = (
    *("timestamp", "datetime", "time", "event_time", "created_at", "created", "occurred_at", "date", "ts", "t"),
    *("时间", "时间戳", "发生时间", "日期"),
)
_CLOCKS = frozenset(("time", "timestamp", "datetime", "date", "ts", "epoch", "unixtime"))
_ORDERS = ("position", "step", "seq", "seqno", "seq_no", "sequence_number", "event_index", "event_number")
_IDS = ("event_id", "transaction_id", "payment_id", "tx_id", "row_id", "record_id", "log_id", "uuid", "id", "uid")
_AMOUNTS = re.compile(
    r"amount|price|total|cost|value|quantity|qty|count|num|n|size|bytes|duration|age|score|rating|x|y"
    r"|\w*(金额|价格|单价|数量|件数|次数|时长|评分|年龄)"
)
_LABELS = re.compile(
    r"label|labels|target|class|is_?fraud|fraud|is_?anomal\w*|anomal\w*|is_?attack|attack|outlier|is_?outlier|malicious"
    r"|ground_?truth|truth|typology|scenario|fraud_\w+|\w+_label|chargeback|is_?bot"
    r"|标签|标注|(是否)?(欺诈|异常|作弊|刷单|风险)(标签|类型)?"
)
_NUMBERS = re.compile(r"[^\w\s.,]?\s*[+-]?\d{1,3}(?:[., ']?\d{3})*(?:[.,]\d+)?\s*(?:[^\w\s.,]|[A-Z]{3})?")
_DATES = re.compile(r"\s*\d{1,4}([/.-])\d{1,2}\1\d{1,4}\b")
_SPLITS = re.compile(r"split|fold|subset|partition")
_CODES = frozenset(
    (
        *("id", "no", "code", "device", "ip", "terminal", "merchant", "seller", "product", "item", "sku", "peer"),
        *("address", "card", "phone", "email", "store", "shop", "branch", "city", "zip", "postcode", "country"),
        *("category", "channel", "agent", "host", "port", "resource", "event", "action", "type", "status"),
        *("设备", "地址", "商品", "类目", "品类", "卖家", "商家", "店铺", "城市", "渠道", "类型", "状态", "事件"),
    )
)
_NUMBERED = ("编号", "号", "码")
_LONG = 1000
"""Events of the median sequence beyond which one end among them tells nothing."""
_FEW = 64
_TOLD = 30
"""Names of columns in an error, at most."""
_UNIQUE = 0.5
_FEW_OWNERS, _RESTARTED = 10, 0.8
"""Owners from which one sequence that more than this share of them have was counted by each from the start."""
_GROWING = 0.9
"""Share of the steps from row to row by which a number grows, from which it counts rows; late rows are the others."""


def looks_like_label(name: str) -> bool:
    """Return whether a column's name says that it holds the truth, or how it was split."""
    return bool(_LABELS.fullmatch(name.lower()) or _SPLITS.fullmatch(name.lower()))


def looks_like_number(text: str) -> bool:
    """Return whether a text is a number with separators of thousands, a decimal comma, a currency or a percent sign."""
    return bool(_NUMBERS.fullmatch(text.strip()))


def infer_schema(source: EventSource, stated: EventSchema | None = None) -> EventSchema:
    """Return a schema without open roles: what is stated stays, the rest is guessed from names, types and a sample.

    Raises
    ------
    SchemaError
        If a stated column is missing, or neither an entity nor a sequence can be told.
    """
    stated = stated or EventSchema()
    check_columns(source, stated)
    return _Guess(source, stated).schema


def left_out(source: EventSource, schema: EventSchema) -> dict[str, str]:
    """Return why each column that has no role was not taken for an input."""
    sample = source.sample()
    return {name: _why_left_out(sample[name]) for name in sample.columns if name not in schema.columns}


def _why_left_out(column: pl.Series) -> str:
    if looks_like_label(column.name):
        return "looks like a label or a split"
    if (distinct := column.drop_nulls().n_unique()) < 2:
        return "has one value" if distinct else "is empty"
    if column.dtype == pl.String and (reason := _half_numbers(column.drop_nulls().head(200))):
        return reason
    if column.dtype.is_temporal() or (column.dtype == pl.String and _all_times(column.drop_nulls().head(200))):
        return "is a further time"
    if column.dtype == pl.String and all(map(_DATES.match, column.drop_nulls().head(200))):
        return "looks like times; write them as 2025-01-31 17:05"
    return "holds no single values" if column.dtype.is_nested() else "hardly a value comes twice"


def _all_times(texts: pl.Series) -> bool:
    return bool((parse_time(texts) != NO_TIME).all())


def _half_numbers(texts: pl.Series) -> str | None:
    """Return why a column of text is none of numbers, although all, or most, of its values read as such."""
    others = [text for text in texts if not looks_like_number(text)]
    if not others:
        return "holds numbers as text; write them as 1234.5"
    if 2 * len(others) >= len(texts):
        return None
    return f"holds numbers and text such as {others[0][:30]!r}; mend it, or leave those fields empty"


def check_columns(source: EventSource, schema: EventSchema) -> None:
    """Raise where a stated column is not there, or of a type that no role can use."""
    for role in ("entity", "sequence", "time", "order", "id", "categorical", "numeric", "shared"):
        for name in schema.names(role):
            if name not in source.columns:
                close = closest(name, source.columns)
                raise SchemaError(f"{source.name}: no column {name} (events.{role}); {close}")
            dtype = source.columns[name]
            if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
                raise SchemaError(
                    f"{source.name}: column {name} (events.{role}) of type {dtype} holds no single values"
                )


def _unnamed(source: EventSource) -> str:
    """Return a word on names that are values, as those of a file without a first line of names are."""
    values = [name for name in source.columns if looks_like_number(name) or _DATES.match(name)]
    return f"; is {values[0]} a name? The first line should hold those of the columns" if values else ""


def closest(name: str, columns: Iterable[str]) -> str:
    """Return which column may be meant."""
    near = difflib.get_close_matches(name, list(columns), n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(list(columns)[:20])}"


class _Guess:
    """One pass over the roles, each column in one role at most."""

    def __init__(self, source: EventSource, stated: EventSchema) -> None:
        self.sample = source.sample()
        self.distinct = {c: self.sample[c].n_unique() for c in self.sample.columns}
        self.schema = stated
        # That nobody owns the rows must be said; the file is then one history.
        self._history = stated.entity is None or stated.gap is not None or stated.window is not None
        self._settle("time", self._time)
        self._settle("id", self._id)
        self._settle_sequence()
        self._settle("entity", self._entity)
        self._settle("order", self._order)
        self._check_cut(source)
        self._settle_inputs()
        self._settle_unit()
        if self.schema.ends == "auto":
            # A sequence column that is the entity itself is a whole history, and a history goes on.
            closed = self.schema.sequence is not None and self.schema.sequence != self.schema.entity
            closed = closed and not self._are_long(source, str(self.schema.sequence))
            self.schema = replace(self.schema, ends="closed" if closed else "open")

    def _are_long(self, source: EventSource, name: str) -> bool:
        """Return whether the median sequence is long; the rows are counted only where so few can make it so."""
        if 2 * source.n_rows <= _LONG * self.distinct[name]:
            return False
        counts = [batch[name].alias("sequence").value_counts(name="n") for batch in source.batches([name])]
        lengths = pl.concat(counts).group_by("sequence").agg(pl.col("n").sum())["n"]
        return bool(np.median(lengths.to_numpy()) > _LONG)

    def _free(self) -> list[str]:
        return [c for c in self.sample.columns if c not in self.schema.columns]

    def _settle(self, role: str, guess: Callable[[], object]) -> None:
        if getattr(self.schema, role) == AUTO:
            self.schema = EventSchema.of(self.schema, **{role: guess()})

    def _named(self, words: tuple[str, ...]) -> list[str]:
        """Return the free columns whose name is one of some words, with or without "_id", in the order of the words."""
        free = {c.lower().replace(".", "_"): c for c in reversed(self._free())}
        affixes = ("{}", "{}_id", "{}id", "id_{}", "{}_no", "{}_number", "{}_name", "{}编号", "{}号", "{}名")
        forms = [affix.format(word) for word in words for affix in affixes]
        return [free[f] for f in forms if f in free]

    def _time(self) -> str | None:
        named = [c for c in self._named(_TIMES) if self._parses(c)]
        typed = [c for c in self._free() if isinstance(self.sample[c].dtype, (pl.Datetime, pl.Date))]
        told = [c for c in named if c in typed] + typed + named
        # A text that is a date is one under any name; a number need not be.
        written = [c for c in self._free() if self.sample[c].dtype == pl.String and self._parses(c)]
        told += [c for c in written if not self._all_numbers(c)] + [c for c in self._free() if self._counts_time(c)]
        return told[0] if told else None

    def _counts_time(self, name: str) -> bool:
        """Return whether numbers are dates by a word of their name, such as event_ts_ms, and by their size."""
        column = self.sample[name].drop_nulls().head(200)
        if not column.dtype.is_numeric() or not _CLOCKS.intersection(re.split(r"[_\W]+", name.lower())):
            return False
        return bool(len(column)) and bool((parse_time(column, guess_unit(column)) >= DATES_FROM).all())

    def _all_numbers(self, name: str) -> bool:
        column = self.sample[name].drop_nulls()
        return column.cast(pl.Float64, strict=False).null_count() < len(column)

    def _parses(self, name: str) -> bool:
        column = self.sample[name]
        if not (column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.String):
            return False
        if column.dtype == pl.Time:
            return False
        head = column.drop_nulls().head(200)
        return bool(len(head)) and bool((parse_time(head, guess_unit(head)) != NO_TIME).mean() > 0.9)

    def _id(self) -> str | None:
        exact = [c for c in self._named(_IDS) if self.distinct[c] == self.sample.height and not self._float(c)]
        return exact[0] if exact and self.sample.height > 1 else None

    def _float(self, name: str) -> bool:
        return self.sample[name].dtype.is_float()

    def _settle_sequence(self) -> None:
        schema = self.schema
        if schema.sequence == AUTO:
            cut = schema.gap is not None or schema.window is not None
            found = [] if cut else [c for c in self._named(_SEQUENCES) if not self._float(c)]
            self.schema = replace(schema, sequence=found[0] if found else None)
        elif schema.sequence is not None and schema.entity == AUTO:
            # Once the sequence is stated, an entity that is not stated is none.
            self.schema = replace(schema, entity=None)

    def _entity(self) -> str | None:
        return next((c for c in self._named(_PEOPLE) if not self._float(c) and self._owns(c)), None)

    def _owns(self, name: str) -> bool:
        """Return whether each sequence belongs to one value of a column, of which there are several.

        Nearly all values having the same sequence is a sign of ids that each of them counts from the start: the column
        owns them too, and that they must be made unique is said where sequences are cut.
        """
        if self.distinct[name] < 2 or self.schema.sequence is None:
            return self.distinct[name] > 1
        owners = self.sample.group_by(self.schema.sequence).agg(pl.col(name).n_unique())[name]
        restarted = self.distinct[name] > _FEW_OWNERS and owners.to_numpy().max() > _RESTARTED * self.distinct[name]
        return bool(restarted or (owners == 1).all())

    def _order(self) -> tuple[str, ...]:
        found = [c for c in self._named(_ORDERS) if self.sample[c].dtype.is_integer()]
        return tuple(found[:1])

    def _check_cut(self, source: EventSource) -> None:
        schema = self.schema
        if schema.gap is not None and schema.time is None:
            raise SchemaError(f"{source.name}: events.gap needs a time; state events.time=COLUMN")
        if schema.entity is None and schema.sequence is None and not self._history:
            names = ", ".join([*list(source.columns)[:_TOLD], *(["..."] if len(source.columns) > _TOLD else [])])
            raise SchemaError(
                f"{source.name}: cannot tell whose events these are; state events.entity=COLUMN or "
                f"events.sequence=COLUMN, one of {names} (events.entity=null reads the file as one history)"
                + _unnamed(source)
            )

    def _settle_inputs(self) -> None:
        schema = self.schema
        if (schema.categorical, schema.numeric) == (AUTO, AUTO):
            kinds = {c: self._kind(c) for c in self._free()}
            categorical = tuple(c for c, kind in kinds.items() if kind == "categorical")
            numeric = tuple(c for c, kind in kinds.items() if kind == "numeric")
            self.schema = replace(schema, categorical=categorical, numeric=numeric)
        else:
            # Once one is stated, only stated columns are inputs.
            open_roles = {r: () for r in ("categorical", "numeric") if getattr(schema, r) == AUTO}
            self.schema = EventSchema.of(schema, **open_roles)

    def _kind(self, name: str) -> str | None:
        """Return "categorical", "numeric", or None for what is no input: labels, constants, ids and free text."""
        column, distinct = self.sample[name], self.distinct[name]
        if looks_like_label(name) or distinct - bool(column.null_count()) < 2:
            return None
        if column.dtype.is_float() or column.dtype.is_decimal():
            return "numeric"
        unique = self.sample.height > 50 and distinct > _UNIQUE * (self.sample.height - column.null_count())
        if column.dtype.is_integer():
            return self._integer_kind(name, unique)
        if column.dtype.is_temporal() or column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
            return None
        return None if unique else "categorical"

    def _integer_kind(self, name: str, unique: bool) -> str | None:
        words = re.split(r"[_\W]+", name.lower())
        if not _CODES.isdisjoint((words[0], words[-1], name.lower())) or name.endswith(_NUMBERED):
            return None if unique and self.distinct[name] > _FEW else "categorical"
        if unique and self._counts_up(name):
            return None
        return "numeric" if _AMOUNTS.fullmatch(words[-1]) or self.distinct[name] > _FEW else "categorical"

    def _counts_up(self, name: str) -> bool:
        """Return whether numbers grow from row to row in the order of time, as those of receipts do."""
        column = self.sample[name]
        if self.schema.time is not None:
            time = self.sample[self.schema.time]
            column = column.gather(np.argsort(parse_time(time, guess_unit(time)), kind="stable"))
        # Unsigned numbers would wrap where they fall, and those of a receipt may be longer than 64 bits.
        steps = column.drop_nulls().cast(pl.Int128).diff().drop_nulls()
        return int((steps > 0).sum()) > _GROWING * len(steps)

    def _settle_unit(self) -> None:
        schema = self.schema
        if schema.time is None:
            return
        column = self.sample[schema.time]
        zone = getattr(column.dtype, "time_zone", None)
        if schema.timezone is None and zone not in (None, "UTC"):
            self.schema = schema = replace(schema, timezone=zone)
        if schema.time_unit == "auto":
            # What is no number has no unit; any will do, and none is left open.
            self.schema = replace(schema, time_unit=guess_unit(column))
