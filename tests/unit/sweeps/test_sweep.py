from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from anomaly.commands.sweep import competitor
from anomaly.errors import ArtifactError, ConfigError
from anomaly.sweeps.child import Limits
from anomaly.sweeps.datasets import TableSet
from anomaly.sweeps.store import ResultStore
from anomaly.sweeps.sweep import Plan, cells_of, parse_shard, run_sweep, workers_for

BUILD = functools.partial(competitor, allow=("rivals",))
LIMITS = Limits(seconds=30, memory_gb=1)


def sweep(out: Path, plan: Plan) -> pl.DataFrame:
    store = ResultStore(out)
    run_sweep(cells_of(plan, BUILD), store, plan, BUILD)
    return store.read()


def test_whatever_goes_wrong_is_a_row_with_its_reason(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    bad = {name.lower(): rivals(name) for name in ("Raising", "Nan", "Hungry", "Dying")}
    bad["unknown"] = {"_target_": "pyod.models.lof.Lofty"}
    bad["untrusted"] = {"_target_": "subprocess.Popen"}
    plan = Plan({**bad, "good": rivals("Good")}, [table(), table("one_class", anomalous=0)], limits=LIMITS, workers=2)
    found = sweep(tmp_path / "out", plan)
    assert found.height == 14
    rows = {(row["set"], row["competitor"]): row for row in found.iter_rows(named=True)}
    expected = {
        "raising": ("failed", "ValueError: no <b>such</b> | thing"),
        "nan": ("failed", "200 of 200 scores are NaN"),
        "hungry": ("skipped", "needs 31 GB at once; the limit is 1 GB"),
        "dying": ("failed", "died of SIGSEGV"),
        "unknown": ("failed", "there is no pyod.models.lof.Lofty"),
        "untrusted": ("failed", "not trusted"),
    }
    for name, (status, reason) in expected.items():
        row = rows["set", name]
        assert row["status"] == status and reason in row["reason"], row["reason"]
        assert row["auroc"] is None and row["fingerprint"] and row["versions"]
    assert rows["set", "good"]["auroc"] > 0.99 and rows["set", "good"]["peak_mb"] > 0
    assert "0 anomalous and 200 normal" in rows["one_class", "good"]["reason"]


def test_a_table_that_cannot_be_read_is_a_row_with_its_reason(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    """It is asked for its size before any cell is run."""
    (tmp_path / "torn.npz").write_bytes((table().path.read_bytes())[:200])
    (tmp_path / "bare.csv").write_text("a,b\n1,2\n")
    sets = [TableSet(tmp_path / "torn.npz", 50), TableSet(tmp_path / "bare.csv", 50), table(cap=50)]
    found = sweep(tmp_path / "out", Plan({"good": rivals("Good")}, sets, limits=LIMITS))
    rows = {row["set"]: row for row in found.iter_rows(named=True)}
    assert rows["set"]["status"] == "ok" and rows["torn"]["status"] == rows["bare"]["status"] == "failed"
    assert "torn.npz: cannot be read" in rows["torn"]["reason"] and "no column label" in rows["bare"]["reason"]


def test_a_cell_past_its_time_is_killed_and_its_other_seeds_are_spared(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    plan = Plan({"slow": rivals("Slow")}, [table()], seeds=(0, 1), limits=Limits(seconds=0.5, memory_gb=1))
    found = sweep(tmp_path / "out", plan)
    assert found["status"].to_list() == ["skipped"] * 2
    assert sorted(found["reason"]) == ["timed out after 0.5 s", "timed out after 0.5 s (seen with seed 0)"]


def test_what_is_there_is_not_run_again(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    diary = tmp_path / "diary"
    good = {"good": rivals("Good", diary=str(diary)), "bad": rivals("Raising")}
    plan = Plan(good, [table()], seeds=(0, 1), limits=LIMITS)
    sweep(tmp_path / "out", plan)
    sweep(tmp_path / "out", plan)
    assert diary.read_text().splitlines() == ["set 0", "set 1"]
    assert sweep(tmp_path / "out", Plan(**{**vars(plan), "retry": True})).height == 4
    sweep(tmp_path / "out", Plan(**{**vars(plan), "data": [table(rows=300)]}))
    assert len(diary.read_text().splitlines()) == 4, "other data are other cells"


def test_a_skipped_cell_is_run_again_under_wider_limits(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    late = {"late": rivals("Good", seconds=0.6)}
    data = [table()]
    for seconds, status in ((0.3, "skipped"), (0.2, "skipped"), (20, "ok")):
        found = sweep(tmp_path / "out", Plan(late, data, limits=Limits(seconds=seconds, memory_gb=None)))
        assert found["status"].to_list() == [status]


def test_where_nothing_is_random_one_cell_stands_for_all_seeds(
    table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    competitors = {"steady": rivals("Printing"), "random": rivals("Good")}
    seeds = lambda **options: [  # noqa: E731
        (c.name, c.seed) for c in cells_of(Plan(competitors, [table(**options)], seeds=(0, 1)), BUILD)
    ]
    assert seeds() == [("steady", None), ("random", 0), ("random", 1)]
    steady = cells_of(Plan(competitors, [table()], seeds=(0, 1), steady=["random"]), BUILD)
    assert [c.seed for c in steady] == [None, None]
    assert seeds(cap=100) == [("steady", 0), ("steady", 1), ("random", 0), ("random", 1)]


def test_shards_share_the_cells(table: Callable[..., TableSet], rivals: Callable[..., Any]) -> None:
    plan = Plan({"good": rivals("Good")}, [table()], seeds=range(9))
    parts = [{c.key for c in cells_of(Plan(**{**vars(plan), "shard": (i, 3)}), BUILD)} for i in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert len(set().union(*parts)) == 9
    assert parse_shard("1/3") == (1, 3) and parse_shard(None) == (0, 1)
    with pytest.raises(ConfigError, match="expected i/n"):
        parse_shard("3/3")


def test_workers_respect_cores_and_memory() -> None:
    assert workers_for(None, Limits(memory_gb=1e9)) == 1
    assert workers_for(3, Limits(memory_gb=None)) == 3
    assert workers_for(None, Limits(memory_gb=None, threads=10**6)) == 1


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(ArtifactError, match="holds no results"):
        store.read()
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"x\.parquet: cannot be read"):
        store.read()
