"""A run folder end to end: what it holds, that it comes back as it was, that it refuses what it must."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.artifact.manifest import final_files, read_manifest, verify
from anomaly.commands.dispatch import dispatch
from anomaly.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = ["model=none", "detector=counts", "corruption=none"]


def assert_same_scores(a: pl.DataFrame, b: pl.DataFrame) -> None:
    assert a.columns == b.columns and a["sequence"].equals(b["sequence"])
    for name in a.columns:
        if a[name].dtype == pl.Float64:
            np.testing.assert_allclose(a[name].to_numpy(), b[name].to_numpy(), atol=1e-5, err_msg=name)
    assert (a["flagged"] == b["flagged"]).mean() > 0.999


def test_a_run_says_where_it_lies() -> None:
    assert repr(anomaly.Run("runs/a")) == "Run('runs/a')"


def test_a_run_holds_what_it_should_and_no_pickle(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        *("config.yaml", "manifest.json", "encoder", "sequences", "members", "calibration", "checkpoints", "log.jsonl"),
        *("scores.parquet", "event_scores.parquet", "entity_scores.parquet", "metrics.json", "report.html"),
    }
    files = [path for path in run.rglob("*") if path.is_file()]
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x05")]
    suffixes = {path.suffix for path in files}
    assert not suffixes & {".pkl", ".pickle", ".joblib", ".pt", ".pth"}
    assert not [path for path in files if path.name.startswith(".tmp")]
    manifest = json.loads((run / "manifest.json").read_text())
    assert set(manifest["files"]) == set(final_files(run))
    assert manifest["seeds"] == {"seed": 0} and manifest["data"]["fingerprint"]
    verify(run)
    for line in (run / "log.jsonl").read_text().splitlines():
        assert {"time", "event"} <= set(json.loads(line))


def test_the_tables_keep_their_promises(run: Path, shop: Any) -> None:
    found = anomaly.Run.load(run)
    scores, events, entities = found.scores, found.event_scores, found.entity_scores
    frame = shop.frame()
    assert set(scores["sequence"]) == set(frame["session"]) and scores["sequence"].is_unique().all()
    assert scores["length"].sum() == frame.height == events.height
    assert scores["score"].is_finite().all() and scores["p_value"].is_between(0, 1).all()
    assert sorted(scores["rank"]) == list(range(1, scores.height + 1))
    assert scores.sort("rank")["score"].is_sorted(descending=True)
    assert [c for c in scores.columns if c.startswith("score.next_event")]
    assert set(events["id"]) == set(frame["event_id"])
    assert entities["n_sequences"].sum() == scores.height
    joined = scores.join(events.group_by("sequence").agg(pl.col("position").max()), on="sequence")
    assert (joined["position"] + 1 == joined["length"]).all()


def test_scoring_the_training_file_gives_the_runs_scores(run: Path, shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "new scores (1).parquet"
    assert dispatch(["score", f"run={run}", f"events.path={shop.events}", f"out={out}", "quiet=true"]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted([out.name, f"event_{out.name}", f"entity_{out.name}"])
    found = anomaly.Run.load(run)
    assert_same_scores(pl.read_parquet(out), found.scores)
    assert_same_scores(found.score(shop.frame()), found.scores)
    reversed_rows = found.score(shop.frame().reverse()).sort("sequence")
    assert_same_scores(reversed_rows.drop("rank"), found.scores.sort("sequence").drop("rank"))


def test_a_part_of_the_file_scores_as_in_the_whole(run: Path, shop: Any) -> None:
    found = anomaly.Run.load(run)
    some = found.scores["sequence"].head(30).to_list()
    part = found.score(shop.frame().filter(pl.col("session").is_in(some)))
    whole = found.scores.filter(pl.col("sequence").is_in(some))
    assert_same_scores(part.drop("rank"), whole.drop("rank"))


def test_the_threshold_changes_without_refit(run: Path, shop: Any, tmp_path: Path) -> None:
    arguments = ["score", f"run={run}", f"events.path={shop.events}", "quiet=true"]
    assert dispatch([*arguments, f"out={tmp_path / 's.parquet'}", "threshold=fpr", "threshold.rate=0.2"]) == 0
    scores = pl.read_parquet(tmp_path / "s.parquet")
    assert (scores["flagged"] == (scores["p_value"] <= 0.2)).all()
    assert dispatch([*arguments, f"out={tmp_path / 's.parquet'}", "threshold=budget", "threshold.count=7"]) == 0
    assert pl.read_parquet(tmp_path / "s.parquet")["flagged"].sum() == 7


def test_unknown_values_and_entities_are_told(
    run: Path, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = shop.frame().with_columns(category=pl.lit("never seen"), user=pl.lit("nobody"))
    strange.write_parquet(tmp_path / "e.parquet")
    out = tmp_path / "s.parquet"
    assert dispatch(["score", f"run={run}", f"events.path={tmp_path / 'e.parquet'}", f"out={out}"]) == 0
    assert "never seen in training" in " ".join(capsys.readouterr().out.split())
    assert pl.read_parquet(out)["score"].is_finite().all()


def test_sequences_of_other_lengths_are_told(shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One day of histories of weeks would be flagged as a whole, and nothing would say why.
    roles = [f"events.path={shop.events}", "events.entity=user", "events.sequence=null", "events.categorical=[event]"]
    assert dispatch(["train", f"run={tmp_path / 'r'}", *roles, *COUNTS, "quiet=true"]) == 0
    frame = shop.frame()
    for name, rows in {"all": frame, "day": frame.group_by("user").head(2)}.items():
        rows.write_parquet(tmp_path / f"{name}.parquet")
        score = [
            "score",
            f"run={tmp_path / 'r'}",
            f"events.path={tmp_path / name}.parquet",
            f"out={tmp_path / 's.csv'}",
        ]
        assert dispatch(score) == 0
        assert ("events.gap" in capsys.readouterr().err) == (name == "day")


def test_evaluate_and_report(run: Path, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "scores.parquet"
    shutil.copy(run / "scores.parquet", scores)
    assert dispatch(["evaluate", f"scores={scores}", f"labels={shop.labels}"]) == 0
    assert "AUROC" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["auroc"]["value"] > 0.6
    assert metrics == json.loads((run / "metrics.json").read_text())
    page = tmp_path / "page.html"
    assert dispatch(["report", f"run={run}", f"out={page}", "threshold=fpr", f"labels={shop.labels}"]) == 0
    assert "<html" in page.read_text() and page.read_text() != (run / "report.html").read_text()
    copy = shutil.copytree(run, tmp_path / "copy")
    assert dispatch(["evaluate", f"scores={copy / 'scores.parquet'}", f"labels={shop.labels}", "seed=1"]) == 0
    assert json.loads((copy / "metrics.json").read_text()) != metrics
    assert dispatch(["report", f"run={copy}", "threshold=fpr"]) == 0
    verify(copy)
    # Figures of the flags are those of the threshold that the page tells of, or none.
    assert '<th scope="row">flagged</th>' in (run / "report.html").read_text()
    assert '<th scope="row">flagged</th>' not in (copy / "report.html").read_text()
    # With labels too: the run's own figures stay, those of the other flags lie beside the page that shows them.
    own, shown = (copy / "metrics.json").read_bytes(), copy / "report_files" / "metrics.json"
    assert dispatch(["report", f"run={copy}", "threshold=fpr", "threshold.rate=0.5", f"labels={shop.labels}"]) == 0
    assert (copy / "metrics.json").read_bytes() == own
    other = json.loads(shown.read_text())["flagged"]
    assert other != json.loads(own)["flagged"]
    verify(copy)
    assert dispatch(["report", f"run={copy}"]) == 0 and shown.read_bytes() == own
    verify(copy)
    events = ["evaluate", f"scores={run / 'event_scores.parquet'}", "level=event", f"out={tmp_path / 'e.json'}"]
    assert dispatch([*events, f"labels={shop.folder / 'event_labels.parquet'}"]) == 0
    capsys.readouterr()
    assert dispatch(["evaluate", events[1], f"labels={shop.labels}"]) == 2
    assert "single events; state level=event" in capsys.readouterr().err


def test_a_page_elsewhere_leaves_the_figures_of_others_alone(counts_run: Path, shop: Any, tmp_path: Path) -> None:
    other = shutil.copytree(counts_run, tmp_path / "other")
    figures = [other / "metrics.json", tmp_path / "metrics.json"]
    for path in figures:
        path.write_text('{"of": "something else"}')
    before = read_manifest(other)["files"].get("metrics.json")
    for folder in (other, tmp_path):
        page = folder / "page.html"
        assert dispatch(["report", f"run={counts_run}", f"out={page}", f"labels={shop.labels}", "quiet=true"]) == 0
        assert json.loads((folder / "page_files" / "metrics.json").read_text())["n_anomalous"] > 0
    assert [json.loads(path.read_text()) for path in figures] == [{"of": "something else"}] * 2
    # What it did not write it does not vouch for.
    assert read_manifest(other)["files"].get("metrics.json") == before


def test_a_finished_run_is_not_trained_into(
    counts_run: Path, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in counts_run.rglob("*") if path.is_file()}
    assert dispatch(["train", f"run={counts_run}", *shop.roles]) == 2
    assert "overwrite=true" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in counts_run.rglob("*") if path.is_file()} == before
    (tmp_path / "precious.txt").write_text("mine")
    assert dispatch(["train", f"run={tmp_path}", *shop.roles, "overwrite=true"]) == 2
    assert "no run" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("name", ["members/object.json", "calibration/threshold/object.json", "config.yaml"])
def test_a_run_that_was_changed_or_lost_a_file_is_refused(counts_run: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(counts_run, tmp_path / "copy")
    anomaly.Run.load(copy)
    (copy / name).write_text((copy / name).read_text() + " ")
    with pytest.raises(ArtifactError, match="differs from what train wrote"):
        anomaly.Run.load(copy)
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        anomaly.Run.load(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"not finished|no run"):
        anomaly.Run.load(copy)


@pytest.mark.parametrize(
    ("form", "message"), [(99, r"written by version 9\.9"), (1, r"older version.*train the run again")]
)
def test_a_run_of_another_form_is_refused(counts_run: Path, tmp_path: Path, form: int, message: str) -> None:
    copy = shutil.copytree(counts_run, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format": form, "version": "9.9"}))
    with pytest.raises(ArtifactError, match=message):
        anomaly.Run.load(copy)


def test_the_kept_configuration_makes_the_same_run_again(counts_run: Path, shop: Any, tmp_path: Path) -> None:
    assert dispatch(["train", f"config={counts_run / 'config.yaml'}", f"run={tmp_path / 'again'}", "quiet=true"]) == 0
    again, first = anomaly.Run.load(tmp_path / "again"), anomaly.Run.load(counts_run)
    assert again.config == first.config
    assert again.scores.equals(first.scores)


def test_python_trains_from_a_frame_as_the_command_does_from_a_file(
    counts_run: Path, shop: Any, tmp_path: Path
) -> None:
    made = anomaly.train(
        shop.frame(),
        run=tmp_path / "run",
        entity="user",
        sequence="session",
        categorical=("event", "category", "device"),
        model="none",
        detector="counts",
        corruption="none",
        labels=pl.read_parquet(shop.labels),
        keep_events=False,
    )
    assert made.scores.equals(anomaly.Run.load(counts_run).scores)
    assert made.metrics is not None
    assert not (made.path / "sequences").exists()
    with pytest.raises(ArtifactError, match="keep_events=true"):
        _ = anomaly.Run.load(made.path).sequences


def test_python_refuses_wrong_keys_as_the_command_does(shop: Any, tmp_path: Path) -> None:
    with pytest.raises(anomaly.ConfigError, match="did you mean threshold"):
        anomaly.train(shop.frame(), run=tmp_path / "x", thresold="fpr")
    with pytest.raises(anomaly.ConfigError, match=r"did you mean model\.width"):
        anomaly.train(shop.frame(), run=tmp_path / "x", model={"widht": 3})
    assert not (tmp_path / "x").exists()


def test_the_past_is_read_and_not_reported(tmp_path: Path) -> None:
    rows = pl.DataFrame({"who": [i % 30 for i in range(900)], "what": ["abc"[(i // 30) % 3] for i in range(900)]})
    roles: dict[str, Any] = {"entity": "who", "sequence": None, "categorical": "what"}
    run = anomaly.train(rows, run=tmp_path / "r", model="none", detector="counts", corruption="none", **roles)
    alone, with_past = run.score(rows.tail(300)), run.score(rows.tail(300), history=rows.head(600))
    assert alone["length"].to_list() == with_past["length"].to_list() == [10] * 30
    read = run.score_events(rows.tail(300), history=rows.head(600))
    assert read.prepared.store.context.tolist() == [20] * 30
    assert read.tables.events.height == 300 and read.tables.events["position"].max() == 9
    bare = rows.with_columns(what=pl.when(pl.col("who") == 0).then(pl.col("what")))
    found = run.score_events(bare.tail(300), history=bare.head(600)).prepared.findings
    told = [finding.message for finding in found if finding.check == "null spike"]
    assert len(told) == 2 and told[0] == f"in the history: {told[1]}"


def test_events_as_items(shop: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    labels = f"labels={shop.folder / 'event_labels.parquet'}"
    options = [*COUNTS, "detector=[counts,own_past]", "unit=event", labels]
    assert dispatch(["train", f"run={folder}", *shop.roles, *options]) == 0
    assert dispatch(["explain", f"run={folder}", "top=2"]) == 0
    found = anomaly.Run.load(folder)
    assert set(found.scores["id"]) == set(shop.frame()["event_id"])
    assert found.metrics is not None and found.metrics["join"]["scores_id"] == ["id"]
    np.testing.assert_allclose(found.score(shop.frame())["score"], found.scores["score"], atol=1e-5)
