"""The command line: pages, exit codes, one line per error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anomaly.commands import dispatch as module
from anomaly.commands.dispatch import dispatch
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["-h"], ["score", "run=x", "--help"]])
def test_help_is_a_page_on_stdout(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(arguments) == 0
    out = capsys.readouterr()
    assert out.out.startswith("anomaly") and not out.err


@pytest.mark.parametrize(
    ("stated", "cores", "expected"), [(None, 2, "1"), (None, 1, "1"), (None, 16, "8"), ("3", 2, "3")]
)
def test_half_of_the_cores_are_taken_unless_stated(
    stated: str | None, cores: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", stated or "")
    if stated is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(module.os, "cpu_count", lambda: cores)
    assert dispatch(["--version"]) == 0
    assert module.os.environ["OMP_NUM_THREADS"] == expected


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import anomaly

    assert dispatch(["--version"]) == 0
    assert capsys.readouterr().out == f"anomaly {anomaly.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean train"),
        (["train"], "events.path=, run= must be given"),
        (["train", "run=x", "events.path=nowhere.parquet"], "nowhere.parquet"),
        (["score", "run=nowhere", "events.path=x", "out=y"], "nowhere: no such run"),
        (["report", "run=nowhere"], "nowhere: no such run"),
        (["evaluate", "scores=nowhere.parquet", "labels=x"], "scores=nowhere.parquet: no such file"),
        (["simulate", "out=x", "users=1"], "users=1: expected a number"),
        (["simulate", "out=x", "log_level=loud"], "log_level=loud: expected one of"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dispatch(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ConfigError):
        dispatch(["trian", "debug=true"])


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_dispatch", interrupt)
    assert dispatch(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_simulate_writes_three_files_and_refuses_to_replace_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a shop, with $ and 'quotes'"
    arguments = ["simulate", f"out={out}", "users=30", "days=10"]
    assert dispatch([*arguments, "quiet=true"]) == 0
    assert capsys.readouterr().out == ""
    assert sorted(f.name for f in out.iterdir()) == ["event_labels.parquet", "events.parquet", "labels.parquet"]
    assert dispatch(arguments) == 2
    assert "overwrite=true" in capsys.readouterr().err
    assert dispatch([*arguments, "overwrite=true"]) == 0
    assert "sessions" in capsys.readouterr().out
