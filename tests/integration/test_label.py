"""Labels in and out by the command line, and a session in the terminal."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch


@pytest.fixture
def run(counts_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(counts_run, tmp_path / "run")
    return tmp_path / "run"


def test_labels_go_in_and_out_and_move_what_is_scored(run, shop, tmp_path, capsys):
    pl.read_parquet(shop.labels).head(30).write_csv(tmp_path / "in.csv")
    arguments = ["label", f"run={run}", f"import={tmp_path / 'in.csv'}", "source=chargeback", "annotator=the bank"]
    assert dispatch(arguments) == 0 and dispatch(arguments) == 0
    assert dispatch(["label", f"run={run}", f"export={tmp_path / 'x.csv'}"]) == 0
    assert dispatch(["label", f"run={run}", f"export={tmp_path / 'out.parquet'}", "everything=false"]) == 0
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out.height == 30 and set(out["annotator"]) == {"the bank"} and set(out["source"]) == {"chargeback"}
    scored = anomaly.Run.load(run).score(shop.events)
    assert scored["posterior"].is_finite().all()


def test_a_session_in_the_terminal(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("a click_fraud\nn\nz\nq\n"))
    assert dispatch(["label", f"run={run}", "ui=terminal", "annotator=ann", "audit=0"]) == 0
    assert "1 label · 1 found" in capsys.readouterr().out
    assert (run / "labels.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ui=desktop"], "ui=desktop"),
        (["audit=2"], "audit=2"),
        (["double=2"], "double=2"),
        (["import=nothing.csv"], "nothing.csv"),
        (["host=192.0.2.1"], "host=192.0.2.1"),
        (["database=mysql://x"], "database=mysql"),
    ],
)
def test_a_wrong_word_is_one_line(run, capsys, arguments, message):
    assert dispatch(["label", f"run={run}", "port=0", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_run_without_events_says_what_it_misses(run, capsys):
    shutil.rmtree(run / "sequences")
    assert dispatch(["label", f"run={run}"]) == 2
    assert "keep_events" in capsys.readouterr().err
