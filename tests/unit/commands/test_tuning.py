"""A tuning is not outlived by its process, however who began it ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anomaly.active.records import Labels
from anomaly.artifact import codec
from anomaly.base import seeded
from anomaly.commands import tuning
from anomaly.commands.compose import compose
from anomaly.commands.replay import loop_parts
from anomaly.commands.tuning import FinetuneCommand

CHILD = """
import sys, time
from anomaly.commands import dispatch, tuning
dispatch.dispatch = lambda arguments: time.sleep(float(sys.argv[2])) or 3
sys.exit(tuning.main(sys.argv[1], []))
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], "600"], stdin=subprocess.PIPE)
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_tuning_ends_with_a_session_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "tuning"
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, folder], stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline()
    assert folder.is_dir()
    parent.kill()
    # The child holds the same end of the pipe: nothing more is read once it has ended, too.
    parent.communicate(timeout=60)
    assert not folder.exists()


def test_a_tuning_that_ends_first_keeps_what_it_wrote(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path, "0"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None and child.stderr is not None
    assert child.stderr.read() == b""
    assert child.wait(60) == 3 and tmp_path.is_dir()
    child.communicate()


def test_it_is_kept_with_its_learner(tmp_path: Path) -> None:
    codec.dump(FinetuneCommand(run="runs/a"), tmp_path / "kept")
    assert codec.load(tmp_path / "kept").run == "runs/a"


@pytest.mark.parametrize(("given", "passed"), [(["allow=[mine,other]"], ["allow=[mine,other]"]), ([], [])])
def test_a_tuning_may_build_what_its_session_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], passed: list[str]
) -> None:
    begun: list[list[str]] = []

    class Process:
        stdin = None

        def __init__(self, command: list[str], **_: object) -> None:
            begun.append(command)

        def poll(self) -> int:
            return 0

    (tmp_path / "data.json").write_text('{"unit": "sequence"}')
    command = [f"run={tmp_path}", "labels=l.csv", f"out={tmp_path / 'o.json'}", "learner=deep", *given]
    learner, _ = loop_parts(compose("replay", command))
    codec.dump(learner, tmp_path / "kept")
    monkeypatch.setattr(tuning.subprocess, "Popen", Process)
    for each in (seeded(learner, 1), codec.load(tmp_path / "kept")):
        each.tuner.begin(pl.Series(["a", "b"]), Labels.of(np.arange(2), np.arange(2)), 0).end()
    # A copy may build them, what was read from a file may not.
    assert [[word for word in words if word.startswith("allow")] for words in begun] == [passed, []]
