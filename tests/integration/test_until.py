"""Final silences from the command line: judged up to a stated end, by nobody else's rows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = "2025-03-15"
MEMBERS = ["model=none", "detector=[counts,silence]"]


@pytest.fixture(scope="module")
def until_run(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "until"
    assert dispatch(["train", f"run={folder}", *shop.roles, *MEMBERS, f"events.until={UNTIL}"]) == 0
    return folder


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    columns = [c for c in found.columns if c.startswith("score")]
    both = [frame.sort("sequence").select(columns).to_numpy() for frame in (found, expected)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


def test_scores_know_the_silence_and_come_back(until_run: Path, shop: Any, tmp_path: Path) -> None:
    run = anomaly.Run.load(until_run)
    silent = run.scores.filter(pl.col("score.silence") > 0.05)
    assert silent.height > 0 and silent["entity"].is_unique().all()
    same(run.score(shop.frame()), run.scores)
    users = shop.frame()["user"].unique().sort().head(20)
    part = run.score(shop.frame().filter(pl.col("user").is_in(users.implode())))
    same(part, run.scores.filter(pl.col("entity").is_in(users.implode())))


def test_another_end_may_be_stated_for_new_rows(until_run: Path, shop: Any, tmp_path: Path) -> None:
    frame = shop.frame()
    score = ["score", f"run={until_run}", f"events.path={shop.events}", f"out={tmp_path / 's.parquet'}", "quiet=true"]
    assert dispatch([*score, "events.until=2026-03-15"]) == 0
    later = pl.read_parquet(tmp_path / "s.parquet")
    run = anomaly.Run.load(until_run)
    assert later["score.silence"].sum() > run.scores["score.silence"].sum()
    early = str(frame["time"].max() - timedelta(days=400))
    assert run.score(frame, until=early)["score.silence"].max() < 0.05


def test_new_rows_are_explained_as_they_were_scored(until_run: Path, shop: Any, tmp_path: Path) -> None:
    later = "2026-03-15"
    top = anomaly.Run.load(until_run).score(shop.frame(), until=later).sort("rank").row(0, named=True)
    out = tmp_path / "why.json"
    explain = ["explain", f"run={until_run}", f"events.path={shop.events}", f"sequence={top['sequence']}"]
    assert dispatch([*explain, f"events.until={later}", f"out={out}", "contrast=false", "quiet=true"]) == 0
    (story,) = json.loads(out.read_text())
    assert story["score"] == pytest.approx(top["score"], abs=1e-5)


@pytest.mark.parametrize("stated", ["events.until=2026-03-15", "history.path=past.parquet"])
def test_an_end_or_a_past_without_new_rows_is_refused(
    until_run: Path, capsys: pytest.CaptureFixture[str], stated: str
) -> None:
    assert dispatch(["explain", f"run={until_run}", stated]) == 2
    assert "events.path" in capsys.readouterr().err


def test_a_run_without_an_end_says_so(
    counts_run: Path, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"out={tmp_path / 's.parquet'}"
    score = ["score", f"run={counts_run}", f"events.path={shop.events}", out, f"events.until={UNTIL}"]
    assert dispatch(score) == 2
    assert "state it in train" in capsys.readouterr().err and not list(tmp_path.iterdir())
