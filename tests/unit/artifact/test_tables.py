"""Tables: what is reported, in what order, under which ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from anomaly.artifact.tables import score_tables, sidak
from anomaly.events.readers import EventSource
from anomaly.sequences.store import SequenceStore

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Scored:
    score: Any
    p_value: Any
    member_names: tuple[str, ...]
    member_scores: Any
    event_score: Any
    event_p_value: Any
    event_field: Any
    event_field_names: tuple[str, ...]
    posterior: Any = None


def scored(n: int, events: int) -> Scored:
    score = np.linspace(0, 3, n)
    return Scored(
        score,
        10**-score,
        ("a", "b.c"),
        np.ones((n, 2)),
        np.arange(events, dtype=float),
        np.full(events, 0.5),
        np.arange(events) % 2,
        ("event", "gap"),
    )


def store() -> SequenceStore:
    base = SequenceStore.from_codes(
        np.arange(3, 9), [2, 3, 1], delta=np.ones(6, np.float32), entity=np.array([1, 1, 2], np.int32)
    )
    return replace(base, sequence_ids=pl.Series(["x", "y", "z"]), time=np.arange(6) * 10**15)


def test_one_row_per_sequence_in_the_order_of_the_store() -> None:
    tables = score_tables(store(), scored(3, 6), np.array([False, False, True]), "sequence")
    assert tables.scores.columns == [
        *("sequence", "entity", "length", "first_time", "last_time", "score", "p_value", "flagged", "rank"),
        *("score.a", "score.b.c"),
    ]
    assert tables.scores["sequence"].to_list() == ["x", "y", "z"]
    assert tables.scores["rank"].to_list() == [3, 2, 1]
    assert tables.scores["length"].to_list() == [2, 3, 1]
    assert tables.scores["first_time"].dtype == pl.Datetime("us", "UTC")
    assert tables.events["position"].to_list() == [0, 1, 0, 1, 2, 0]
    assert tables.events["field"].to_list() == ["event", "gap"] * 3


def test_the_past_is_read_and_never_reported() -> None:
    past = replace(store(), context=np.array([1, 2, 0]), event_ids=pl.Series("id", list("abcdef")))
    tables = score_tables(past, scored(3, 6), np.zeros(3, bool), "sequence")
    assert tables.scores["length"].to_list() == [1, 1, 1]
    assert tables.events["id"].to_list() == ["b", "e", "f"]
    assert tables.events["position"].to_list() == [0, 0, 0]
    assert tables.events["score"].to_list() == [1.0, 4.0, 5.0]
    items = score_tables(past, scored(3, 6), np.zeros(3, bool), "event").scores
    assert items["id"].to_list() == ["b", "e", "f"] and items["sequence"].to_list() == ["x", "y", "z"]


def test_entities_are_corrected_for_their_number_of_sequences() -> None:
    tables = score_tables(store(), scored(3, 6), np.zeros(3, bool), "sequence")
    worst = tables.entities.row(by_predicate=pl.col("entity") == 1, named=True)
    p = 10**-1.5
    assert worst["n_sequences"] == 2 and worst["worst_sequence"] == "y"
    assert worst["p_value"] == pytest.approx(1 - (1 - p) ** 2)
    assert worst["score"] == pytest.approx(-np.log10(worst["p_value"]))


def test_the_far_tail_neither_vanishes_nor_ties() -> None:
    far = replace(scored(3, 6), score=np.array([320.0, 400.0, 15.0]), p_value=np.array([0.0, 0.0, 1e-15]))
    entities = score_tables(store(), far, np.ones(3, bool), "sequence").entities
    assert np.isfinite(entities["score"].to_numpy()).all() and (entities["p_value"] > 0).all()
    assert entities["score"].to_list() == [pytest.approx(400 - np.log10(2)), pytest.approx(15)]
    assert sidak(np.array([1e-18]), np.array([10.0]))[0] == pytest.approx(1e-17)


def test_without_time_or_entity_the_columns_are_empty() -> None:
    bare = replace(store(), has_time=False, entity_ids=pl.Series([None, None, None], dtype=pl.String))
    tables = score_tables(bare, scored(3, 6), np.zeros(3, bool), "sequence")
    assert tables.scores["first_time"].null_count() == 3
    assert tables.entities.height == 0
    relative = replace(store(), time=np.arange(6) * 1000)
    assert score_tables(relative, scored(3, 6), np.zeros(3, bool), "sequence").scores["last_time"].dtype == pl.Duration


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.arrow", "s.ndjson", "odd name"])
def test_three_files_side_by_side(tmp_path: Path, name: str) -> None:
    tables = score_tables(store(), scored(3, 6), np.zeros(3, bool), "sequence")
    assert [p.name for p in tables.save(tmp_path / name)] == [name, f"event_{name}", f"entity_{name}"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "name",
    ["s.pq", "s.csv", "s.tsv", "s.csv.gz", "s.jsonl", "s.jsonl.zst", "s.feather", "S.TSV", "S.CSV.gz"],
)
def test_what_is_written_is_read_by_its_name(tmp_path: Path, name: str) -> None:
    tables = score_tables(store(), scored(3, 6), np.zeros(3, bool), "sequence")
    tables.save(tmp_path / name)
    found = EventSource.open(tmp_path / name).table()
    assert found.columns == tables.scores.columns
    assert found["score"].to_list() == tables.scores["score"].to_list()
    text = name.lower().endswith((".csv", ".tsv"))
    assert not text or (b"\t" in (tmp_path / name).read_bytes()) == name.lower().endswith(".tsv")
