"""Explanations of what a run has scored, or scores now."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.artifact.scoring import prepare, source_of
from anomaly.errors import ConfigError, DataError
from anomaly.explain.explainer import EnsembleExplainer
from anomaly.explain.narrate import EVENTS, Narrator
from anomaly.explain.reference import Reference
from anomaly.explain.shapley import cross_checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
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
    max_bad: float = float("inf"),
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
        If an end is stated for the run's own events.
    """
    if events is None and until is not None:
        raise ConfigError(f"events.until={until}: an end of new data; give events.path= as well")
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
    names = event_ids(store) if by_event else store.sequence_ids
    if ids is None:
        return _highest(run, store, names, top, own=own)
    return _find(names, ids, "event" if by_event else "sequence")


def _highest(run: Run, store: SequenceStore, names: pl.Series, top: int, *, own: bool) -> NDArray[np.int64]:
    if own:
        key = "id" if run.facts["unit"] == "event" else "sequence"
        return _find(names, run.scores.sort("rank")[key].head(top).to_list(), key)
    scored = run.ensemble.score(store)
    best = np.argsort(-scored.score, kind="stable")[:top]
    return np.asarray(best if scored.item_event is None else scored.item_event[best], np.int64)


def _find(names: pl.Series, ids: list[Any], what: str) -> NDArray[np.int64]:
    places = {str(name): place for place, name in enumerate(names.to_list())}
    for wanted in map(str, ids):
        if wanted not in places:
            close = difflib.get_close_matches(wanted, list(places)[:100_000], 1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"there are {len(places):,}, such as {next(iter(places), '-')}"
            )
            raise DataError(f"{what} {wanted!r}: no such id here; {hint}")
    return np.array([places[str(wanted)] for wanted in ids], np.int64)


def event_ids(store: SequenceStore) -> pl.Series:
    """Return the ids of the events, the numbers of their rows where they have none."""
    import polars as pl

    return pl.Series("id", np.asarray(store.row)) if store.event_ids is None else store.event_ids
