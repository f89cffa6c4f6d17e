"""A sweep through the command line: killed, resumed and drawn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from anomaly.commands.dispatch import dispatch

RIVALS = Path(__file__).parents[1] / "unit" / "sweeps"
QUICK = ["only=[floor.unigram,pyod.ecod]", "sweep.seeds=[0]", "workers=2"]


def test_killed_and_started_again_it_runs_only_what_is_missing(tmp_path: Path) -> None:
    diary, out = tmp_path / "diary", tmp_path / "out"
    diary.touch()
    told = f"{{_target_: rivals.Good, diary: '{diary}', seconds: 0.1}}"
    command = [sys.executable, "-m", "anomaly", "sweep", f"out={out}", "allow=[rivals]", "quiet=true", "workers=2"]
    command += [f"+sweep.competitors.own.rival={told}", "only=[rival]", "sweep.seeds=[0,1,2,3,4,5,6,7,8,9]"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(RIVALS), os.environ.get("PYTHONPATH", "")])}
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list((out / "cells").glob("[!.]*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(0.3)
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("[!.]*.parquet")}
    begun = len(diary.read_text().splitlines())
    assert 3 <= len(kept) <= begun < 10
    assert subprocess.run(command, env=environment, timeout=90, check=False).returncode == 0
    now = {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("[!.]*.parquet")}
    assert len(now) == 10 and all(now[name] == kept[name] for name in kept)
    assert len(diary.read_text().splitlines()) - begun == 10 - len(kept)


def test_without_data_a_shop_stands_in_and_the_leaderboard_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    out = tmp_path / "out"
    assert dispatch(["sweep", f"out={out}", "sweep.data=[shop,tabular/small]", *QUICK]) == 0
    assert "run: 4 cells, 0 there before" in capsys.readouterr().out
    assert dispatch(["sweep", f"out={out}", "sweep.data=[shop,tabular/small]", *QUICK]) == 0
    assert "run: 0 cells, 4 there before" in capsys.readouterr().out
    assert dispatch(["leaderboard", f"results={out}", f"out={tmp_path / 'page'}"]) == 0
    printed = capsys.readouterr().out
    assert "pyod.ecod" in printed and "leaderboard.html" in printed
    table = pl.read_csv(tmp_path / "page" / "leaderboard.csv")
    assert set(table["set"]) == {"shop_small", "shop_small_table"}
    assert "a table has no sequences" in (tmp_path / "page" / "leaderboard.html").read_text()
    kept = pl.read_parquet(out / "data" / "shop_small" / "labels.parquet")
    assert set(kept["split"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep.data=[nowhere]"], ["nowhere", "dataset.yaml"]),
        (["only=[nobody]"], ["nobody", "floor.unigram"]),
        (["shard=4/2"], ["shard=4/2", "i/n"]),
        (["+sweep.seed=3"], ["sweep.seed", "seeds"]),
    ],
)
def test_a_wrong_key_is_one_line(
    tmp_path: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["sweep", f"out={tmp_path}", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
    assert dispatch(["leaderboard", f"results={tmp_path}"]) == 2
    assert "holds no results" in capsys.readouterr().err
