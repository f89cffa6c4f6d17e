"""New events through a fitted encoder and ensemble."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.artifact.tables import ScoreTables, score_tables
from anomaly.base import Progress, silent
from anomaly.errors import ConfigError
from anomaly.events.drift import Drift, code_shares, drift
from anomaly.events.readers import EventSource
from anomaly.events.tabular import open_table
from anomaly.sequences.build import Prepared, build_store

if TYPE_CHECKING:
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.events.checks import BadRows
    from anomaly.events.encoder import EventEncoder
    from anomaly.scores.thresholds import ThresholdPolicy
    from anomaly.sequences.store import SequenceStore


@dataclass(frozen=True)
class ScoredEvents:
    """Scores, and what was read for them.

    Attributes
    ----------
    tables : scores of items, events and entities
    prepared : the sequences and the findings of the checks
    drift : how the events differ from those of the training
    """

    tables: ScoreTables
    prepared: Prepared
    drift: list[Drift]


def source_of(events: Any, *, table: bool = False) -> EventSource:
    """Return the rows of a path or a frame; those of a table are numbered."""
    if table:
        return open_table(events)
    if isinstance(events, EventSource):
        return events
    return EventSource.open(events) if isinstance(events, (str, Path)) else EventSource.from_frame(events)


def prepare(
    source: EventSource,
    encoder: EventEncoder,
    *,
    history: Any | None = None,
    until: str | float | None = None,
    bad_rows: BadRows = "fail",
    max_bad: float | None = None,
    progress: Progress = silent,
) -> Prepared:
    """Return the sequences of new rows, as a fitted encoder codes them; parameters as in `score_events`."""
    schema = encoder.schema_ if until is None else replace(encoder.schema_, until=until)
    if until is not None and encoder.schema_.until is None:
        raise ConfigError(f"events.until={until}: the run has judged no final silence; state it in train")
    return build_store(
        source,
        schema,
        encoder=encoder,
        history=None if history is None else source_of(history),
        bad_rows=bad_rows,
        max_bad=max_bad,
        progress=progress,
    )


def fingerprint_of(source: EventSource, history: EventSource | None) -> str:
    """Return a digest of the rows and of their past."""
    return "-".join(read.fingerprint() for read in (source, history) if read is not None)


def facts_of(source: EventSource, prepared: Prepared, history: EventSource | None) -> dict[str, Any]:
    """Return what a run tells of the rows that it ranks."""
    return {
        "path": source.name,
        "fingerprint": fingerprint_of(source, history),
        "rows": source.n_rows,
        "dropped": prepared.n_dropped,
        "sequences": len(prepared.store),
        "entities": int(prepared.store.entity_ids.n_unique()),
        "findings": [asdict(finding) for finding in prepared.findings],
        "history": None if history is None else history.name,
    }


def score_events(
    events: Any,
    *,
    encoder: EventEncoder,
    ensemble: CalibratedEnsemble,
    policy: ThresholdPolicy,
    unit: str,
    history: Any | None = None,
    until: str | float | None = None,
    bad_rows: BadRows = "fail",
    max_bad: float | None = None,
    progress: Progress = silent,
) -> ScoredEvents:
    """Score a path or a frame of events with fitted parts, as they are.

    Parameters
    ----------
    history : rows that are read as the past of the events and never reported
    until : end of what was observed, in place of the one that the encoder's schema states
    bad_rows, max_bad : see `anomaly.events.checks.EventChecker`
    """
    reading: dict[str, Any] = {"bad_rows": bad_rows, "max_bad": max_bad, "progress": progress}
    prepared = prepare(source_of(events, table=encoder.table), encoder, history=history, until=until, **reading)
    tables = score_store(prepared.store, ensemble=ensemble, policy=policy, unit=unit)
    return ScoredEvents(tables, prepared, _drift(prepared.store, encoder))


def score_store(
    store: SequenceStore, *, ensemble: CalibratedEnsemble, policy: ThresholdPolicy, unit: str, fitted: bool = False
) -> ScoreTables:
    """Score sequences that are already encoded; `fitted` where the ensemble has just been fitted on them."""
    scored = ensemble.score_fitted(store) if fitted else ensemble.score(store)
    return score_tables(store, scored, policy.flag(scored.score, scored.p_value), unit)


def _drift(store: SequenceStore, encoder: EventEncoder) -> list[Drift]:
    shares = code_shares(store.codes, store.sizes, store.field_names)
    return drift(encoder, shares, store.extra.get("dtypes"))
