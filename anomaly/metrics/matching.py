"""Scored rows and their labels side by side: keys of one type, no duplicate, nothing lost without a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from anomaly.errors import ConfigError, DataError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence


UNMATCHED = ("unknown", "normal")
LOGGED = "item"
"""Key column of the labels that a labelling session exports; it is taken where the scores' own is not there."""


@dataclass(frozen=True)
class Matched:
    """Scored rows with a known label.

    Attributes
    ----------
    rows : the columns of the scores, `label` (1 or 0), and `typology` where there is one
    n_unknown : matched rows that are left out because their label is -1 or null
    join : what was joined on which columns, how many rows of both sides matched, and what was cast
    """

    rows: pl.DataFrame
    n_unknown: int
    join: dict[str, Any]


def match_labels(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    scores_id: str | Sequence[str] = "sequence",
    labels_id: str | Sequence[str] | None = None,
    label: str = "label",
    split: str | None = None,
    typology: str | None = None,
    unmatched: str = "unknown",
) -> Matched:
    """Join scores and labels on the values of their keys.

    Parameters
    ----------
    unmatched : what a scored row is that no label names: "unknown", or "normal" for lists of anomalies alone

    Raises
    ------
    ConfigError
        If `unmatched` is none of these.
    SchemaError
        If a column is missing or the two keys cannot be compared.
    DataError
        If a key is there twice, a label is none of 1, 0, -1, or nothing matches.
    """
    if unmatched not in UNMATCHED:
        raise ConfigError(f"labels_unmatched={unmatched}: expected {' or '.join(UNMATCHED)}")
    left = _names(scores_id)
    right = left if labels_id is None else _names(labels_id)
    if labels_id is None and len(left) == 1 and left[0] not in labels.columns and LOGGED in labels.columns:
        right = [LOGGED]
    if len(left) != len(right):
        raise SchemaError(f"{len(left)} key columns in the scores, but {len(right)} in the labels")
    _need(scores, left, "the scores", "scores_id")
    _need(labels, right, "the labels", "labels_id")
    named = _labels(labels, right, label, typology)
    asked = _split(named, split)
    keys = [f"__key{k}" for k in range(len(left))]
    left_keys, named_keys, casts = _comparable(scores, named, left, right, keys)
    kept, right_keys = named.filter(asked), named_keys.filter(asked)
    _unique(left_keys, left, "the scores")
    _unique(right_keys, right, "the labels")
    both = scores.drop("label", "typology", strict=False).hstack(left_keys)
    wanted = kept.select("label", *(c for c in ("typology",) if c in kept.columns)).hstack(right_keys)
    if unmatched == "normal":
        # What labels of another split name has a label, if none that is asked for.
        elsewhere = named_keys.filter(~asked).join(right_keys, on=keys, how="anti")
        both = both.join(elsewhere, on=keys, how="anti", maintain_order="left")
    rows = both.join(wanted, on=keys, how="left", maintain_order="left").drop(keys)
    matched = rows["label"].is_not_null()
    if not matched.any():
        raise DataError(_nothing(scores, kept, left, right))
    n_matched = int(matched.sum())
    rows = rows.filter(matched) if unmatched == "unknown" else rows.with_columns(pl.col("label").fill_null(0))
    join = {
        "scores_id": left,
        "labels_id": right,
        "n_scores": len(scores),
        "n_labels": len(kept),
        "n_matched": n_matched,
        "n_scores_unmatched": len(scores) - n_matched,
        "n_labels_unmatched": len(kept) - n_matched,
        "unmatched": unmatched,
        "casts": casts,
    }
    known = rows.filter(pl.col("label") >= 0)
    return Matched(known, len(rows) - len(known), join)


def event_key(labels: pl.DataFrame, labels_id: str | Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Return the key columns of event scores and of event labels: ``id``, or ``sequence`` and ``position``.

    Parameters
    ----------
    labels_id : the label column that holds the event's id, or the two that hold its sequence and its position
    """
    given = _names(labels_id) if labels_id is not None else []
    if given:
        return (["id"] if len(given) == 1 else ["sequence", "position"]), given
    for key in (["id"], ["sequence", "position"]):
        if set(key) <= set(labels.columns):
            return key, key
    if LOGGED in labels.columns:
        return ["id"], [LOGGED]
    raise SchemaError(
        "event labels need a column id, or sequence and position; "
        f"name yours with labels_id= (the columns are {', '.join(labels.columns)})"
    )


def _names(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _need(frame: pl.DataFrame, columns: Sequence[str], what: str, setting: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        have = ", ".join(frame.columns)
        raise SchemaError(f"{what} have no column {missing[0]!r}; name it with {setting}= (the columns are {have})")


def _labels(labels: pl.DataFrame, key: list[str], label: str, typology: str | None) -> pl.DataFrame:
    """Return the key columns, `label` as 1, 0 or -1, and `typology` and `split` where they are there."""
    _need(labels, [label], "the labels", "label")
    if typology is not None:
        _need(labels, [typology], "the labels", "typology")
    kind = typology or ("typology" if "typology" in labels.columns else None)
    column = labels[label]
    if column.dtype != pl.Boolean and not column.dtype.is_numeric():
        raise DataError(f"column {label!r} of the labels is {column.dtype}; expected 1 anomalous, 0 normal, -1 unknown")
    value = column.cast(pl.Float64).fill_null(-1).fill_nan(-1)
    odd = value.filter(~value.is_in([1.0, 0.0, -1.0]))
    if len(odd):
        raise DataError(f"column {label!r} of the labels holds {odd[0]:g}; expected 1 anomalous, 0 normal, -1 unknown")
    extra = {"typology": labels[kind]} if kind else {}
    if "split" in labels.columns:
        extra["__split"] = labels["split"]
    names = {f"__id{k}": labels[name] for k, name in enumerate(key)}
    return pl.DataFrame({**names, "label": value.cast(pl.Int64), **extra})


def _split(named: pl.DataFrame, split: str | None) -> pl.Series:
    """Return which labels are of the split."""
    if split is None:
        return pl.repeat(True, len(named), eager=True)
    if "__split" not in named.columns:
        raise SchemaError(f"labels_split={split}: the labels have no column 'split'")
    asked = (named["__split"].cast(pl.String) == split).fill_null(False)
    if not asked.any():
        there = ", ".join(sorted(named["__split"].drop_nulls().cast(pl.String).unique()))
        raise DataError(f"labels_split={split}: no such split in the labels; there are {there}")
    return asked


def _comparable(
    scores: pl.DataFrame, kept: pl.DataFrame, left: list[str], right: list[str], keys: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Return both keys in types that compare by value, and what had to be cast for it."""
    lefts, rights, casts = [], [], []
    for k, (a, b) in enumerate(zip(left, right, strict=True)):
        one, two = _canonical(scores[a]), _canonical(kept[f"__id{k}"])
        if one.dtype != two.dtype:
            if not {one.dtype, two.dtype} <= {pl.Int64(), pl.UInt64(), pl.String()}:
                raise SchemaError(
                    f"column {a!r} of the scores is {scores[a].dtype} and column {b!r} of the labels is "
                    f"{kept[f'__id{k}'].dtype}: they cannot be compared; give both one type"
                )
            side, name = ("labels", b) if one.dtype == pl.String() else ("scores", a)
            casts.append(f"column {name!r} of the {side} is compared as text")
            one, two = one.cast(pl.String), two.cast(pl.String)
        lefts.append(one.alias(keys[k]))
        rights.append(two.alias(keys[k]))
    return pl.DataFrame(lefts), pl.DataFrame(rights), casts


def _canonical(column: pl.Series) -> pl.Series:
    """Return whole numbers as Int64, text as String, times in microseconds, other types as they are."""
    if column.dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == column.null_count() else column
    if column.dtype.is_float():
        number = column.fill_nan(None).drop_nulls()
        exact = (number.is_finite() & (number == number.round()) & (number.abs() < 2**53)).all()
        return column.fill_nan(None).cast(pl.Int64) if exact else column.cast(pl.Float64)
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.cast_time_unit("us")
    return column


def _unique(keys: pl.DataFrame, names: list[str], what: str) -> None:
    twice = keys.filter(keys.is_duplicated() & ~pl.all_horizontal(pl.all().is_null()))
    if len(twice):
        key = ", ".join(f"{name}={value}" for name, value in zip(names, twice.row(0), strict=True))
        raise DataError(
            f"{what} hold {key} more than once ({len(twice)} such rows); keep one row per {'+'.join(names)}"
        )


def _nothing(scores: pl.DataFrame, kept: pl.DataFrame, left: list[str], right: list[str]) -> str:
    ours = ", ".join(f"{name}={scores[name][0]!r}" for name in left) if len(scores) else "no row"
    theirs = ", ".join(f"{name}={kept[f'__id{k}'][0]!r}" for k, name in enumerate(right)) if len(kept) else "no row"
    return f"no scored row has a label: the scores hold {ours}, the labels {theirs}; check labels_id="
