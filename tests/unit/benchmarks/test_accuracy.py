from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from accuracy import cell
from accuracy_cell import configuration, judge, match
from accuracy_table import draw_table, summarise
from measure import stamp, write_json

from anomaly.errors import ConfigError, DataError
from anomaly.sweeps.folder import LabelledFolder


def row(seed: int, auroc: float, precision: float, name: str = "proc_receipt_010") -> dict[str, Any]:
    good, bad = {"auroc": 0.9, "average_precision": 0.6}, {"auroc": 0.5, "average_precision": 0.1}
    return {
        "set": name,
        "seed": seed,
        "auroc": auroc,
        "average_precision": precision,
        "floors": {"unigram": bad, "bigram, largest": good},
        "members": {"a": bad, "b": {"auroc": 0.97, "average_precision": 0.8}},
        "false_alarms": [{"nominal": 0.01, "observed": 0.02}, {"nominal": 0.05, "observed": 0.06}],
        "repeats": 0.83,
        "seconds": {"fit": 10.0, "score": 1.0},
    }


def folder(path: Path) -> LabelledFolder:
    roles = ("entity", "time", "order", "id", "numeric", "shared")
    events: dict[str, Any] = dict.fromkeys(roles) | {"sequence": "s", "categorical": ["e"]}
    return LabelledFolder(path, events, "all", "all", None, "sequence", {"path": "labels.parquet", "id": "s"})


def test_means_carry_their_spread_and_losses_are_named() -> None:
    (summary,) = summarise([row(0, 0.94, 0.5), row(1, 0.96, 0.6)])
    assert summary["auroc"] == pytest.approx(0.95)
    assert summary["auroc_std"] == pytest.approx(np.std([0.94, 0.96], ddof=1), abs=1e-5)
    assert summary["best_floor"] == "bigram, largest"
    assert summary["best_member"] == "b"
    assert summary["losses"] == ["must: AP -0.110", "floor (bigram, largest): AP -0.050"]


def test_the_table_marks_losses_and_failures() -> None:
    failed = {"set": "gone", "seed": 0, "error": "exit -9"}
    table = draw_table(summarise([row(0, 0.94, 0.5), row(0, 0.99, 0.9, "elsewhere"), failed]))
    lines = table.splitlines()[4:]
    assert "0.930/0.660" in lines[0] and "**must: AP -0.160" in lines[0]
    assert "0.970/0.800 (b)" in lines[0] and "83%" in lines[0]
    assert "reported" in lines[1] and lines[1].endswith("| none |")
    assert "seed 0 failed (exit -9)" in lines[2]
    assert {line.count("|") for line in lines} == {9}


def test_a_member_that_a_seed_lacks_is_left_out() -> None:
    other = row(1, 0.9, 0.5)
    del other["members"]["b"]
    (summary,) = summarise([row(0, 0.9, 0.5), other])
    assert list(summary["members"]) == ["a"]


def test_labels_meet_ids_whatever_their_types() -> None:
    labels = pl.DataFrame({"item": ["1", "2", "3"], "label": [0, 1, -1]}, schema_overrides={"label": pl.Int8})
    assert match(labels, pl.Series([3, 2, 9, 1])).tolist() == [-1, 1, -1, 0]
    with pytest.raises(DataError, match="among the labels"):
        match(labels, pl.Series([7]))
    with pytest.raises(DataError, match="repeated"):
        match(pl.concat([labels, labels]), pl.Series([1]))


def test_judge_counts_ties_half() -> None:
    assert judge(np.array([0, 1]), np.zeros(2)) == {"auroc": 0.5, "average_precision": 0.5}


def test_one_configuration_for_every_set(tmp_path: Path) -> None:
    kept = configuration(folder(tmp_path), 0, ["model.width=32", "trainer.max_epochs=2"])
    assert kept["model"]["width"] == 32
    assert kept["model"]["max_epochs"] == 2
    assert "events" not in kept
    with pytest.raises(ConfigError, match="max_epochs"):
        configuration(folder(tmp_path), 0, ["trainer.max_epoch=2"])


def test_a_crash_is_a_row_and_a_finished_cell_is_kept(tmp_path: Path) -> None:
    one = folder(tmp_path / "nothing")
    failed = cell(one, 0, [], tmp_path / "work")
    assert failed["set"] == "nothing"
    assert "dataset.yaml: no such file" in failed["error"]
    (log,) = (tmp_path / "work").glob("*.log")
    write_json(log.with_suffix(".json"), row(0, 0.9, 0.5))
    assert cell(one, 0, [], tmp_path / "work")["auroc"] == 0.9
    assert "error" in cell(one, 1, [], tmp_path / "work")


def test_a_result_says_what_it_was_measured_on(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "r.json", stamp("accuracy", "numpy"))
    told = json.loads((tmp_path / "deep" / "r.json").read_text())
    assert told["theme"] == "accuracy"
    assert told["versions"]["numpy"] == np.__version__
    assert told["hardware"]["cores"] >= 1
    assert len(told["code"]["sources"]) == 16
