"""`anomaly replay` on a table and on a run; a run with labels ranks new events by the posterior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.active.learner import ActiveLearner
from anomaly.artifact.items import items_of_run
from anomaly.artifact.run import Run
from anomaly.commands.dispatch import dispatch


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    odd = np.arange(300) % 20 == 0
    frame = pl.DataFrame(
        {"x": rng.normal(size=300) + 3 * odd, "y": rng.normal(size=300), "kind": ["a", "b", "b"] * 100}
    )
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    frame.with_columns(label=pl.Series(np.where(odd, "anomaly", "nominal"))).write_csv(path)
    return path


def test_the_figures_of_a_table(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    told = [f"table.path={table}", "table.label=label", "table.anomaly=anomaly", f"out={out}", "quiet=true"]
    assert dispatch(["replay", *told, "budget=50", "seeds=2", "learner.kernel.trees=20"]) == 0
    found = json.loads(out.read_text())
    assert [row["seed"] for row in found["seeds"]] == [0, 1]
    for row in found["seeds"]:
        assert list(row["found"]) == list(row["ap_pool"]) == list(row["ap_held_out"]) == ["0", "10", "20", "50"]
        assert row["found"]["50"] == row["curve"][50] <= 15 and row["update_ms"] > 0
        assert all(0 <= p <= 1 for key in ("ap_pool", "ap_held_out") for p in row[key].values())
    assert (tmp_path / "curve.svg").read_text().count("<svg") == 1
    first = out.read_bytes()
    assert dispatch(["replay", *told, "budget=50", "seeds=2", "learner.kernel.trees=20"]) == 0
    again: Any = json.loads(first)
    assert [r["found"] for r in again["seeds"]] == [r["found"] for r in json.loads(out.read_text())["seeds"]]


def test_the_order_of_a_file_tells_nothing(tmp_path: Path) -> None:
    """All rows look the same, and the anomalous ones come first."""
    frame = pl.DataFrame({"x": [0.0, 1.0] * 150, "label": [1] * 30 + [0] * 270})
    frame.write_csv(tmp_path / "sorted.csv")
    out = tmp_path / "curve.json"
    told = [f"table.path={tmp_path / 'sorted.csv'}", "table.label=label", f"out={out}", "quiet=true"]
    assert dispatch(["replay", *told, "budget=20", "seeds=3", "held_out=false", "learner.kernel.trees=20"]) == 0
    rows = json.loads(out.read_text())["seeds"]
    for figures in ("found", "found_without_labels"):
        assert sum(row[figures]["20"] for row in rows) < 20, figures


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], "give either run="),
        (["table.path=TABLE"], "table.label"),
        (["table.path=TABLE", "table.label=label"], "table.anomaly"),
        (["table.path=TABLE", "table.label=label", "table.anomaly=anomaly", "budget=0"], "budget"),
        (["table.path=TABLE", "table.label=label", "table.anomaly=anomaly", "learner=weights"], "weighs the members"),
        (["table.path=TABLE", "table.label=label", "table.anomaly=anomaly", "audit=1.0"], "audit"),
        (["table.path=TABLE", "table.label=label", "table.anomaly=anomaly", "wrong=0.7"], "err less than half"),
        (["run=nowhere", "labels=x.parquet"], "no such run"),
        (["table.path=TABLE", "table.label=label", "table.anomaly=anomaly", "out=curve.svg"], "such as curve.json"),
        (["table.path=ONE", "table.label=label"], "held_out=false"),
    ],
)
def test_what_cannot_be_replayed(
    told: list[str], message: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"x": range(30), "label": [1] + [0] * 29}).write_csv(tmp_path / "one.csv")
    arguments = [each.replace("TABLE", str(table)).replace("ONE", str(tmp_path / "one.csv")) for each in told]
    assert dispatch(["replay", f"out={tmp_path / 'x.json'}", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_figures_of_a_run(run: Path, shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    faults = ["wrong=0.1", "annotators=2", "spread=0.5", "delay=3", "audit=0.1"]
    told = [f"run={run}", f"labels={shop.labels}", f"out={out}", "budget=20", "seeds=1", "quiet=true"]
    assert dispatch(["replay", *told, *faults, "learner=weights", "query=diverse"]) == 0
    found = json.loads(out.read_text())
    assert found["n_anomalous"] > 0 and found["settings"]["delay"] == 3
    assert list(found["seeds"][0]["found"]) == ["0", "10", "20"]


def test_items_of_sequences(run: Path) -> None:
    opened = Run.load(run)
    items = items_of_run(opened)
    assert len(items) == opened.scores.height and items.ids.to_list() == opened.scores["sequence"].to_list()
    assert set(items.views) == {"members", "aggregates", "embedding"}
    assert items.links is not None and len(items.links.codes) > len(items)


def test_a_run_with_labels_ranks_new_events_by_the_posterior(counts_run: Path, shop: Any, tmp_path: Path) -> None:
    import shutil

    labelled = tmp_path / "labelled"
    shutil.copytree(counts_run, labelled)
    opened = Run.load(labelled)
    before = opened.score(shop.events)
    assert "posterior" not in before.columns
    loop = ActiveLearner(items_of_run(opened))
    truth = dict(pl.read_parquet(shop.labels).select("sequence", "label").iter_rows())
    for item in loop.query(30):
        loop.teach(item, truth[item])
    opened.keep_learner(loop.learner)
    after = Run.load(labelled).score(shop.events)
    assert after.drop("posterior").equals(before)
    known = dict(zip(loop.items.ids, loop.posterior_, strict=True))
    expected = np.array([known[i] for i in after["sequence"]])
    np.testing.assert_allclose(after["posterior"].to_numpy(), expected, atol=1e-4)
    assert np.abs(after["posterior"].to_numpy() - ActiveLearner(loop.items).posterior_).max() > 0.1
