"""Tables as sources: roles, ids, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.errors import DataError, SchemaError
from anomaly.events.tabular import ROW, TableRoles, open_table, table_labels, table_schema

FRAME = pl.DataFrame(
    {
        "name": [f"r{k}" for k in range(100)],
        "amount": np.linspace(0, 1, 100),
        "count": np.arange(100) % 3,
        "kind": ["a", "b"] * 50,
        "flag": [True, False] * 50,
        "class": ["bad"] * 3 + ["good"] * 97,
        "when": [f"2025-01-{k % 28 + 1:02d}" for k in range(100)],
    }
).with_columns(pl.col("when").str.to_date())


def schema(**roles: Any) -> Any:
    return table_schema(open_table(FRAME), TableRoles.of(roles))


def test_numbers_are_numeric_and_text_is_categorical() -> None:
    found = schema()
    assert found.numeric == ("amount", "count")
    # Names of rows, times and what looks like the truth are no inputs.
    assert found.categorical == ("kind", "flag")
    assert (found.sequence, found.entity, found.time) == (ROW, None, None)
    assert found.complete


def test_numbers_of_rows_are_no_inputs() -> None:
    rng = np.random.default_rng(0)
    told = {"row": np.arange(100), "customer": 5000 + rng.permutation(100), "cents": rng.permutation(10_000)[:100]}
    found = table_schema(open_table(FRAME.with_columns(**{k: pl.Series(v) for k, v in told.items()})), TableRoles())
    assert found.numeric == ("amount", "count", "cents")
    assert schema(numeric=["count"]).numeric == ("count",)


def test_what_is_stated_stays() -> None:
    assert schema(numeric=["amount"]).inputs == ("amount",)
    assert schema(categorical="count", numeric=["amount"]).inputs == ("count", "amount")
    assert schema(id="name").sequence == "name"
    assert "kind" not in schema(label="kind").inputs


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"id": "kind"}, "not unique in 98 rows"),
        ({"id": "nme"}, "did you mean name"),
        ({"label": "nothing"}, "no column nothing"),
        ({"label": "count", "numeric": ["count"]}, "never an input"),
        ({"colour": "count"}, "table.colour is no role"),
    ],
)
def test_wrong_roles(roles: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        schema(**roles)


def test_labels_of_text_and_of_numbers() -> None:
    source = open_table(FRAME)
    found = table_labels(source, TableRoles(label="class", anomaly="bad"))
    assert found is not None
    assert found["label"].to_list() == [1] * 3 + [0] * 97
    assert found["sequence"].to_list() == list(range(100))
    ones = open_table(FRAME.select("amount", y=pl.Series([1.0, None] + [0.0] * 98)))
    assert table_labels(ones, TableRoles(label="y"))["label"].to_list()[:3] == [1, -1, 0]  # type: ignore[index]
    two = table_labels(source, TableRoles(label="count", anomaly="2"))
    assert two is not None and two["label"].sum() == 33
    assert table_labels(source, TableRoles()) is None


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet", "frame"])
def test_labels_in_a_column_that_is_not_there_name_those_that_are(kind: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"x0": [0.5, 1.5], "x1": [2.0, 3.0]})
    path = tmp_path / f"t.{kind}"
    if kind == "npz":
        np.savez(path, X=frame.to_numpy())
    elif kind != "frame":
        getattr(frame, f"write_{kind}")(path)
    source = open_table(frame if kind == "frame" else path)
    for roles in (TableRoles(label="verdict"), TableRoles(label="x1", id="verdict")):
        with pytest.raises(SchemaError, match=r"no column verdict; there are x0, x1$"):
            table_labels(source, roles)


def test_labels_that_cannot_be_read_say_what_they_hold() -> None:
    with pytest.raises(DataError, match=r"bad, good.*table.anomaly=VALUE"):
        table_labels(open_table(FRAME), TableRoles(label="class"))
    with pytest.raises(DataError, match=r"does not occur.*bad, good"):
        table_labels(open_table(FRAME), TableRoles(label="class", anomaly="worse"))


def test_npz_brings_its_own_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.arange(40).reshape(20, 2), y=np.arange(20) < 2)
    source = open_table(tmp_path / "t.npz")
    assert table_schema(source, TableRoles()).inputs == ("x0", "x1")
    labels = table_labels(source, TableRoles())
    assert labels is not None and labels["label"].sum() == 2


@pytest.mark.parametrize("arrays", [{"Z": np.zeros(3)}, {"X": np.zeros(3)}, {"X": np.array([["a"]])}])
def test_npz_without_a_table(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match="expected an array X"):
        open_table(tmp_path / "t.npz")


def test_npz_that_is_not_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_table(tmp_path / "t.npz")
    np.savez(tmp_path / "whole.npz", X=np.zeros((50, 2)))
    for content in (b"nothing", (tmp_path / "whole.npz").read_bytes()[:200], b""):
        (tmp_path / "t.npz").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            open_table(tmp_path / "t.npz")


def test_npz_labels_may_be_a_column_but_not_too_few(tmp_path: Path) -> None:
    """Files that were made elsewhere hold y as (n, 1)."""
    np.savez(tmp_path / "t.npz", X=np.arange(40).reshape(20, 2), y=(np.arange(20) < 2)[:, None])
    labels = table_labels(open_table(tmp_path / "t.npz"), TableRoles())
    assert labels is not None and labels["label"].sum() == 2
    np.savez(tmp_path / "t.npz", X=np.zeros((20, 2)), y=np.zeros(19))
    with pytest.raises(DataError, match="19 labels y for 20 rows"):
        open_table(tmp_path / "t.npz")


def test_csv_rows_are_numbered_across_batches(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    source = open_table(tmp_path / "t.csv")
    numbers = pl.concat([b[ROW] for b in source.batches([ROW, "amount"], rows=30)])
    assert numbers.to_list() == list(range(100))
