from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.commands.sweep import competitor
from anomaly.errors import ArtifactError, ConfigError
from anomaly.sweeps.child import Limits, out_of_memory
from anomaly.sweeps.datasets import TableSet
from anomaly.sweeps.store import ResultStore
from anomaly.sweeps.sweep import Plan, cells_of, parse_shard, run_sweep, workers_for

BUILD = functools.partial(competitor, allow=("rivals",))
MORE = "out of memory: more than"
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
        "hungry": ("skipped", "needs 31 GB; the limit is 1 GB"),
        "dying": ("failed", "died of SIGSEGV"),
        "unknown": ("failed", "there is no pyod.models.lof.Lofty"),
        "untrusted": ("failed", "not trusted"),
    }
    for name, (status, reason) in expected.items():
        row = rows["set", name]
        assert row["status"] == status and reason in row["reason"], row["reason"]
        assert row["auroc"] is None and row["fingerprint"] and row["versions"]
    assert rows["set", "good"]["auroc"] > 0.99 and rows["set", "good"]["peak_mb"] > 0
    assert rows["one_class", "good"]["reason"] == "0 anomalous and 200 normal of the scored items: a figure needs both"


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


@pytest.mark.parametrize("wanted", [None, 1, 3, 10**6])
def test_workers_respect_cores_and_memory(wanted: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are stated do as well as those that are not."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert workers_for(wanted, Limits(memory_gb=1e9)) == 1
    assert workers_for(wanted, Limits(memory_gb=None)) == min(wanted or 8, 8)
    assert workers_for(wanted, Limits(memory_gb=None, threads=4)) == min(wanted or 2, 2)
    assert workers_for(wanted, Limits(memory_gb=None, threads=10**6)) == 1


@pytest.mark.parametrize(
    ("said", "limit", "reason"),
    [
        (
            "Unable to allocate 76.3 MiB for an array",
            1.0,
            f"{MORE} the 1 GB it may have (the last request was 0.08 GB)",
        ),
        ("Unable to allocate 29.8 GiB for an array", 6.0, "needs 32 GB; the limit is 6 GB"),
        ("", 6.0, f"{MORE} the 6 GB it may have"),
        ("", None, f"{MORE} the machine has"),
    ],
)
def test_reasons_of_memory_cannot_be_misread(said: str, limit: float | None, reason: str) -> None:
    assert out_of_memory(MemoryError(said), Limits(memory_gb=limit))["reason"] == reason


def test_competitors_of_one_configuration_are_run_once_and_have_their_rows_each(
    tmp_path: Path, table: Callable[..., TableSet], rivals: Callable[..., Any]
) -> None:
    diary = tmp_path / "diary"
    good = rivals("Good", diary=str(diary))
    plan = Plan({"good": good, "mine.dup": good}, [table()], seeds=(0, 1), limits=LIMITS)
    found = sweep(tmp_path / "out", plan)
    assert found.select("competitor", "group", "seed").rows() == [
        *(("good", "own", seed) for seed in (0, 1)),
        *(("mine.dup", "mine", seed) for seed in (0, 1)),
    ]
    assert found["ap"].n_unique() == 1 and found["status"].to_list() == ["ok"] * 4
    assert diary.read_text().splitlines() == ["set 0", "set 1"]
    # Under a third name what was computed before is written again; nothing else changes.
    later = Plan(**{**vars(plan), "competitors": {"third": good}})
    assert sweep(tmp_path / "out", later).height == 6 and sweep(tmp_path / "out", plan).height == 6
    assert diary.read_text().splitlines() == ["set 0", "set 1"]
    parts = [cells_of(Plan(**{**vars(plan), "shard": (i, 2)}), BUILD) for i in range(2)]
    assert [[cell.name for cell in part] for part in parts] == [["good", "mine.dup"]] * 2


def test_rows_hold_the_versions_of_a_peers_own_environment(tmp_path: Path, table: Callable[..., TableSet]) -> None:
    (tmp_path / "p.py").write_text("raise SystemExit('never')")
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    for name, version in (("xgboost_cpu", "3.2.0"), ("numpy", "1.0"), ("toolz", "9")):
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
        told = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(told)
    (tmp_path / "env" / "installed.json").write_text('{"requirements": ["xgboost-cpu==3.2.0"]}')
    peer = {"_target_": "anomaly.sweeps.peer.Peer", "program": str(tmp_path / "p.py"), "peers": str(tmp_path)}
    competitors = {"peer.own": {**peer, "environment": "env"}, "peer.none": {**peer, "environment": "missing"}}
    found = sweep(tmp_path / "out", Plan(competitors, [table()], limits=LIMITS))
    versions = {row["competitor"]: json.loads(row["versions"]) for row in found.iter_rows(named=True)}
    assert versions["peer.own"]["xgboost-cpu"] == "3.2.0" and versions["peer.own"]["numpy"] == "1.0"
    assert versions["peer.none"]["numpy"] == np.__version__ and "xgboost-cpu" not in versions["peer.none"]
    assert "toolz" not in versions["peer.own"]


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(ArtifactError, match="holds no results"):
        store.read()
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"x\.parquet: cannot be read"):
        store.read()
