"""`anomaly explain` from the command line: text, JSON and pictures, of a run and of new data."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import polars as pl
import pytest

from anomaly import Run
from anomaly.commands.dispatch import dispatch
from anomaly.errors import SchemaError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ShopFiles


def explain(run: Path, *arguments: str) -> int:
    return dispatch(["explain", f"run={run}", *arguments])


def test_text_json_and_picture_tell_the_same(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = Run.load(run).scores.sort("rank")["sequence"].head(2).to_list()
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    assert explain(run, f"sequence={tmp_path / 'ids.txt'}", f"out={tmp_path / 'why.json'}", "language=zh") == 0
    printed = capsys.readouterr().out
    told = json.loads((tmp_path / "why.json").read_text())
    assert [row["sequence"] for row in told] == ids and all(name in printed for name in ids)
    assert told[0]["reasons"][0]["code"] in printed
    assert {"events", "statistics", "fields", "usual", "nearest", "edit"} <= set(told[0])
    assert explain(run, f"sequence={ids[0]}", f"out={tmp_path / 'why.svg'}", "quiet=true", "contrast=false") == 0
    assert (tmp_path / "why.svg").read_text().lstrip().startswith("<?xml")


def test_python_and_new_data_give_the_same_object(run: Path, shop: ShopFiles) -> None:
    loaded = Run.load(run)
    own = loaded.explain(top=2, contrast=False)
    ids = [story.sequence for story in own]
    new = loaded.explain(ids, events=shop.events, contrast=False)
    assert [story.sequence for story in new] == ids
    assert [s.score for s in new] == pytest.approx([s.score for s in own], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sequence=s000x"], "no such id"),
        (["language=fr"], "expected one of en, zh"),
        (["out=why.doc"], "ends in .json"),
        (["shown=0"], "expected a number"),
    ],
)
def test_bad_input_is_one_line(run: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(run, *arguments) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_run_without_events_and_a_column_that_is_gone_say_so(
    counts_run: Path, shop: ShopFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(counts_run, bare)
    shutil.rmtree(bare / "sequences")
    assert explain(bare, "top=1") == 2
    assert "keep_events=true" in capsys.readouterr().err
    shop.frame().drop("device").write_parquet(tmp_path / "gone.parquet")
    assert explain(counts_run, f"events.path={tmp_path / 'gone.parquet'}", "top=1") == 2
    error = capsys.readouterr().err
    assert "device" in error and error.count("\n") == 1
    with pytest.raises(SchemaError, match="device"):
        Run.load(counts_run).explain(top=1, events=pl.read_parquet(tmp_path / "gone.parquet"))


def test_counting_members_alone_are_explained(counts_run: Path) -> None:
    story = Run.load(counts_run).explain(top=1)[0]
    assert sum(part.part for part in story.statistics) == pytest.approx(story.evidence, abs=1e-6)
    assert story.reasons and story.edit


def test_an_event_is_explained_with_the_score_that_the_run_gave_it(event_run: Path) -> None:
    loaded = Run.load(event_run)
    best = loaded.scores.sort("rank").head(30)
    told = loaded.explain(best["id"].to_list(), contrast=False)
    assert [story.score for story in told] == pytest.approx(best["score"].to_list(), abs=1e-5)


def test_the_report_groups_flags(run: Path, shop: ShopFiles, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = ["report", f"run={run}", f"labels={shop.labels}", f"out={out}", "quiet=true"]
    assert dispatch([*arguments, "group=typology"]) == 0
    assert '<section id="groups">' in out.read_text()
    assert {"ranking.csv", "reasons.csv", "groups.csv"} <= {path.name for path in (tmp_path / "page_files").iterdir()}
    assert dispatch([*arguments, "group=nowhere"]) == 2
