"""`anomaly score`: new events with a run as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.artifact.run import Run
from anomaly.commands.console import Console
from anomaly.commands.plan import policy
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from anomaly.artifact.scoring import ScoredEvents
    from anomaly.commands.compose import Settings
    from anomaly.scores.thresholds import ThresholdPolicy

_SHOWN = 5
_RARE = 0.1
"""Share of the training's sequences beyond which, at either end, a length is rare."""
_COLUMNS = ("rank", "id", "sequence", "entity", "length", "score", "p_value")


def command(settings: Settings) -> None:
    """Score a file and write the scores of sequences, events and entities."""
    values = settings.values
    chosen = policy(settings)
    run = Run.load(values["run"], allow=settings.allow)
    with Console(quiet=values["quiet"]) as console:
        console.progress("opening")
        scored = run.score_events(
            values["table"]["path"] or values["events"]["path"],
            history=values["history"]["path"],
            until=values["events"]["until"],
            threshold=chosen,
            bad_rows=values["checks"]["bad_rows"],
            max_bad=values["checks"]["max_bad"],
            progress=console.progress,
        )
        written = scored.tables.save(values["out"])
        used = chosen or run.threshold
        _show(console, scored, used)
        if (lengths := _other_lengths(run, scored.tables.scores)) is not None:
            console.note(f"note: {lengths}")
        if used.depends_on_file:
            console.note("note: under this threshold a flag depends on the other rows of the file")
        console.say("written: " + ", ".join(str(path) for path in written))


def _other_lengths(run: Run, scores: pl.DataFrame) -> str | None:
    """Return what it means where half of the sequences are shorter, or longer, than nearly all of the training's."""
    known = run.path / "scores.parquet"
    if "position" in scores.columns or not scores.height or not known.is_file():
        return None
    before = pl.read_parquet(known, columns=["length"])["length"].to_numpy()
    low, was, high = np.quantile(before, (_RARE, 0.5, 1 - _RARE))
    now = np.median(scores["length"].to_numpy())
    if low <= now <= high:
        return None
    half = f"half of the sequences have at {'most' if now < low else 'least'} {now:,.0f} events"
    return (
        f"{half}, where {was:,.0f} are usual, "
        "which may make them odd as it is; score as long a time, or train with events.gap or events.window"
    )


def _show(console: Console, scored: ScoredEvents, used: ThresholdPolicy) -> None:
    scores = scored.tables.scores
    console.table(
        "what differs from training",
        [
            {"field": d.field, "change": d.change, "before": d.before, "now": d.now, "meaning": d.message}
            for d in scored.drift
            if d.notable
        ],
    )
    findings = [f for f in scored.prepared.findings if f.level != "info"]
    console.table("findings", [{"column": f.column, "rows": f.count, "finding": f.message} for f in findings])
    flagged = int(scores["flagged"].sum())
    console.say(f"{amount(scores.height, 'item')} scored, {flagged:,} flagged")
    show_why_none(console, used, scores)
    show_highest(console, scores)


def show_why_none(console: Console, policy: ThresholdPolicy, scores: pl.DataFrame) -> None:
    """Say why nothing is flagged, where nothing is."""
    why = policy.why_none(scores["score"].to_numpy(), scores["p_value"].to_numpy())
    if why:
        console.say(f"no alert: {why}")


def show_highest(console: Console, scores: pl.DataFrame) -> None:
    """Print the highest scores; a table's rows have no entity and are one event long, which need not be told."""
    columns = [name for name in _COLUMNS if name in scores.columns]
    if scores["entity"].null_count() == scores.height:
        columns.remove("entity")
    if "length" in columns and bool((scores["length"] == 1).all()):
        columns.remove("length")
    console.table("highest scores", scores.sort("rank").head(_SHOWN).select(columns).to_dicts())
