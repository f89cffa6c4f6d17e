"""A tuning beside the session: heard where hidden labels speak for it, never waited for, ended with the session."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.active.deep import BackgroundTuning
from anomaly.active.items import Items
from anomaly.active.records import Labels
from anomaly.active.residual_gp import ResidualGP
from anomaly.base import FeatureMatrix
from anomaly.commands import tuning
from anomaly.commands.tuning import FinetuneCommand
from anomaly.errors import ConfigError

LABELS = Labels.of(np.arange(12), np.arange(12) % 2)
SCRIPT = """
import json, sys, time
from pathlib import Path
import polars as pl
folder, heard, seconds, code = Path(sys.argv[1]), sys.argv[2] == "1", float(sys.argv[3]), int(sys.argv[4])
time.sleep(seconds)
(folder / "run").mkdir()
told = {"helps": True, "network_heard": heard, "labels": pl.read_parquet(folder / "labels.parquet").height}
(folder / "run" / "manifest.json").write_text("{}")
(folder / "run" / "data.json").write_text(json.dumps({"finetuned": told}))
rows = {"sequence": [f"i{k}" for k in reversed(range(60))], "posterior": [k / 60 for k in reversed(range(60))]}
pl.DataFrame(rows).write_parquet(folder / "run" / "scores.parquet")
sys.exit(code)
"""


@pytest.fixture
def items(tmp_path: Path) -> Items:
    ids = pl.Series([f"i{k}" for k in range(60)])
    (tmp_path / "data.json").write_text('{"unit": "sequence"}')
    rng = np.random.default_rng(0)
    looks = FeatureMatrix(rng.normal(size=(60, 3)).astype(np.float32), ("a", "b", "c"))
    return Items(ids, rng.exponential(size=60), {"looks": looks})


@pytest.fixture
def tuned(items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def begin(*, heard: bool = True, seconds: float = 0.0, code: int = 0, **options: Any) -> BackgroundTuning:
        told = [str(int(heard)), str(seconds), str(code)]
        monkeypatch.setattr(
            tuning, "_command", lambda run, folder, seed, allow: [sys.executable, "-c", SCRIPT, folder, *told]
        )
        return BackgroundTuning(tuner=FinetuneCommand(run=str(tmp_path)), first=10, **options).fit(items)

    return begin


def alone(items: Items) -> Any:
    return ResidualGP().fit(items).update(LABELS).rank()


def test_a_tuning_that_has_ended_is_heard(tuned: Any, items: Items) -> None:
    learner = tuned(wait=True, weight=2.0).update(LABELS)
    assert learner.tuned_ == 12
    np.testing.assert_allclose(learner.rank(), alone(items) + 2.0 * np.arange(60) / 60)
    assert learner.update(LABELS[:5]).tuned_ == 0
    assert learner.update(LABELS).tuned_ == 12


@pytest.mark.parametrize("options", [{"heard": False}, {"code": 1}])
def test_without_evidence_nothing_changes(tuned: Any, items: Items, options: dict[str, Any]) -> None:
    learner = tuned(wait=True, **options).update(LABELS)
    np.testing.assert_array_equal(learner.rank(), alone(items))


def test_a_failed_tuning_says_why(tuned: Any, items: Items, caplog: pytest.LogCaptureFixture) -> None:
    script = "import sys; sys.exit('runs/a: no such run')"
    with pytest.MonkeyPatch.context() as patch:
        learner = tuned(wait=True).fit(items)
        patch.setattr(tuning, "_command", lambda run, folder, seed, allow: [sys.executable, "-c", script])
        learner.update(LABELS)
    assert learner.tuned_ == 0
    assert "the tuning of the network failed: runs/a: no such run" in caplog.text


def test_no_label_waits_and_the_process_ends_with_the_session(tuned: Any, items: Items) -> None:
    learner = tuned(seconds=600)
    begun = time.perf_counter()
    learner.update(LABELS)
    job = learner._job
    assert time.perf_counter() - begun < 5 and job.process.poll() is None and job.folder.is_dir()
    np.testing.assert_array_equal(learner.rank(), alone(items))
    process, folder = job.process, job.folder
    learner._job = job = None
    assert process.poll() is not None and not folder.exists()


def test_the_last_word_on_an_item_is_learnt(tuned: Any) -> None:
    learner = tuned(seconds=600).update(Labels.of([*range(12), 0], [*np.arange(12) % 2, 1]))
    table = pl.read_parquet(learner._job.folder / "labels.parquet")
    assert table.height == 12 and table.row(0) == ("i0", 1)
    learner._job.end()


def test_a_table_has_no_network(items: Items) -> None:
    with pytest.raises(ConfigError, match="choose another learner"):
        BackgroundTuning().fit(items)
