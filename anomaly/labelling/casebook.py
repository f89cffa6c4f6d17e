"""A run as cases: everything that the page shows of one item.

Shapes: T events, N sequences, n items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.explain.values import moments, restored, value_texts
from anomaly.explain.words import duration
from anomaly.features.segments import reported
from anomaly.labelling.figures import Figure, Figures, event_figures, least_figures, sequence_figures
from anomaly.labelling.links import Link, LinkIndex
from anomaly.labelling.neighbours import Neighbour, Neighbours
from anomaly.labelling.timeline import Strand, Timeline, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.active.labels import Label
    from anomaly.artifact.run import Run
    from anomaly.explain.story import Told
    from anomaly.labelling.reasons import Reasons

MARKED = 5
DRAWN, LISTED = 400, 80
"""Events that the timeline draws, and that the table lists; of longer cases the most surprising."""


@dataclass(frozen=True)
class CaseEvent:
    """One event of a case.

    Attributes
    ----------
    number : its place in the sequence, from 1
    gap : time since the event before, as text
    values : field and text, and whether it is another than before
    share : its surprise as a share of the largest of the case
    mark : 1 for the most surprising event, up to `MARKED`; 0 for the others
    field : what carried most of the surprise
    here : whether it is the event that is judged
    skipped : how many events before it are not listed
    """

    number: int
    time: str
    gap: str
    values: list[tuple[str, str, bool]]
    share: float
    mark: int
    field: str
    here: bool
    skipped: int

    @property
    def clock(self) -> str:
        """The time of the day; the whole time where it is no date."""
        day, _, clock = self.time.partition(" ")
        return clock if "-" in day[1:] else self.time


@dataclass(frozen=True)
class Case:
    """One item as the page shows it; `reasons` is None while they are not worked out, and `surprises` stand in.

    Of a single event, `place` tells which of its sequence it is; `zone` names the clock that is stated.
    """

    item: str
    entity: str | None
    place: str
    n_events: int
    span: str
    first: str
    last: str
    zone: str
    reasons: list[Told] | None
    surprises: list[str]
    timeline: Timeline
    events: list[CaseEvent]
    left_out: int
    figures: list[Figure]
    links: list[Link]
    neighbours: list[Neighbour]


@dataclass(frozen=True)
class _Piece:
    """The events of one case that are drawn: flat places, and what the run says of them.

    Attributes
    ----------
    number : places in the case, from 1
    n_events, span : events of the whole case, and the seconds from its first to its last
    ends : flat places of these two; none where there are no events
    delta : seconds since the drawn event before
    """

    places: NDArray[np.int64]
    number: NDArray[np.int64]
    n_events: int
    span: float
    ends: NDArray[np.int64]
    delta: NDArray[np.float64]
    score: NDArray[np.float64]
    fields: list[str]
    here: NDArray[np.bool_]


class Casebook:
    """The cases of a run.

    Parameters
    ----------
    run : with its sequences
    items : of the run, in its order
    reasons : that say why an item ranks where it does; the surprise of its events stands in where there are none
    """

    def __init__(self, run: Run, items: Items, reasons: Reasons | None = None) -> None:
        self.run, self.items = run, items
        self.store, self.encoder = run.sequences, run.encoder
        self.scores, self._events = run.scores, run.event_scores
        self.by_event = run.facts["unit"] == "event"
        offsets, kept = reported(self.store)
        self._starts, self._kept = offsets, np.flatnonzero(kept)
        columns = event_figures if self.by_event else sequence_figures
        least = least_figures(self.store, self.encoder, by_event=self.by_event)
        self.figures = Figures(columns(self.store, self.encoder), least)
        self.links = LinkIndex(self.store, self.encoder)
        self._steady = self.links.steady
        # Times that count from a zero of their own are durations.
        self._dated = self.store.has_time and self.scores["last_time"].dtype == pl.Datetime
        self.neighbours = Neighbours(items)
        self.reasons = reasons

    def case(self, place: int, judged: Sequence[tuple[int, Label]] = ()) -> Case:
        """Return one item as the page shows it.

        Parameters
        ----------
        judged : places and verdicts of the items that count as judged
        """
        sequence, row = self.sequence_of(place), self.scores.row(place, named=True)
        piece = self._piece(place, sequence)
        marks = _marks(piece.score)
        columns = self._texts(piece)
        times = moments(self.store, self.encoder, piece.places)
        events = self._listed(piece, columns, times, marks)
        entity = self.store.entity_ids[sequence]
        first, last = moments(self.store, self.encoder, piece.ends) if len(piece.ends) else ("", "")
        return Case(
            item=str(self.items.ids[place]),
            entity=None if entity is None or str(entity) == str(self.items.ids[place]) else str(entity),
            place=f"event {row['position'] + 1:,} of {row['sequence']}" if self.by_event else "",
            n_events=piece.n_events,
            span=duration(piece.span) if self.store.has_time and piece.n_events > 1 else "",
            first=first,
            last=last,
            zone=(self.encoder.schema_.timezone or "") if self._dated else "",
            reasons=self.reasons.known(place) if self.reasons else [],
            surprises=_surprises(events),
            timeline=draw(self._strand(piece, columns, times, marks, (first, last))),
            events=events,
            left_out=piece.n_events - len(events),
            figures=self.figures.of(place),
            links=self.links.of(sequence, self._anomalous(judged), self._codes_until(place, sequence)),
            neighbours=self.neighbours.of(place, judged),
        )

    def _codes_until(self, place: int, sequence: int) -> NDArray[Any] | None:
        """Return (T, F) the codes of a judged event and of what came before it; None where a sequence is judged."""
        return self.store.codes[self._kept[int(self._starts[sequence]) : place + 1]] if self.by_event else None

    def tell(self, place: int) -> list[Told]:
        """Return the reasons of an item; the first time it takes a moment."""
        at = int(self._kept[place]) if self.by_event else place
        return self.reasons.tell(place, self.store, at) if self.reasons else []

    def sequence_of(self, place: int) -> int:
        """Return the place of an item's sequence."""
        return int(np.searchsorted(self._starts, place, side="right") - 1) if self.by_event else place

    def end_times(self) -> list[int | None] | None:
        """Return when each item ended, in microseconds since 1970; None where there are no times."""
        return self.scores["last_time"].dt.timestamp("us").to_list() if self._dated else None

    def search(self, text: str, limit: int = 20) -> list[tuple[int, str, str]]:
        """Return place, id and entity of the items whose id or entity holds a text, the exact ones first."""
        wanted = text.strip().lower()
        if not wanted:
            return []
        ids, owners = self._names
        hit = ids.str.to_lowercase().str.contains(wanted, literal=True)
        hit |= owners.str.to_lowercase().str.contains(wanted, literal=True).fill_null(False)
        exact = ((ids.str.to_lowercase() == wanted) | (owners.str.to_lowercase() == wanted).fill_null(False)).to_numpy()
        places = np.flatnonzero(hit.to_numpy())
        places = places[np.argsort(~exact[places], kind="stable")][:limit]
        return [(int(p), str(ids[int(p)]), str(owners[int(p)] or "")) for p in places]

    @cached_property
    def _names(self) -> tuple[pl.Series, pl.Series]:
        owners = self.scores["entity"] if "entity" in self.scores.columns else self.scores["sequence"]
        return self.items.ids.cast(pl.String), owners.cast(pl.String)

    def _piece(self, place: int, sequence: int) -> _Piece:
        start, end = int(self._starts[sequence]), int(self._starts[sequence + 1])
        # What came after a judged event was not known when it happened.
        end = place + 1 if self.by_event else end
        rows = self._events.slice(start, end - start)
        score = rows["score"].to_numpy()
        kept = np.arange(end - start)
        if len(kept) > DRAWN:
            kept = np.sort(np.argsort(-score, kind="stable")[:DRAWN])
            if self.by_event:
                kept = np.union1d(kept, [end - start - 1])
        here = kept == (end - start - 1) if self.by_event else np.zeros(len(kept), bool)
        places = self._kept[start:end]
        # What is not drawn passes all the same: a gap is the time since the event that is drawn before.
        delta = np.nan_to_num(np.asarray(self.store.delta[places], np.float64))
        delta[:1] = 0.0
        clock = np.cumsum(delta)
        return _Piece(
            places[kept],
            kept + 1,
            len(places),
            float(clock[-1]) if len(clock) else 0.0,
            places[[0, -1]] if len(places) else places,
            np.diff(clock[kept], prepend=0.0),
            score[kept],
            rows["field"].gather(kept).to_list(),
            here,
        )

    def _texts(self, piece: _Piece) -> dict[str, list[str]]:
        """Return the values of a case's events by field, as text; numbers in their own units, the clock left out."""
        columns = value_texts(self.store, self.encoder, piece.places, {"missing": ""})
        return {field.name: columns[field.name] for field in self.store.fields if field.kind != "clock"}

    def _listed(
        self, piece: _Piece, columns: dict[str, list[str]], times: list[str], marks: NDArray[np.int64]
    ) -> list[CaseEvent]:
        kept = np.arange(len(piece.places))
        if len(kept) > LISTED:
            kept = np.union1d(np.argsort(-piece.score, kind="stable")[:LISTED], np.flatnonzero(piece.here))
        most = max(float(piece.score.max(initial=0.0)), 1e-9)
        shown = {name: texts for name, texts in columns.items() if any(texts)}
        before = dict.fromkeys(shown, "")
        changed: dict[str, list[bool]] = {name: [] for name in shown}
        for name, texts in shown.items():
            for text in texts:
                changed[name].append(bool(name in self._steady and text and before[name] and text != before[name]))
                before[name] = text or before[name]
        events, last = [], 0
        for i in kept:
            number = int(piece.number[i])
            gap = duration(float(piece.delta[i])) if self.store.has_time and number > 1 and number == last + 1 else ""
            values = [(name, texts[i], changed[name][i]) for name, texts in shown.items()]
            share = max(float(piece.score[i]) / most, 0.0)
            mark, here = int(marks[i]), bool(piece.here[i])
            events.append(
                CaseEvent(number, times[i], gap, values, share, mark, piece.fields[i], here, number - last - 1)
            )
            last = number
        return events

    def _strand(
        self,
        piece: _Piece,
        columns: dict[str, list[str]],
        times: list[str],
        marks: NDArray[np.int64],
        ends: tuple[str, str],
    ) -> Strand:
        lead = next((f.name for f in self.store.fields if f.kind == "categorical"), None)
        kinds = [text or "missing" for text in columns[lead]] if lead else ["event"] * len(piece.places)
        numbers = restored(self.store, self.encoder, piece.places)
        amount = next(
            ((n, v) for n, v in numbers.items() if np.isfinite(v).any() and (np.nan_to_num(v) != 0).any()), None
        )
        texts = [
            f"{number}. {kind} {time}".strip() for number, kind, time in zip(piece.number, kinds, times, strict=True)
        ]
        changes = {name: columns[name] for name in self._steady if name in columns and name != lead}
        return Strand(kinds, piece.delta, texts, marks, piece.here, amount, changes, ends)

    def _anomalous(self, judged: Sequence[tuple[int, Label]]) -> set[str]:
        places = [place for place, row in judged if row.verdict == "anomalous"]
        return {str(self.store.entity_ids[self.sequence_of(place)]) for place in places}


def _marks(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return 1 for the most surprising event, 2 for the next, and so on; 0 for those that are usual."""
    marks = np.zeros(len(score), np.int64)
    # Where most are marked none is.
    top = np.argsort(-score, kind="stable")[: min(MARKED, -(-len(score) // 3))]
    marks[top] = np.arange(1, len(top) + 1)
    return marks


def _surprises(events: list[CaseEvent]) -> list[str]:
    """Return a line for each of the three most surprising events: which it is, and what about it."""
    top = sorted((event for event in events if event.mark), key=lambda event: event.mark)[:3]
    lines = []
    for event in top:
        said = {name: text for name, text, _ in event.values}
        what = next((text for text in said.values() if text), "event")
        value = f" {said[event.field]}" if said.get(event.field) else ""
        lines.append(f"Event {event.number} ({what}): {event.field}{value} is not what usually comes here.")
    return lines
