"""A run that is killed goes on, and its result equals that of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch

if TYPE_CHECKING:
    from pathlib import Path

SLOW = [
    *("model.width=16", "trainer.max_epochs=12", "trainer.patience=50", "trainer=cpu", "detector=counts"),
    *("corruption=none", "trainer.batch_tokens=256"),
]


@pytest.mark.slow
def test_killed_with_9_in_the_middle_of_the_training(shop: Any, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    arguments = ["train", f"run={run}", *shop.roles, *SLOW]
    process = subprocess.Popen([sys.executable, "-m", "anomaly", *arguments], start_new_session=True)
    checkpoint = run / "checkpoints" / "next_event" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert process.poll() is None, "finished before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists() and not (run / "manifest.json").exists()
    assert dispatch([*arguments, "model.width=32"]) == 2
    assert dispatch(arguments) == 0
    whole = tmp_path / "whole"
    assert dispatch(["train", f"run={whole}", *shop.roles, *SLOW]) == 0
    assert anomaly.Run.load(run).scores.equals(anomaly.Run.load(whole).scores)


@pytest.mark.parametrize("changed", ["events", "history"])
def test_other_data_under_the_same_configuration_is_refused(
    shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    files = {name: tmp_path / f"{name}.parquet" for name in ("events", "history")}
    shop.frame().write_parquet(files["events"])
    shop.frame().head(100).write_parquet(files["history"])
    counts = ["model=none", "detector=counts", "corruption=none"]
    read = [f"events.path={files['events']}", f"history.path={files['history']}"]
    arguments = ["train", f"run={tmp_path / 'r'}", *shop.roles, *counts, *read]
    assert dispatch(arguments) == 0
    (tmp_path / "r" / "manifest.json").unlink()
    assert dispatch(arguments) == 0
    (tmp_path / "r" / "manifest.json").unlink()
    pl.read_parquet(files[changed])[1:].write_parquet(files[changed])
    assert dispatch(arguments) == 2
    assert "other data" in capsys.readouterr().err
    assert dispatch([*arguments, "overwrite=true"]) == 0
