"""Labels to a new run, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch
from anomaly.metrics.ranking import average_precision

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import ShopFiles


@pytest.fixture(scope="module")
def tuned(run: Path, shop: ShopFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run fine-tuned on the labels of the split train; nobody may change it."""
    folder = tmp_path_factory.mktemp("tuned") / "b"
    arguments = [f"run={run}", f"labels={shop.labels}", "labels_split=train", f"out={folder}"]
    assert dispatch(["finetune", *arguments, "max_epochs=2", "quiet=true"]) == 0
    return folder


def test_labels_rank_better_where_they_were_not_given(run: Path, tuned: Path, shop: ShopFiles) -> None:
    truth = pl.read_parquet(shop.labels).filter(pl.col("split") == "test").select("sequence", "label")
    before = truth.join(anomaly.Run.load(run).scores, on="sequence")
    after = truth.join(anomaly.Run.load(tuned).scores, on="sequence")
    assert average_precision(after["label"], after["posterior"]) > average_precision(before["label"], before["score"])


def test_the_ranking_is_that_of_the_posterior(tuned: Path) -> None:
    scores = anomaly.Run.load(tuned).scores.sort("rank")
    assert scores["posterior"].is_between(0, 1).all()
    assert (scores["posterior"].diff().drop_nulls() <= 0).all()
    assert (scores["score"].diff().drop_nulls() <= 1e-12).all()


def test_what_is_reloaded_scores_as_it_did(tuned: Path, shop: ShopFiles, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    assert dispatch(["score", f"run={tuned}", f"events.path={shop.events}", f"out={out}", "quiet=true"]) == 0
    live, again = anomaly.Run.load(tuned).scores, pl.read_parquet(out)
    assert (live["posterior"] - again["posterior"]).abs().max() < 1e-5
    assert (live["score"] - again["score"]).abs().max() < 1e-5


def test_the_run_says_what_it_learnt_from(run: Path, tuned: Path) -> None:
    told = anomaly.Run.load(tuned).facts["finetuned"]
    assert told["from"] == str(run) and told["helps"] and told["trains"] == "lora"
    assert 0 < told["share"] < 0.1
    assert told["precision_after"] > told["precision_before"]
    assert (tuned / "report.html").is_file()


def test_an_explanation_says_that_it_tells_of_the_score_before_the_labels(
    run: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "the score without labels is explained"
    assert dispatch(["explain", f"run={tuned}", "top=1", "contrast=false"]) == 0
    assert told in capsys.readouterr().err
    assert dispatch(["explain", f"run={run}", "top=1", "contrast=false"]) == 0
    assert told not in capsys.readouterr().err


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert dispatch(["finetune", *arguments, "quiet=true"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_labels_that_cannot_be_used_are_refused_in_one_line(
    counts_run: Path, shop: ShopFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = pl.read_parquet(shop.labels), tmp_path / "b"
    given = tmp_path / "labels.parquet"
    common = (f"run={counts_run}", f"labels={given}", f"out={out}")
    labels.filter(pl.col("label") == 0).write_parquet(given)
    assert "none is anomalous (1)" in refusal(capsys, *common)
    labels.with_columns(label=pl.lit(-1)).write_parquet(given)
    assert "none is anomalous (1)" in refusal(capsys, *common)
    labels.with_columns(sequence=pl.lit("x") + pl.col("sequence")).write_parquet(given)
    assert "check labels_id=" in refusal(capsys, *common)
    assert "no column 'session'" in refusal(capsys, *common, "labels_id=session")
    assert "expected one of" in refusal(capsys, *common, "head=svm")
    assert not out.exists()


def test_a_run_without_events_says_what_it_misses(
    shop: ShopFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    options = ["model=none", "detector=counts", "corruption=none", "keep_events=false"]
    assert dispatch(["train", f"run={bare}", *shop.roles, *options]) == 0
    line = refusal(capsys, f"run={bare}", f"labels={shop.labels}", f"out={tmp_path / 'b'}")
    assert "keep_events=true" in line
    arguments = [f"run={bare}", f"labels={shop.labels}", f"out={tmp_path / 'b'}", f"events.path={shop.events}"]
    assert dispatch(["finetune", *arguments, "quiet=true"]) == 0


def test_single_events_learn_from_their_ids(shop: ShopFiles, tmp_path: Path) -> None:
    labels = pl.read_parquet(shop.folder / "event_labels.parquet")
    options = ["model=none", "detector=counts", "corruption=none", "unit=event"]
    assert dispatch(["train", f"run={tmp_path / 'a'}", *shop.roles, *options]) == 0
    tuned = anomaly.finetune(tmp_path / "a", labels.select("id", "label"), out=tmp_path / "b")
    assert tuned.scores["posterior"].is_between(0, 1).all()
    assert tuned.facts["finetuned"]["helps"]


def test_a_run_without_a_network_says_so(
    counts_run: Path, shop: ShopFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"run={counts_run}", f"labels={shop.labels}", "labels_split=train", f"out={tmp_path / 'b'}"]
    assert dispatch(["finetune", *arguments]) == 0
    told = capsys.readouterr()
    assert "no network has learnt" in " ".join((told.out + told.err).split())


def test_a_run_fine_tunes_in_python(counts_run: Path, shop: ShopFiles, tmp_path: Path) -> None:
    run = anomaly.Run.load(counts_run, allow=("json",))
    new = anomaly.finetune(run, pl.read_parquet(shop.labels), out=tmp_path / "b", labels_split="train")
    assert (new.path / "report.html").is_file() and "labels_split: train" in new.config
    assert new.allow == ("json",) and new.manifest["allow"] == ["json"]
    assert anomaly.Run.load(new.path).facts["finetuned"]["network_heard"] is False
    assert "posterior" in new.score(shop.events).columns
    assert "posterior" not in run.scores.columns
