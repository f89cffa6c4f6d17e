"""`anomaly explain` from the command line: text, JSON and pictures, of a run and of new data."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

from anomaly import Run
from anomaly.commands.console import Console
from anomaly.commands.dispatch import dispatch
from anomaly.commands.narration import print_story
from anomaly.errors import DataError, SchemaError
from anomaly.report import casefigure

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


def test_ids_are_taken_as_programs_hand_them_over(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = Run.load(run)
    ids = loaded.scores["sequence"].head(2)
    for several in (ids, ids.to_numpy(), tuple(ids)):
        assert [story.sequence for story in loaded.explain(several, contrast=False)] == ids.to_list()
    assert loaded.explain(np.str_(ids[0]), contrast=False)[0].sequence == ids[0]
    with pytest.raises(DataError, match="no such id"):
        loaded.explain(np.int64(3))
    # As Windows writes a file of ids.
    (tmp_path / "ids.txt").write_bytes("\ufeff".encode() + f"{ids[0]}\r\n{ids[1]}\r\n".encode())
    assert explain(run, f"sequence={tmp_path / 'ids.txt'}", "contrast=false") == 0
    assert str(ids[1]) in capsys.readouterr().out


def test_text_of_the_data_commands_no_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story, hostile = Run.load(run).explain(top=1)[0], "\x1b[2Jgone\x07"
    events = [replace(e, values=dict.fromkeys(e.values, hostile)) for e in story.events]
    reasons = [replace(r, facts={**r.facts, "value": hostile}) for r in story.reasons]
    with Console() as console:
        print_story(console, replace(story, sequence=hostile, entity=hostile, events=events, reasons=reasons))
    printed = capsys.readouterr().out
    assert "gone" in printed and "\x1b" not in printed and "\x07" not in printed


def test_chinese_holds_no_english_but_the_names_and_values_of_the_data(
    run: Path, event_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (run, event_run):
        loaded, out = Run.load(folder), tmp_path / "why.json"
        encoder = loaded.encoder
        own = {str(v) for vocabulary in encoder.vocabularies_.values() for v in vocabulary.values_}
        own |= set(loaded.ensemble.names_) | {field.name for field in encoder.fields_} | {"p", str(out.name), str(out)}
        own |= {str(name) for column in ("sequence", "entity") for name in loaded.scores[column]}
        assert explain(folder, "top=25", f"out={out}", "language=zh") == 0
        told = [capsys.readouterr().out.replace(str(tmp_path), "")]
        for story in json.loads(out.read_text()):
            told += [text for reason in story["reasons"] for text in (reason["title"], reason["sentence"])]
            told += [text for event in story["events"] for text in (event["time"], *event["values"].values())]
            told += [row["value"] for event in story["events"] for row in event["expected"]]
            told += [row["value"] for row in story["usual"]]
        words = set(re.findall(r"(?<!\d)[A-Za-z][\w.]*", "\n".join(told))) - own
        assert {word for word in words if not re.fullmatch("[A-Z_]+", word)} == set()


def test_a_picture_in_chinese_needs_a_font(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Run.load(run).explain(top=1, contrast=False, language="zh")[0]
    told = [text.get_text() for text in casefigure._figure(story).findobj(Text)]
    assert "原因所占的证据" in told and any("得分" in text for text in told)
    monkeypatch.setattr("anomaly.report.casefigure.chinese_fonts", lambda: [])
    assert explain(run, "top=1", "language=zh", f"out={tmp_path / 'why.png'}", "contrast=false") == 0
    captured = capsys.readouterr()
    assert "no font with Chinese is installed" in captured.err and "原因" in captured.out


def test_the_report_tells_its_reasons_in_chinese(run: Path, tmp_path: Path) -> None:
    story = Run.load(run).explain(top=1, contrast=False, language="zh")[0]
    assert dispatch(["report", f"run={run}", f"out={tmp_path / 'page.html'}", "language=zh", "quiet=true"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert '<ul class="told" lang="zh">' in page and f"<bdi>{escape(story.sentences()[0])}</bdi>" in page


def test_an_event_is_headed_by_its_id_and_its_place(event_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Run.load(event_run).scores.sort("rank").row(0, named=True)
    assert explain(event_run, "top=1") == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.startswith(f"{row['id']}  {row['entity']}  score")
    assert head.endswith(f"event {row['position'] + 1} of {row['sequence']}")


def test_the_report_of_an_event_run_tells_each_by_its_id(event_run: Path, tmp_path: Path) -> None:
    assert dispatch(["report", f"run={event_run}", f"out={tmp_path / 'page.html'}", "quiet=true"]) == 0
    row = Run.load(event_run).scores.sort("rank").row(0, named=True)
    page = (tmp_path / "page.html").read_text()
    place = f"event {row['position'] + 1:,} of {row['sequence']}"
    assert f"<b><bdi>{row['id']}</bdi></b> <span><bdi>{place}</bdi></span>" in page
    assert "hardly a value comes twice" in page or "not stated as an input" in page
    told = pl.read_csv(tmp_path / "page_files" / "reasons.csv")
    assert told["id"][0] == row["id"]


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
        (["shown=0"], "expected a whole number"),
        (["sequence=picture.bin"], "is no text"),
    ],
)
def test_bad_input_is_one_line(
    run: Path,
    arguments: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\xff")
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
