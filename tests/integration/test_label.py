"""Labels in and out by the command line, and a session in the terminal."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
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


def test_what_names_no_item_of_the_run_is_told(run, shop, tmp_path, capsys):
    items = [*pl.read_parquet(shop.labels)["sequence"].head(3), "nobody"]
    pl.DataFrame({"sequence": items, "label": [1, 0, 0, 1]}).write_csv(tmp_path / "in.csv")
    assert dispatch(["label", f"run={run}", f"import={tmp_path / 'in.csv'}"]) == 0
    told = capsys.readouterr()
    assert "4 of 4 labels were new" in told.out
    assert "1 labelled item not in the run, such as nobody" in told.err


def test_what_several_say_goes_out_as_a_table_that_tunes_and_replays(run, shop, tmp_path, monkeypatch):
    truth = pl.read_parquet(shop.labels).head(40)
    truth.write_csv(tmp_path / "in.csv")
    for who in ("ann", "bob"):
        assert dispatch(["label", f"run={run}", f"import={tmp_path / 'in.csv'}", f"annotator={who}"]) == 0
    assert dispatch(["label", f"run={run}", f"export={tmp_path / 'out.parquet'}", "everything=false"]) == 0
    told = [f"run={run}", f"labels={tmp_path / 'out.parquet'}", "quiet=true"]
    assert dispatch(["replay", *told, f"out={tmp_path / 'curve.json'}", "budget=5", "seeds=1"]) == 0
    assert dispatch(["finetune", *told, f"out={tmp_path / 'tuned'}"]) == 0


def test_where_every_label_is_taken_back_no_posterior_is_left(run, shop, monkeypatch):
    for lines, taught in (("a\nn\nq\n", True), ("z\nz\nq\n", False)):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        assert dispatch(["label", f"run={run}", "ui=terminal", "annotator=ann"]) == 0
        assert ("posterior" in anomaly.Run.load(run).score(shop.events).columns) is taught


def test_a_session_in_the_terminal(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("a click_fraud\nn\nz\nq\n"))
    assert dispatch(["label", f"run={run}", "ui=terminal", "annotator=ann", "audit=0"]) == 0
    assert "1 label · 1 found" in capsys.readouterr().out
    assert (run / "labels.sqlite").exists()
    # Labels go with the run, whatever its folder is called.
    moved = run.rename(run.with_name("moved"))
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    assert dispatch(["label", f"run={moved}", "ui=terminal", "annotator=ann", "audit=0"]) == 0
    assert "1 label · 1 found" in capsys.readouterr().out


def test_single_events_are_labelled_and_what_was_said_replays_and_scores(event_run, shop, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(event_run, run)
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nn\nx\nn\nz\nu\na\nq\n"))
    assert dispatch(["label", f"run={run}", "ui=terminal", "annotator=ann", "double=0"]) == 0
    assert dispatch(["label", f"run={run}", f"export={tmp_path / 'out.parquet'}", "everything=false"]) == 0
    said = pl.read_parquet(tmp_path / "out.parquet")
    assert said["verdict"].to_list() == ["anomalous", "normal", "unsure", "anomalous"]
    assert said["event_time"].null_count() == 0 and set(said["item"]) <= set(shop.frame()["event_id"].cast(pl.String))
    told = [f"run={run}", f"labels={tmp_path / 'out.parquet'}", f"out={tmp_path / 'curve.json'}", "quiet=true"]
    assert dispatch(["replay", *told, "budget=2", "seeds=1", "held_out=false"]) == 0
    opened = anomaly.Run.load(run)
    scored, loop = opened.score(shop.events), opened.active_learner()
    for row in said.iter_rows(named=True):
        loop.teach(next(i for i in loop.items.ids if str(i) == row["item"]), row["verdict"])
    np.testing.assert_allclose(scored["posterior"].to_numpy(), loop.posterior_, atol=1e-4)


def test_labels_of_events_come_in_by_the_id_of_the_event(event_run, shop, tmp_path, capsys):
    shutil.copytree(event_run, tmp_path / "run")
    pl.read_parquet(shop.folder / "event_labels.parquet").head(50).write_csv(tmp_path / "in.csv")
    assert dispatch(["label", f"run={tmp_path / 'run'}", f"import={tmp_path / 'in.csv'}"]) == 0
    told = capsys.readouterr()
    assert "50 of 50 labels were new" in told.out and "not in the run" not in told.err


def test_the_rows_of_a_table_are_labelled(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"x": rng.normal(size=120), "y": rng.normal(size=120), "kind": ["a", "b", "b"] * 40})
    run, path = tmp_path / "run", tmp_path / "rows.csv"
    table.write_csv(path)
    detector = ["detector=iforest", "quiet=true"]
    assert dispatch(["train", f"run={run}", f"table.path={path}", *detector]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nn\nx\nf 11\nn\nz\nq\n"))
    assert dispatch(["label", f"run={run}", "ui=terminal", "annotator=ann"]) == 0
    assert "taken back" in capsys.readouterr().out
    out = tmp_path / "scores.parquet"
    assert dispatch(["score", f"run={run}", f"table.path={path}", f"out={out}", "quiet=true"]) == 0
    assert pl.read_parquet(out)["posterior"].is_finite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ui=desktop"], "ui=desktop"),
        (["audit=2"], "audit=2"),
        (["double=2"], "double=2"),
        (["lease=0"], "lease=0"),
        (["import=nothing.csv"], "nothing.csv"),
        (["host=192.0.2.1"], "host=192.0.2.1"),
        (["database=mysql://x"], "database=mysql"),
    ],
)
def test_a_wrong_word_is_one_line(run, capsys, arguments, message):
    assert dispatch(["label", f"run={run}", "port=0", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_run_that_nobody_labelled_stays_as_it_is(run, capsys):
    before = sorted(run.iterdir())
    assert dispatch(["label", f"run={run}", f"export={run / 'out.csv'}"]) == 2
    assert "no labels yet" in capsys.readouterr().err and sorted(run.iterdir()) == before


def test_a_run_without_events_says_what_it_misses(run, capsys):
    shutil.rmtree(run / "sequences")
    assert dispatch(["label", f"run={run}"]) == 2
    assert "keep_events" in capsys.readouterr().err


def test_a_kind_that_is_too_long_to_be_said_is_refused(run, capsys):
    assert dispatch(["label", f"run={run}", f"typologies=[{'x' * 101}]", "quiet=true"]) == 2
    assert "at most 100 characters" in capsys.readouterr().err
