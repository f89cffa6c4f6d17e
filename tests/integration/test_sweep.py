"""A sweep through the command line: killed, resumed and drawn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
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


def spread(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep by a launcher of Hydra, as far as its command line goes."""
    script = Path(__file__).parents[2] / "scripts" / "spread.py"
    out = f"out='{folder / 'the results'}'"
    return subprocess.run(
        [sys.executable, str(script), *arguments, out, "quiet=true"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parents[1]), str(RIVALS)])},
    )


@pytest.mark.slow
def test_launchers_share_the_cells(tmp_path: Path) -> None:
    told = f"{{_target_: rivals.Good, diary: '{tmp_path / 'diary'}', seconds: 0}}"
    own = [f"+sweep.competitors.own.rival={told}", "only=[rival]", "allow=[rivals]", "workers=1"]
    np.savez(tmp_path / "t.npz", X=np.arange(80.0).reshape(40, 2), y=np.arange(40) > 35)
    done = spread(tmp_path, "-m", "shard=0/2,1/2", "sweep.data=[t.npz]", "sweep.seeds=[0,1]", *own)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "the results" / "cells").glob("[!.]*.parquet"))) == 2


def test_launchers_refuse_what_the_command_does(tmp_path: Path) -> None:
    assert "retry=maybe: expected true or false" in spread(tmp_path, "retry=maybe", "sweep.data=[nowhere]").stderr
