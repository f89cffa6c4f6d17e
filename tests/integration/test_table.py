"""A table through the whole way, by the command line and in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch
from anomaly.errors import SchemaError


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    odd = np.arange(300) < 9
    b = rng.normal(size=300)
    frame = pl.DataFrame(
        {
            "row": [f"r{k}" for k in range(300)],
            "a": rng.normal(size=300) * np.where(odd, 8, 1),
            "b": np.where(rng.random(300) < 0.1, np.nan, b),
            "constant": np.ones(300),
            "kind": np.where(odd & (b > 0), "rare", rng.choice(["x", "y"], 300)),
            "class": np.where(odd, "attack", "fine"),
        }
    ).with_columns(pl.col("b").fill_nan(None))
    path = tmp_path_factory.mktemp("table") / "t.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    run = table.parent / "run"
    roles = ["table.id=row", "table.label=class", "table.anomaly=attack"]
    assert dispatch(["train", f"run={run}", f"table.path={table}", *roles, "quiet=true"]) == 0
    return run


def test_the_folder_is_that_of_any_run(run: Path) -> None:
    opened = anomaly.Run.load(run)
    assert opened.metrics is not None
    assert opened.metrics["auroc"]["value"] > 0.8
    assert (run / "report.html").is_file()
    assert set(opened.event_scores["field"].unique()) <= {"a", "b", "constant", "kind"}
    assert "class" not in opened.encoder.schema_.inputs


def test_the_same_scores_from_the_file_and_alone(run: Path, table: Path) -> None:
    out = run.parent / "again.parquet"
    assert dispatch(["score", f"run={run}", f"table.path={table}", f"out={out}", "quiet=true"]) == 0
    first, again = anomaly.Run.load(run).scores, pl.read_parquet(out)
    assert again["sequence"].to_list() == first["sequence"].to_list()
    np.testing.assert_allclose(again["score"], first["score"], atol=1e-5)
    alone = anomaly.Run.load(run).score(pl.read_csv(table)[4:5])
    assert alone["score"][0] == pytest.approx(first["score"][4], abs=1e-5)


def test_evaluate_reads_what_was_scored(run: Path, table: Path) -> None:
    labels = pl.read_csv(table).select(sequence="row", label=(pl.col("class") == "attack").cast(pl.Int64))
    found = anomaly.evaluate(run / "scores.parquet", labels)
    assert found["n_anomalous"] == 9


def test_the_table_itself_holds_the_labels(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that nothing names are matched by their number, unless the labels number them in another order."""
    whole = pl.read_csv(table).with_columns(verdict=(pl.col("class") == "attack").cast(pl.Int64)).drop("row", "class")
    whole.write_csv(tmp_path / "whole.csv")
    given = [f"run={tmp_path / 'run'}", f"table.path={tmp_path / 'whole.csv'}", "table.label=verdict", "quiet=true"]
    assert dispatch(["train", *given]) == 0
    scores = tmp_path / "run" / "scores.parquet"
    known = anomaly.Run.load(tmp_path / "run").metrics
    capsys.readouterr()
    assert dispatch(["evaluate", f"scores={scores}", f"labels={tmp_path / 'whole.csv'}", "label=verdict"]) == 0
    assert "matched by the number of the row" in "".join(capsys.readouterr())
    found = anomaly.Run.load(tmp_path / "run").metrics
    assert found is not None and known is not None and found["auroc"] == known["auroc"]
    turned = whole.with_columns(place=pl.int_range(pl.len())).reverse()
    keyed = whole.with_columns(place=pl.format("r{}", pl.int_range(pl.len())))
    from_one = whole.with_columns(place=pl.len() - pl.int_range(pl.len()))
    for labels in (turned, keyed, from_one, whole.head(299)):
        with pytest.raises(SchemaError, match="no column 'sequence'"):
            anomaly.evaluate(scores, labels, label="verdict")
    assert anomaly.evaluate(scores, turned, label="verdict", labels_id="place")["auroc"] == known["auroc"]


def test_a_csv_of_which_nothing_is_stated(table: Path, tmp_path: Path) -> None:
    pl.read_csv(table).select("a", "b").write_csv(tmp_path / "bare.csv")
    assert dispatch(["train", f"run={tmp_path / 'run'}", f"table.path={tmp_path / 'bare.csv'}", "quiet=true"]) == 0
    assert anomaly.Run.load(tmp_path / "run").scores.height == 300


def test_nineteen_rows_in_python(table: Path, tmp_path: Path) -> None:
    rows = pl.read_csv(table)[:19].drop("class")
    run = anomaly.train(rows, run=tmp_path / "few", table={})
    assert run.scores["sequence"].to_list() == list(range(19))
    assert run.score(rows)["score"].is_finite().all()


def test_rows_of_a_table_fine_tune_and_bad_ones_may_be_dropped(run: Path, table: Path, tmp_path: Path) -> None:
    rows = pl.read_csv(table)
    rows.select(sequence="row", label=(pl.col("class") == "attack").cast(pl.Int64)).write_csv(tmp_path / "labels.csv")
    rows.with_columns(a=pl.when(pl.col("row") == "r50").then(float("inf")).otherwise("a")).write_parquet(
        tmp_path / "new.parquet"
    )
    given = [f"run={run}", f"labels={tmp_path / 'labels.csv'}", f"events.path={tmp_path / 'new.parquet'}"]
    assert dispatch(["finetune", *given, f"out={tmp_path / 'b'}", "quiet=true"]) == 2
    assert dispatch(["finetune", *given, f"out={tmp_path / 'b'}", "checks.bad_rows=drop", "quiet=true"]) == 0
    tuned = anomaly.Run.load(tmp_path / "b")
    assert tuned.scores.height == 299
    assert (tuned.facts["dropped"], tuned.facts["path"]) == (1, str(tmp_path / "new.parquet"))


def test_what_is_wrong_is_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", f"run={tmp_path / 'r'}", f"table.path={table}", "table.label=class", "quiet=true"]
    assert dispatch(arguments) == 2
    assert "table.anomaly=VALUE" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_a_table_does_not_have_is_not_listed(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["score", f"run={run}", f"table.path={table}", f"out={tmp_path / 's.parquet'}"]) == 0
    listed = capsys.readouterr().out.partition("highest scores")[2].partition("written")[0]
    assert "sequence" in listed and "entity" not in listed and "length" not in listed
