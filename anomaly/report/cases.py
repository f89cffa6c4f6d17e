"""The top items, each with the events that carried its score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomaly.report.data import Case, CaseEvent
from anomaly.report.text import identity, plain

if TYPE_CHECKING:
    from anomaly.report.data import ReportData

TOP, TOP_EVENTS, OPEN = 300, 8, 2
STRIP_WIDTH, STRIP_HEIGHT = 600.0, 36.0


def top_cases(data: ReportData) -> list[dict[str, Any]]:
    """Return the items of the highest rank, best first, with their events where `timelines` holds them."""
    scores = data.scores
    order = scores.sort("rank") if "rank" in scores.columns else scores.sort("score", descending=True)
    events = {_key(case.item): case for case in data.timelines}
    reasons = {_key(item): told for item, told in data.reasons.items()}
    cluster = {_key(m): k for k, row in enumerate(data.clusters, 1) for m in row["members"]}
    top = order.head(TOP).with_row_index("place", offset=1)
    highest = max(float(top["score"].fill_null(0.0).to_numpy().max(initial=0.0)), 1e-9)
    rows = []
    for row in top.iter_rows(named=True):
        key = _key(row.get(data.key))
        case = events.get(key)
        told = case.reasons if case is not None and case.reasons else reasons.get(key, ())
        rows.append({**_row(row, data.key, case, highest), "reasons": told, "cluster": cluster.get(key)})
    return rows


def _key(value: Any) -> str:
    return f"{type(value).__name__}:{value}"


def _row(row: dict[str, Any], key: str, case: Case | None, highest: float) -> dict[str, Any]:
    entity = row.get("entity")
    return {
        "rank": row.get("rank") or row["place"],
        "item": identity(row.get(key)),
        "place": f"event {row['position'] + 1:,} of {identity(row['sequence'])}" if key == "id" else "",
        "entity": None if entity is None or entity == row.get("sequence") else identity(entity),
        "length": row.get("length") if key == "sequence" else None,
        "when": _span(row.get("first_time"), row.get("last_time")),
        "score": row["score"],
        "bar": max(row["score"], 0.0) / highest,
        "p_value": row["p_value"],
        "flagged": bool(row.get("flagged")),
        "open": row["place"] <= OPEN,
        **_events(case, row.get("length")),
        "usual": case.usual if case is not None else (),
        "nearest": [identity(name) for name in case.nearest] if case is not None else [],
        "edit": case.edit if case is not None else "",
    }


def _span(first: Any, last: Any) -> str:
    if first is None and last is None:
        return ""
    one, two = plain(first)[:16], plain(last)[:16]
    if one == two:
        return one
    same_day = one[:10] == two[:10] and len(two) > 11
    return f"{one} – {two[11:] if same_day else two}"


def _events(case: Case | None, length: int | None) -> dict[str, Any]:
    """Return the strip of all given events and a table of those that carried most, in their own order."""
    if case is None or not case.events:
        return {"strip": None, "events": [], "columns": [], "expects": False, "whole": False}
    events = [CaseEvent(*event) for event in case.events]
    n = case.length or length or max(event.position for event in events) + 1
    ranked = sorted(events, key=lambda event: -event.evidence)[:TOP_EVENTS]
    most = max(ranked[0].evidence, 1e-12)
    # A share only means something over every event; else the bar alone compares those that are shown.
    total = sum(max(event.evidence, 0.0) for event in events) if len(events) == n else 0.0
    shown = [
        {**event._asdict(), "bar": max(event.evidence, 0) / most, "share": event.evidence / total if total else None}
        for event in sorted(ranked, key=lambda event: event.position)
    ]
    causes = [event.top_field for event in ranked]
    names = dict.fromkeys(name for event in ranked for name in event.fields)
    return {
        "strip": {"all": _path(events, n, most), "top": _path(ranked, n, most), "n": n},
        "events": shown,
        # Those that carried most first: of a wide table the rest is out of sight.
        "columns": list(dict.fromkeys(name for name in (*causes, *names) if name in names)),
        "whole": len(events) == n,
        "expects": any(event.expected for event in ranked),
    }


def _path(events: list[CaseEvent], n: int, most: float) -> str:
    """Return bars as one SVG path: place in the sequence across, evidence upwards."""
    step = STRIP_WIDTH / max(n, 1)
    width = max(min(step * 0.7, 14.0), 0.8)
    parts = []
    for event in events:
        left = (event.position + 0.5) * step - width / 2
        height = max(min(event.evidence / most, 1.0), 0.0) * (STRIP_HEIGHT - 2) + 1
        parts.append(f"M{left:.1f} {STRIP_HEIGHT:g}v{-height:.1f}h{width:.1f}v{height:.1f}z")
    return "".join(parts)
