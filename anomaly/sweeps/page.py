"""The leaderboard as files: Markdown, CSV, and one HTML page with pictures that needs no network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from anomaly.atomic import replacing, write_text
from anomaly.report import text
from anomaly.report.environment import environment, policy
from anomaly.report.svg import Sheet
from anomaly.sweeps import pictures
from anomaly.sweeps.board import boards, means

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from jinja2 import Environment

    from anomaly.sweeps.board import Board


def write_leaderboard(rows: pl.DataFrame, out: Path, *, against: str | None = None, title: str) -> list[Path]:
    """Write ``leaderboard.md``, ``.csv`` and ``.html`` into a folder and return where they lie."""
    found = boards(rows, against)
    paths = [out / f"leaderboard.{suffix}" for suffix in ("md", "csv", "html")]
    write_text(paths[0], render(found, rows, title, "board.md"))
    with replacing(paths[1]) as temporary:
        _lines(found, means(rows).drop("floors", "members")).write_csv(temporary)
    write_text(paths[2], render(found, rows, title, "board.html"))
    return paths


def render(found: list[Board], rows: pl.DataFrame, title: str, template: str) -> str:
    """Return the page, or the Markdown, as text; equal rows give equal bytes."""
    sheet, templates = Sheet(), _templates(escape=template.endswith(".html"))
    drawn = [_drawn(board, sheet) for board in found] if template.endswith(".html") else [{} for _ in found]
    css = "\n".join([*(templates.get_template(f"{name}.css").render() for name in ("page", "board")), sheet.css, ""])
    # The style sheets are the package's own files and matplotlib's rules: no value of the data reaches them.
    return templates.get_template(template).render(
        title=title,
        boards=list(zip(found, drawn, strict=True)),
        css=Markup(css),
        policy=policy(css),
        facts=_facts(rows),
    )


def _lines(found: list[Board], table: pl.DataFrame) -> pl.DataFrame:
    """Return one line per set, competitor and budget, with how the competitor stands over the sets."""
    import polars as pl

    stands = [
        {"kind": board.kind, "labels": board.labels, "competitor": line["competitor"], "against": board.against}
        | {"mean_rank": line["rank"], **{key: line[key] for key in ("default_wins", "default_losses")}}
        for board in found
        for line in board.lines
    ]
    types = {"labels": pl.Float64, "mean_rank": pl.Float64}
    told = pl.DataFrame(stands, schema_overrides=types).fill_nan(None)
    return table.join(told, on=["kind", "labels", "competitor"], how="left", nulls_equal=True, maintain_order="left")


def _drawn(board: Board, sheet: Sheet) -> dict[str, Any]:
    """Return the pictures of a board; one with a single set or competitor has fewer."""
    found: dict[str, Any] = {}
    if board.sets:
        sizes = f"{text.amount(len(board.competitors), 'competitor')} over {text.amount(len(board.sets), 'set')}"
        best = f"Mean ranks of {sizes}; first is {board.competitors[0]}."
        found["ranks"] = sheet.add(pictures.critical_difference(board), best)
        found["sets"] = sheet.add(pictures.per_set(board), f"Average precision of {board.against} on each set.")
        cost = pictures.cost(board)
        found["cost"] = None if cost is None else sheet.add(cost, "Mean average precision over time.")
    return found


def _facts(rows: pl.DataFrame) -> dict[str, Any]:
    versions: dict[str, set[str]] = {}
    for told in rows["versions"].drop_nulls().unique():
        for name, version in json.loads(told).items():
            versions.setdefault(name, set()).update([version] if version else [])
    return {
        "cells": rows.height,
        "ok": int((rows["status"] == "ok").sum()),
        "failed": int((rows["status"] == "failed").sum()),
        "skipped": int((rows["status"] == "skipped").sum()),
        "hours": float(rows["seconds"].sum()) / 3600,
        "first": str(rows["finished"].min())[:10],
        "last": str(rows["finished"].max())[:10],
        "versions": {name: " and ".join(sorted(found)) for name, found in sorted(versions.items()) if found},
        "fingerprints": dict(rows.select("set", "fingerprint").unique().sort("set").iter_rows()),
    }


def _templates(*, escape: bool) -> Environment:
    own = {"decimal": _decimal, "p": _p, "span": _span, "seconds": _seconds, "cell": _cell}
    return environment("sweeps", "report", escape=escape, **own)


def _cell(value: Any) -> str:
    return text.clean(value, 300).replace("|", "/")


def _decimal(value: float | None, digits: int = 3) -> str:
    return text.decimal(value, digits)


def _span(low: float, high: float) -> str:
    """Return an interval, a dash where there is none."""
    return f"{_decimal(low)}–{_decimal(high)}" if low < high else "–"


def _p(value: float | None) -> str:
    return "–" if value is None else "< .001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"
