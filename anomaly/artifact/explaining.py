"""Explanations of what a run has scored, or scores now."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.artifact.scoring import prepare, source_of
from anomaly.artifact.tables import event_ids
from anomaly.errors import ConfigError, DataError
from anomaly.explain.explainer import EnsembleExplainer
from anomaly.explain.narrate import EVENTS, Narrator
from anomaly.explain.reference import Reference
from anomaly.explain.shapley import cross_checks
from anomaly.features.segments import reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.artifact.run import Run
    from anomaly.explain.story import Story
    from anomaly.explain.words import Language
    from anomaly.sequences.store import SequenceStore


def explainer_of(run: Run) -> EnsembleExplainer:
    """Return what explains a run's scores.

    Raises
    ------
    ArtifactError
        If the run keeps no events: they are what is usual.
    """
    store, scores = run.sequences, run.scores
    known = run.facts["unit"] == "sequence" and len(scores) == len(store)
    p_value = scores["p_value"].to_numpy() if known else None
    reference = Reference(run.ensemble, store, p_value, random_state=run.ensemble.random_state)
    return EnsembleExplainer(ensemble=run.ensemble, reference=reference, encoder=run.encoder)


def explain_run(
    run: Run,
    ids: Sequence[Any] | Any | None = None,
    *,
    top: int = 3,
    events: Any | None = None,
    history: Any | None = None,
    until: str | float | None = None,
    shown: int = EVENTS,
    contrast: bool = True,
    language: Language = "en",
    shapley: bool = False,
    bad_rows: Any = "fail",
    max_bad: float | None = None,
) -> list[Story]:
    """Tell why items score as they do, in the order of the ids, or of the scores.

    Parameters
    ----------
    ids : one id or several; None takes the `top` highest scores
    events, history, until : new data in place of the run's own, as `anomaly.artifact.scoring.score_events` reads it
    shown : events of each item that are told
    contrast : tell also the owner's habits, the nearest usual sequences and the smallest edit
    language : of what is told
    shapley : check what members on features say by Shapley values, which takes seconds for each item

    Raises
    ------
    DataError
        If there is no such id.
    ArtifactError
        If the run keeps no events.
    ConfigError
        If a history or an end is stated for the run's own events.
    """
    if events is None and until is not None:
        raise ConfigError(f"events.until={until}: an end of new data; give events.path= as well")
    if events is None and history is not None:
        raise ConfigError("history.path= is the past of new data; give events.path= as well")
    explainer = explainer_of(run)
    store = explainer.reference.store
    if events is not None:
        source, encoder = source_of(events, table=run.encoder.table), run.encoder
        store = prepare(source, encoder, history=history, until=until, bad_rows=bad_rows, max_bad=max_bad).store
    one = isinstance(ids, str) or not isinstance(ids, Iterable)
    wanted = None if ids is None else [ids] if one else list(ids)
    places = _places(run, store, wanted, top, own=events is None)
    explained = explainer.explain(store, places)
    stories = Narrator(explainer, events=shown, contrast=contrast, language=language).tell(explained)
    if not shapley:
        return stories
    checks = cross_checks(explainer, explained)
    return [replace(story, cross_checks=check) for story, check in zip(stories, checks, strict=True)]


def _places(run: Run, store: SequenceStore, ids: list[Any] | None, top: int, *, own: bool) -> NDArray[np.int64]:
    """Return the places of the sequences to explain, of the events where these are the items."""
    by_event = run.facts["unit"] == "event"
    if ids is None:
        return _highest(run, store, top, own=own, by_event=by_event)
    return places_of(store, ids, by_event=by_event)


def _highest(run: Run, store: SequenceStore, top: int, *, own: bool, by_event: bool) -> NDArray[np.int64]:
    if own:
        ids = run.scores.sort("rank")["id" if by_event else "sequence"].head(top).to_list()
        return places_of(store, ids, by_event=by_event)
    scored = run.ensemble.score(store)
    best = np.argsort(-scored.score, kind="stable")[:top]
    return np.asarray(best if scored.item_event is None else scored.item_event[best], np.int64)


def places_of(store: SequenceStore, ids: Sequence[Any], *, by_event: bool) -> NDArray[np.int64]:
    """Return the places of sequences, or of reported events, by their ids; an event of the past is not meant.

    Raises
    ------
    DataError
        If there is no such id.
    """
    names, at = store.sequence_ids, np.arange(len(store))
    if by_event:
        at = np.flatnonzero(reported(store)[1])
        names = event_ids(store).gather(pl.Series(at))
    wanted = [str(name) for name in ids]
    among = set(wanted)
    # Of names that stand twice in the file the first is taken.
    places = {text: k for k, text in reversed(list(enumerate(map(str, names.to_list())))) if text in among}
    for text in wanted:
        if text not in places:
            raise DataError(f"{'event' if by_event else 'sequence'} {text!r}: no such id here; {_hint(text, names)}")
    return np.asarray(at[[places[text] for text in wanted]], np.int64)


def _hint(wanted: str, names: pl.Series) -> str:
    some = [str(name) for name in names.head(100_000).to_list()]
    close = difflib.get_close_matches(wanted, some, 1)
    return f"did you mean {close[0]}?" if close else f"there are {len(names):,}, such as {next(iter(some), '-')}"
