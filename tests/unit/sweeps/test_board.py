from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from anomaly.errors import ConfigError
from anomaly.sweeps.board import boards
from anomaly.sweeps.page import render, write_leaderboard
from anomaly.sweeps.store import COLUMNS

EVIL = '<script>alert("x")</script>'


def row(competitor: str, name: str = "a", ap: float | None = 0.5, seed: int | None = 0, **more: Any) -> dict[str, Any]:
    group = competitor.partition(".")[0] if "." in competitor else "own"
    told = {"key": f"{competitor}{name}{seed}", "set": name, "kind": "table", "competitor": competitor, "group": group}
    told |= {"seed": seed, "status": "ok" if ap is not None else "failed", "code": "c1", "finished": "2026-01-01"}
    told |= {"reason": None if ap is not None else f"ValueError: {EVIL} | pipe", "fingerprint": "f" * 16}
    if ap is not None:
        told |= {"ap": ap, "ap_low": ap - 0.1, "ap_high": ap + 0.1, "auroc": 0.8, "precision": 1.0, "recall": 0.1}
        told |= {"n": 100, "n_anomalous": 5, "prevalence": 0.05, "fit_seconds": 1.0, "score_seconds": 0.1}
        told |= {"peak_mb": 10.0, "members": json.dumps({"m": [0.9, 0.7]})}
    return {
        **told,
        "floors": json.dumps({"cap": ".6/.3"}),
        "versions": json.dumps({"pyod": "3.6"}),
        "seconds": 1,
        **more,
    }


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS)


FULL = [
    row(who, name, ap + 0.01 * k)
    for k, name in enumerate(["a", "b", EVIL, "d", "e", "f"])
    for who, ap in [("default", 0.6), ("pyod.lof", 0.5), ("pyod.knn", 0.62), ("floor.z", 0.3)]
]


def test_wins_losses_and_floors_are_on_every_line() -> None:
    (board,) = boards(table(FULL))
    assert board.competitors == ["pyod.knn", "default", "pyod.lof", "floor.z"]
    lines = {line["competitor"]: line for line in board.lines}
    assert (lines["pyod.knn"]["default_wins"], lines["pyod.knn"]["default_losses"]) == (0, 6)
    assert (lines["pyod.lof"]["default_wins"], lines["pyod.lof"]["default_losses"]) == (6, 0)
    assert lines["pyod.lof"]["wilcoxon"] == pytest.approx(0.03125) and lines["default"]["wilcoxon"] is None
    assert lines["default"]["rank"] == 2 and lines["default"]["ap"] == pytest.approx(0.625)
    first = next(line for line in board.per_set if line["set"] == "a")
    assert first["best_floor"]["competitor"] == "floor.z" and first["floors_told"] == {"cap": ".6/.3"}
    assert first["losses"] == ["pyod.knn: AP -0.020"] and first["best_member"] == ("m", 0.7)


def test_the_best_of_every_group_that_is_ahead_is_told() -> None:
    told = {"default": 0.136, "peer.xgbod": 0.457, "peer.devnet": 0.3, "mine.a": 0.2, "rival": 0.15, "pyod.lof": 0.1}
    (board,) = boards(table([row(who, ap=ap) for who, ap in {**told, "floor.z": 0.1362}.items()]))
    assert board.per_set[0]["losses"] == [
        *("peer.xgbod: AP -0.321", "mine.a: AP -0.064", "rival: AP -0.014", "floor.z: AP -<0.001")
    ]
    (board,) = boards(table([row("default", ap=None), row("pyod.lof")]))
    assert board.per_set[0]["losses"] == ["no figure of its own"]


def test_no_loss_is_cut_off(tmp_path: Path) -> None:
    long = [f"group{k}.{'long' * 6}" for k in range(12)]
    frame = table([row("default", ap=0.1), *(row(who) for who in long)])
    for path in write_leaderboard(frame, tmp_path, title="t"):
        assert all(f"{who}: AP -0.400" in path.read_text() for who in long) or path.suffix == ".csv"


def test_the_csv_tells_ranks_wins_and_losses(tmp_path: Path) -> None:
    labelled = [row(who, labels=0.05, ap=ap) for who, ap in [("default", 0.4), ("pyod.knn", 0.3)]]
    write_leaderboard(table([*FULL, *labelled]), tmp_path, title="t")
    told = ("competitor", "labels", "against", "mean_rank", "default_wins", "default_losses")
    found = pl.read_csv(tmp_path / "leaderboard.csv", infer_schema_length=None).select(told).unique()
    assert sorted(found.rows(), key=lambda r: (r[0], r[1] or 0.0)) == [
        *(("default", None, "default", 2.0, 0, 0), ("default", 0.05, "default", 1.0, 0, 0)),
        *(("floor.z", None, "default", 4.0, 6, 0), ("pyod.knn", None, "default", 1.0, 0, 6)),
        *(("pyod.knn", 0.05, "default", 2.0, 1, 0), ("pyod.lof", None, "default", 3.0, 6, 0)),
    ]


def test_the_pages_say_what_their_figures_are_of(tmp_path: Path) -> None:
    peer = row("peer.x", versions=json.dumps({"pyod": "3.5", "xgboost-cpu": "3.2.0", "torch": ""}))
    text = {path.suffix: path.read_text() for path in write_leaderboard(table([*FULL, peer]), tmp_path, title="t")}
    assert "at 1%, the median times and memory are over the sets that a competitor finished" in text[".md"]
    assert "pyod 3.5 and 3.6, xgboost-cpu 3.2.0" in text[".html"] and "by time or entity" not in text[".html"]


def test_seeds_are_averaged_and_a_failed_cell_has_its_reason() -> None:
    rows = [row("default", ap=0.4, seed=0), row("default", ap=0.6, seed=1), row("pyod.lof", ap=None), row("floor.z")]
    (board,) = boards(table(rows))
    assert board.ap_DC[0, board.competitors.index("default")] == pytest.approx(0.5)
    assert [(m["competitor"], m["set"]) for m in board.missing] == [("pyod.lof", "a")]
    assert board.lines[-1]["competitor"] == "pyod.lof" and board.lines[-1]["sets"] == 0


def test_the_newest_code_counts_and_unfinished_sets_do_not() -> None:
    old = row("default", ap=0.1, finished="2025-01-01", code="c0", seed=5)
    (board,) = boards(table([*FULL, old, row("default", "late", 0.9)]))
    assert board.ap_DC[board.sets.index("a"), board.competitors.index("default")] == pytest.approx(0.6)
    assert board.unfinished == ["late"]
    assert board.lines[1]["rank"] == 2


@pytest.mark.parametrize("changed", [{"config": "{}"}, {"fingerprint": "g" * 16}, {"rows": 100}])
def test_what_was_configured_otherwise_is_no_further_seed(changed: dict[str, Any]) -> None:
    """Two settings of a competitor, two states or two caps of a set are not averaged; the newest counts."""
    old = row("default", ap=0.1, finished="2025-01-01", seed=5, **changed)
    (board,) = boards(table([*FULL, old]))
    assert board.ap_DC[board.sets.index("a"), board.competitors.index("default")] == pytest.approx(0.6)


def test_kinds_and_budgets_are_boards_of_their_own() -> None:
    rows = [row("default"), row("default", labels=0.05), row("default", kind="sequences")]
    titles = [board.title for board in boards(table(rows))]
    assert titles == [
        "1 set of sequences, no label",
        "1 data set, no label",
        "1 data set, 5% of the anomalies labelled",
    ]
    with pytest.raises(ConfigError, match="nobody"):
        boards(table(rows), "nobody")


def test_who_has_no_figure_at_all_takes_none_from_the_others() -> None:
    (board,) = boards(table([*FULL, *(row("pyod.bad", line["set"], ap=None) for line in FULL[::4])]))
    assert board.lines[0]["common"] == 6 and board.lines[0]["ap"] == pytest.approx(0.645)


def test_one_set_has_no_interval_and_is_one(tmp_path: Path) -> None:
    frame = table([row("default"), row("pyod.lof", ap=0.4), row("floor.z", ap=0.3)])
    (board,) = boards(frame)
    assert all(line["ap_low"] != line["ap_low"] for line in board.lines)
    for path in write_leaderboard(frame, tmp_path, title="one"):
        text = path.read_text()
        assert "0.500–0.500" not in text and "1 sets" not in text and "1 cells" not in text


@pytest.mark.parametrize("rows", [FULL, [row("default", ap=None)], [row("pyod.lof"), row("default", ap=None)]])
def test_the_page_draws_whatever_is_there_and_escapes_it(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    frame = table([*rows, row("pyod.bad", ap=None)])
    paths = write_leaderboard(frame, tmp_path, title=f"T {EVIL}")
    text = {path.suffix: path.read_text() for path in paths}
    page = text[".html"]
    assert "<script" not in page and "alert(&#34;x&#34;)" in page
    assert "style=" not in page.replace("font-style=", "")
    assert not re.search(r"(src|href)=\"(?!#)", page) and "default-src &#39;none&#39;" in page
    assert "ValueError" in page and "ValueError" in text[".md"]
    tables = [line for line in text[".md"].splitlines() if line.startswith("| pyod.bad | a |")]
    assert len(tables) == 1 and tables[0].count("|") == 6
    assert render(boards(frame), frame, "t", "board.html") == render(boards(frame), frame, "t", "board.html")
    assert pl.read_csv(tmp_path / "leaderboard.csv").height == frame.n_unique(["set", "competitor"])
