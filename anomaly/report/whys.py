"""The explanations that a report shows: cases with their events and reasons, and patterns among the flagged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.artifact.explaining import explainer_of, places_of
from anomaly.artifact.tables import event_ids
from anomaly.explain.clusters import ContributionClusters
from anomaly.explain.narrate import Narrator
from anomaly.explain.sentences import title
from anomaly.explain.words import edit_text, percent
from anomaly.report.data import Case, CaseEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from anomaly.artifact.run import Run
    from anomaly.events.encoder import EventEncoder
    from anomaly.explain.clusters import Cluster
    from anomaly.explain.explainer import EnsembleExplainer, Reasoned
    from anomaly.explain.story import Story, StoryEvent, Told
    from anomaly.explain.words import Language
    from anomaly.sequences.store import SequenceStore

TOLD, EXPLAINED, READ = 30, 300, 200_000
"""Top items that are told in full; flagged ones whose reasons are told; events that are read for both."""
_EVENTS, _WHERE = 60, 2


@dataclass(frozen=True)
class Whys:
    """What a report says about reasons.

    Attributes
    ----------
    timelines : the top items with their events, reasons and contrast
    reasons : item to its reasons, for these and for flagged ones
    clusters : see `anomaly.report.data.ReportData`
    """

    timelines: Sequence[Case] = ()
    reasons: Mapping[Any, Sequence[Told]] = field(default_factory=dict)
    clusters: Sequence[Mapping[str, Any]] = ()


def explain_top(run: Run, scores: pl.DataFrame, language: Language = "en") -> Whys:
    """Explain the top of a ranking and the flagged, as far as `EXPLAINED` and `READ` go, in a language.

    Raises
    ------
    ArtifactError
        If the run keeps no events.
    """
    explainer = explainer_of(run)
    rows = scores.sort("rank").head(EXPLAINED).with_row_index("place")
    rows = rows.filter((rows["place"] < TOLD) | rows["flagged"])
    store = explainer.reference.store
    places = _places(store, rows, by_event=run.facts["unit"] == "event")
    if not len(places):
        return Whys()
    explained, rows = explainer.split(store, places), rows.head(len(places))
    first, rest = np.split(np.arange(len(places)), [TOLD])
    told = Narrator(explainer, events=_EVENTS, language=language).tell(explainer.refine(explained.take(first)))
    brief = Narrator(explainer, events=1, contrast=False, language=language).tell(explained.take(rest))
    reasons = {story.item: story.told() for story in [*told, *brief]}
    cases = [_case(story, int(rank)) for story, rank in zip(told, rows["rank"], strict=False)]
    return Whys(cases, reasons, _clusters(explainer, explained, rows["flagged"].to_numpy(), language))


def _places(store: SequenceStore, rows: pl.DataFrame, *, by_event: bool) -> NDArray[np.int64]:
    """Return the places of the items of some rows in their order, until `READ` events are read."""
    at = places_of(store, rows["id" if by_event else "sequence"].to_list(), by_event=by_event)
    owners = np.searchsorted(store.offsets, at, side="right") - 1 if by_event else at
    read = np.cumsum(at - store.offsets[owners] + 1 if by_event else store.lengths[owners])
    return np.asarray(at[: max(int(np.searchsorted(read, READ, side="right")), 1)], np.int64)


def _case(story: Story, rank: int) -> Case:
    return Case(
        item=story.item,
        entity=story.entity,
        rank=rank,
        score=story.score,
        p_value=story.p_value,
        events=[_event(event) for event in sorted(story.events, key=lambda event: event.position)],
        length=story.length,
        reasons=story.told(),
        usual=story.usual,
        nearest=[row["sequence"] for row in story.nearest],
        edit=edit_text(story.edit, story.language) if story.edit else "",
    )


def _event(event: StoryEvent) -> CaseEvent:
    best = event.expected[0] if event.expected else None
    instead = "" if best is None else f"{best.field} = {best.value} ({percent(best.probability)})"
    return CaseEvent(event.position, event.time, event.values, event.part, next(iter(event.fields), ""), instead)


def _clusters(
    explainer: EnsembleExplainer, explained: Reasoned, flagged: Any, language: Language
) -> list[dict[str, Any]]:
    """Return the patterns of the flagged items, as names."""
    chosen = np.flatnonzero(flagged)
    store = explained.store
    by_event = explainer.ensemble.unit == "event"
    names = event_ids(store)[store.offsets[1:] - 1] if by_event else store.sequence_ids
    found = ContributionClusters().fit(explained.take(chosen))
    return [
        {
            "members": names[chosen[cluster.members].tolist()].to_list(),
            "typical": names[chosen[cluster.typical].tolist()].to_list(),
            "reasons": [(title(code, language), share) for code, share in cluster.reasons],
            "where": _where(cluster, explained.store.field_names, explainer.encoder),
        }
        for cluster in found.clusters_
    ]


def _where(cluster: Cluster, fields: Sequence[str], encoder: EventEncoder) -> list[tuple[str, float]]:
    """Return the columns, and the values of the first, that carry a pattern."""
    columns = [(name, share) for name, share in cluster.fields if name in fields]
    values = [(f"{fields[0]} = {encoder.decode(fields[0], np.array([c]))[0]}", share) for c, share in cluster.values]
    return columns[:_WHERE] + values[:_WHERE]
