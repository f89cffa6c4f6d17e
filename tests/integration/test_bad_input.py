"""Bad input: one clear line, exit code 2, and no half-written run."""

from __future__ import annotations

import ctypes
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from anomaly.commands.dispatch import dispatch
from anomaly.models.training import time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = ["model=none", "detector=counts", "corruption=none", "quiet=true"]
ROWS = pl.DataFrame(
    {
        "user": [f"u{i % 40}" for i in range(400)],
        "time": [f"2025-01-01T{i // 60:02d}:{i % 60:02d}:00" for i in range(400)],
        "event": [("view", "buy", "pay")[i % 3] for i in range(400)],
        "amount": [str(i % 17) for i in range(400)],
    }
)
ROLES = [
    *("events.entity=user", "events.sequence=null", "events.time=time"),
    *("events.categorical=[event]", "events.numeric=[amount]"),
]


def with_value(column: str, row: int, value: str | None) -> pl.DataFrame:
    return ROWS.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


CASES = {
    "wrong column": (ROWS.rename({"user": "client"}), ["user"]),
    "empty file": (ROWS.head(0), ["no rows"]),
    "mixed types": (with_value("amount", 7, "twelve"), ["amount", "twelve"]),
    "unparsable time": (with_value("time", 7, "yesterday"), ["time", "yesterday"]),
    "infinite amount": (with_value("amount", 7, "inf"), ["amount", "infinite"]),
    "too few": (ROWS.filter(pl.col("user") == "u1"), ["1 sequences", "19", "events.gap"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_what_and_where(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, words = CASES[case]
    rows.write_csv(tmp_path / "e.csv")
    run = tmp_path / "run"
    assert dispatch(["train", f"run={run}", f"events.path={tmp_path / 'e.csv'}", *ROLES, *COUNTS]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err
    if case not in ("too few",):
        assert "e.csv" in err
    assert not run.exists()


def test_bad_rows_may_be_dropped_up_to_a_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_value("amount", 7, "twelve").write_csv(tmp_path / "e.csv")
    arguments = ["train", f"events.path={tmp_path / 'e.csv'}", *ROLES, *COUNTS, "checks.bad_rows=drop"]
    assert dispatch([*arguments, f"run={tmp_path / 'a'}", "checks.max_bad=1"]) == 0
    assert dispatch([*arguments, f"run={tmp_path / 'b'}", "checks.max_bad=0"]) == 2
    assert "checks.max_bad" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_share_of_bad_rows_is_a_share_of_short_files_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = ROWS.head(60)
    bad = some.with_columns(
        pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("twelve")).otherwise("amount").alias("amount")
    )
    bad.write_csv(tmp_path / "e.csv")
    arguments = ["train", f"events.path={tmp_path / 'e.csv'}", *ROLES, *COUNTS, "checks.bad_rows=drop"]
    assert dispatch([*arguments, f"run={tmp_path / 'a'}"]) == 2
    assert "checks.max_bad=0.01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("train", ["model=next_event_gru", "trainer.max_time=abc"], "trainer.max_time=abc: expected DD:HH:MM:SS"),
        ("train", ["model=next_event_gru", "trainer.accelerator=tpux"], "accelerator"),
        ("train", ["events.window=abc"], "events.window is a number of events from 1, got abc"),
        ("train", ["events.timezone=Mars"], "events.timezone=Mars: no IANA name"),
        ("train", ["trainer.max_epochs=0"], "trainer.max_epochs=0: expected a whole number from 1"),
        ("train", ["sequences.n_bins=-3"], "sequences.n_bins=-3: expected a whole number from 2"),
        ("train", ["threshold.count=abc"], "threshold.count='abc': expected a whole number"),
        ("train", ["init_from=."], "no run; give a folder"),
        ("simulate", ["out=x", "users=abc"], "users='abc': expected a number"),
        ("sweep", ["out=x", "workers=abc"], "workers=abc: expected a number"),
        ("sweep", ["out=x", "sweep.seeds=[0,a]"], "sweep.seeds=[0,a]: expected whole numbers from 0"),
        ("sweep", ["out=x", "sweep.labels=0.1"], "sweep.labels=0.1: expected a list, such as sweep.labels=[0.1]"),
        ("sweep", ["out=x", "sweep.labels=[0.1,2]"], "sweep.labels=[0.1,2]: expected shares"),
        ("sweep", ["out=x", "only=pyod.ecod"], "only=pyod.ecod: expected a list, such as only=[pyod.ecod]"),
        ("sweep", ["out=x", "sweep.data=[]"], "sweep.data: none is left"),
        ("label", ["run=.", "leads=ann"], "leads=ann: expected a list, such as leads=[ann]"),
        ("finetune", ["run=.", "labels=x", "out=y", "folds=1"], "folds=1: expected a whole number from 2"),
        ("explain", ["run=."], ".: no run; give a folder"),
        ("score", ["run=.", "out=s.parquet", "events.path=zero.parquet"], "no run; give a folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    command: str,
    arguments: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ROWS.write_csv("e.csv")
    own = ["run=r", "events.path=e.csv", *ROLES, *COUNTS] if command == "train" else []
    assert dispatch([command, *own, *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1, error
    assert not (tmp_path / "r").exists()


def test_several_settings_at_once_go_without_a_model(tmp_path: Path) -> None:
    ROWS.write_csv(tmp_path / "e.csv")
    own = [f"run={tmp_path / 'r'}", f"events.path={tmp_path / 'e.csv'}", *ROLES, *COUNTS]
    assert dispatch(["train", *own, "experiment=quick"]) == 0


def test_an_empty_file_of_any_kind_is_called_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zero.parquet").touch()
    assert dispatch(["train", f"run={tmp_path / 'r'}", f"events.path={tmp_path / 'zero.parquet'}", *COUNTS]) == 2
    assert "zero.parquet: empty file" in capsys.readouterr().err


def test_a_time_is_a_duration_too() -> None:
    found = [time_limit(text) for text in ("00:00:01:30", "90s", 90, None)]
    assert found == [timedelta(seconds=90)] * 3 + [None]


def test_labels_that_do_not_fit_cost_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ROWS.write_csv(tmp_path / "e.csv")
    pl.DataFrame({"sequence": ["nobody"], "label": [1]}).write_csv(tmp_path / "l.csv")
    own = [f"run={tmp_path / 'r'}", f"events.path={tmp_path / 'e.csv'}", *ROLES, *COUNTS[:-1]]
    assert dispatch(["train", *own, f"labels={tmp_path / 'l.csv'}"]) == 0
    assert "no figures against the labels: no scored row has a label" in capsys.readouterr().err
    assert (tmp_path / "r" / "report.html").is_file()


@pytest.mark.parametrize("labels", ["nowhere.parquet", "empty.csv"])
def test_bad_labels_stop_before_the_work(
    tmp_path: Path, labels: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ROWS.write_csv("e.csv")
    (tmp_path / "empty.csv").write_text("sequence,label\n")
    assert dispatch(["train", "run=run", "events.path=e.csv", *ROLES, *COUNTS, f"labels={labels}"]) == 2
    assert labels in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_id_under_two_entities_names_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ROWS.with_columns(session=pl.lit("s1")).write_csv(tmp_path / "e.csv")
    roles = ["events.entity=user", "events.sequence=session", "events.categorical=[event]"]
    assert dispatch(["train", f"run={tmp_path / 'r'}", f"events.path={tmp_path / 'e.csv'}", *roles, *COUNTS]) == 2
    err = capsys.readouterr().err
    assert "s1" in err and "u0" in err and "u1" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 400 kB, or skip where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=400k") != 0:
        pytest.skip(f"cannot mount a small disk: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


@pytest.mark.parametrize("filled", [0, 250, 330])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    small_disk: Path, shop: Any, filled: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "filler").write_bytes(b"x" * filled * 1024)
    arguments = ["train", f"run={small_disk / 'run'}", *shop.roles, *COUNTS]
    assert dispatch(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and ("disk is full" in err or "are free" in err or "space" in err), err
    assert not [f for f in small_disk.rglob("*") if f.name.startswith((".tmp", ".sequences"))]
    assert not (small_disk / "run" / "manifest.json").exists()
