"""Explanations to stories: parts with names, values, sentences, and what would have been usual instead.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.detectors.neural import NeuralDetector
from anomaly.events.binning import quantity
from anomaly.events.encoder import SHARED_SUFFIX
from anomaly.explain.contrast import compound, usual_rows
from anomaly.explain.edits import Edit, smallest_edits
from anomaly.explain.expected import Expected, expected
from anomaly.explain.lookup import STEP
from anomaly.explain.reasons import Reason, constant, severity
from anomaly.explain.story import Likelier, StatisticPart, Story, StoryEvent
from anomaly.explain.values import moments, restored, value_texts
from anomaly.explain.words import WORDS, amount, duration, field_text, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.explain.explainer import EnsembleExplainer, Reasoned
    from anomaly.explain.words import Language

    Floats = NDArray[np.float64]

EVENTS = 8
"""Events of a case that are told, those that carry most."""
REPLACED = 3
"""Columns of an event that are tried with another value, those that carry most."""
LEAST = 0.03
"""Share of the evidence below which a reason is not told."""
_USUAL = (0.01, 0.99)
"""Quantiles of a number in usual sequences between which it is usual."""


class Narrator:
    """Tell explained sequences.

    Parameters
    ----------
    explainer : with the reference that tells what is usual
    events : events of a case that are told
    contrast : tell also what the owner usually does, the nearest usual sequences and the smallest edit
    language : of what is told
    """

    def __init__(
        self,
        explainer: EnsembleExplainer,
        *,
        events: int = EVENTS,
        contrast: bool = True,
        language: Language = "en",
    ) -> None:
        self.explainer = explainer
        self.events = events
        self.contrast = contrast
        self.language: Language = language

    def tell(self, e: Reasoned) -> list[Story]:
        """Return a story for every sequence."""
        return _Telling(self, e).stories()


class _Telling:
    """One batch of stories, with what is worked out for all of them together."""

    def __init__(self, narrator: Narrator, e: Reasoned) -> None:
        self.narrator, self.e = narrator, e
        self.explainer, self.encoder = narrator.explainer, narrator.explainer.encoder
        self.language, self.words = narrator.language, WORDS[narrator.language]
        self.top = [self._ranked(n)[: narrator.events] for n in range(len(e.store))]
        self.texts: dict[tuple[str, int], str] = {}
        self.values: dict[int, dict[str, str]] = {}
        self._read(np.unique(np.concatenate([np.empty(0, np.int64), *self.top])))

    def stories(self) -> list[Story]:
        """Return a story for every sequence."""
        return [self._story(n) for n in range(len(self.e.store))]

    def _ranked(self, n: int) -> NDArray[np.int64]:
        start, stop = self.e.offsets[n] + self.e.store.context[n], self.e.offsets[n + 1]
        order = np.argsort(-self.e.rank_T[start:stop], kind="stable")
        return np.asarray(start + order, np.int64)

    @cached_property
    def instead(self) -> tuple[dict[int, int], Mapping[str, Expected]]:
        """What the model expected at the told events, and where each event stands in it."""
        lead = next(iter(self.explainer.ensemble.bank_.event_members_.values()), None)
        places = np.unique(np.concatenate([np.empty(0, np.int64), *self.top]))
        if not isinstance(lead, NeuralDetector) or not len(places):
            return {}, {}
        return {int(t): k for k, t in enumerate(places)}, expected(lead, self.e.store, places)

    @cached_property
    def edits(self) -> list[Edit]:
        """The smallest edit of every sequence."""
        options = [option for top in self.top for t in top[:3] for option in self._others(int(t))]
        e = self.e
        return smallest_edits(self.explainer.ensemble, e.store, e.p_value_n, e.cut_T, options)

    def _others(self, t: int) -> list[tuple[int, int, int]]:
        """Return what was likelier in the columns that carry most of an event: its place, the column and the code."""
        e, (row, likely) = self.e, self.instead
        found = []
        for f in np.argsort(-e.part_TF[t], kind="stable")[:REPLACED]:
            name = e.fields[f]
            if t in row and name in likely and e.part_TF[t, f] > 0 and e.store.fields[f].kind == "categorical":
                code = int(likely[name].codes[row[t], 0])
                if code != e.store.codes[t, f]:
                    found.append((t, int(f), code))
        return found

    @cached_property
    def rated(self) -> dict[str, list[int]]:
        """The codes of the first field that a reason counts, by what it is called."""
        first, found = self.e.store.fields[0], defaultdict(list)
        for code, text in enumerate(self.encoder.decode(first.name, np.arange(first.size))):
            found[f"{constant(text)}_RATE"].append(code)
        return found

    @cached_property
    def nearest(self) -> tuple[NDArray[np.int64], Floats]:
        """Places of the nearest usual sequences, and how far they are."""
        return self.explainer.reference.nearest(self.e.store)

    def _story(self, n: int) -> Story:
        e, store = self.e, self.e.store
        total = max(float(e.evidence_n[n]), 1e-300)
        part_F = e.part_TF[e.offsets[n] : e.offsets[n + 1]].sum(axis=0)
        fields = {e.fields[f]: float(part_F[f]) for f in np.argsort(-part_F, kind="stable") if part_F[f] > 0}
        contrast: dict[str, Any] = self._contrast(n) if self.narrator.contrast else {}
        return Story(
            sequence=store.sequence_ids[n],
            entity=store.entity_ids[n],
            length=int(store.lengths[n] - store.context[n]),
            score=float(e.score_n[n]),
            p_value=float(e.p_value_n[n]),
            evidence=float(e.evidence_n[n]),
            exact=float(e.statistic_nm[n, e.exact_m].sum() / total),
            statistics=self._statistics(n, total),
            events=[self._event(int(t), n, total) for t in self.top[n]],
            fields=fields,
            reasons=self._reasons(n, total),
            event=self._event_id(n),
            language=self.language,
            **contrast,
        )

    def _event_id(self, n: int) -> Any:
        if self.explainer.ensemble.unit != "event":
            return None
        store, last = self.e.store, int(self.e.offsets[n + 1]) - 1
        return int(store.row[last]) if store.event_ids is None else store.event_ids[last]

    def _number(self, n: int, t: int) -> int:
        """Return the number of an event in its sequence, from 1."""
        return int(t - self.e.offsets[n] - self.e.past_n[n]) + 1

    def _statistics(self, n: int, total: float) -> list[StatisticPart]:
        e = self.e
        rows = []
        for k in np.argsort(-e.statistic_nm[n], kind="stable"):
            part = float(e.statistic_nm[n, k])
            if part > 0:
                exact = bool(e.exact_m[k] and not e.low_nm[n, k])
                name, p = e.statistics[k], float(e.p_nm[n, k])
                rows.append(StatisticPart(name, part, part / total, p, exact, bool(e.low_nm[n, k])))
        return rows

    def _event(self, t: int, n: int, total: float) -> StoryEvent:
        e = self.e
        parts = e.part_TF[t]
        shown = [f for f in np.argsort(-parts, kind="stable") if parts[f] > 0.01 * max(parts.sum(), 1e-300)]
        return StoryEvent(
            position=self._number(n, t) - 1,
            time=self._moment(t),
            values={name: self._value(t, name) for name in e.store.field_names},
            part=float(parts.sum()),
            share=float(parts.sum() / total),
            fields={e.fields[f]: float(parts[f]) for f in shown},
            expected=self._likelier(t, [e.fields[f] for f in shown]),
        )

    def _likelier(self, t: int, fields: list[str]) -> list[Likelier]:
        row, likely = self.instead
        out = []
        for name in (f for f in fields if f in likely and t in row):
            found, k = likely[name], row[t]
            for code, p in zip(found.codes[k], found.p[k], strict=True):
                if p > 2 * found.own[k]:
                    out.append(Likelier(name, self._text(name, int(code)), float(p), float(found.own[k])))
        return out

    def _read(self, places: NDArray[np.int64]) -> None:
        """Look the values of some events up."""
        columns = value_texts(self.e.store, self.encoder, places, self.words)
        for k, t in enumerate(places):
            self.values[int(t)] = {name: column[k] for name, column in columns.items()}

    def _value(self, t: int, name: str) -> str:
        """Return what an event holds: of a number itself, not the bin that the model reads."""
        if t not in self.values:
            self._read(np.array([t]))
        return self.values[t][name]

    def _moment(self, t: int) -> str:
        return moments(self.e.store, self.encoder, np.array([t]), self.words)[0]

    def _text(self, name: str, code: int) -> str:
        """Return what a code stands for; each is looked up once."""
        if (name, code) not in self.texts:
            self.texts[name, code] = self.encoder.decode(name, np.array([code]), self.words)[0]
        return self.texts[name, code]

    def _reasons(self, n: int, total: float) -> list[Reason]:
        e, own = self.e, slice(int(self.e.offsets[n]), int(self.e.offsets[n + 1]))
        merged: dict[str, list[Any]] = {}
        for (code, about), part_T in e.reasons.items():
            entry = merged.setdefault(code, [0.0, 0.0, about, np.zeros(own.stop - own.start), 1.0])
            part = float(part_T[own].sum())
            if part > entry[1]:
                entry[1], entry[2] = part, about
            entry[0] += part
            entry[3] = entry[3] + part_T[own]
            if part > 0.1 * entry[0]:
                entry[4] = min(entry[4], float(e.reason_p[code, about][n]))
        found = []
        for code, (part, _, about, part_T, p) in merged.items():
            if part >= LEAST * total:
                facts = self._facts(n, code, about, part_T)
                found.append(Reason(code, part, part / total, severity(p), about or facts.get("about", ""), facts))
        found.sort(key=lambda reason: -reason.part)
        return compound(found, self.explainer.reference, e.store, n, int(e.past_n[n]), self._value)

    def _facts(self, n: int, code: str, about: str, part_T: Floats) -> dict[str, Any]:
        """Return what the sentences tell: the event that carries most, its value, what is usual."""
        e, store, start = self.e, self.e.store, int(self.e.offsets[n])
        if not len(part_T):
            return {}
        t = start + int(part_T.argmax())
        parts = {name: float(p) for name, p in zip(e.fields, e.part_TF[t], strict=True) if name in store.field_names}
        about = about if about in store.field_names else max(parts, key=lambda name: parts[name], default="")
        length = int(store.lengths[n] - store.context[n])
        facts: dict[str, Any] = {
            "n": self._number(n, t),
            "positions": _carriers(part_T, int(e.past_n[n])),
            "about": field_text(about.removesuffix(SHARED_SUFFIX), self.language),
            "value": self._value(t, about) if about else "",
            "time": self._moment(t),
            "entity": str(store.entity_ids[n]),
            "length": length,
            "events": amount(length, "event", self.language),
            **self._usual(n, t, code, about),
        }
        facts |= self._gaps(n, t)
        row, likely = self.instead
        if about in likely and t in row and likely[about].p[row[t], 0] > likely[about].own[row[t]]:
            found, k = likely[about], row[t]
            facts |= {"own": percent(found.own[k]), "p": percent(found.p[k, 0])}
            facts["instead"] = self._text(about, int(found.codes[k, 0]))
        return facts

    def _usual(self, n: int, t: int, code: str, about: str) -> dict[str, Any]:
        """Return the usual length, the usual range of a number, how often the value that a rate is about is there."""
        e, sample = self.e, self.explainer.reference.sample
        facts: dict[str, Any] = {"usual_length": int(np.median(sample.lengths - sample.context))}
        if code == "UNUSUAL_VALUE" and about in self.ranges:
            return facts | {"usual_range": self._range(t, about)}
        if code == "NEW_STEP" and t > e.offsets[n] + e.past_n[n]:
            return facts | {"step": STEP.join(self._value(place, about) for place in (t - 1, t))}
        if code in ("REPEATED_STEP", "MISSING_STEP"):
            step = self.explainer.counted(e, n, about, steps=True)
            return facts | {"step": STEP.join(self._text(about, code) for code in step)}
        if not code.endswith("_RATE") or about not in e.store.field_names:
            return facts
        f = e.store.field_names.index(about)
        codes = list(self.explainer.counted(e, n, about)) if code == "VALUE_RATE" else self.rated[code]
        here = np.isin(e.store.codes[e.offsets[n] + e.store.context[n] : e.offsets[n + 1], f], codes)
        usual = float(np.isin(sample.codes[:, f], codes).mean()) if sample.n_events else 0.0
        rated = self._text(about, codes[0]) if codes else ""
        return facts | {"count": int(here.sum()), "rated": rated, "usual_count": f"{usual * max(len(here), 1):.1f}"}

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """What a number usually lies between, where it is ever there."""
        sample = self.explainer.reference.sample
        found = restored(sample, self.encoder, np.arange(sample.n_events))
        known = {name: values[np.isfinite(values)] for name, values in found.items()}
        return {name: tuple(np.quantile(values, _USUAL)) for name, values in known.items() if len(values)}

    def _range(self, t: int, name: str) -> str:
        """Return the usual range of a number that is out of it."""
        low, high = self.ranges[name]
        value = float(restored(self.e.store, self.encoder, np.array([t]))[name][0])
        if not (value < low or value > high):
            return ""
        return self.words.get("{} to {}", "{} to {}").format(quantity(low), quantity(high))

    def _gaps(self, n: int, t: int) -> dict[str, str]:
        e, store = self.e, self.e.store
        delta = np.asarray(store.delta[e.offsets[n] + 1 : e.offsets[n + 1]], np.float64)
        delta = delta[np.isfinite(delta)]
        if not store.has_time or not len(delta):
            return {}
        usual = self.explainer.reference.gap
        found = {"gap": duration(float(np.median(delta)), self.language), "usual_gap": ""}
        if not math.isnan(usual):
            found["usual_gap"] = duration(usual, self.language)
        if t > e.offsets[n]:
            found["wait"] = duration(float(store.delta[t]), self.language)
        return found

    def _contrast(self, n: int) -> dict[str, Any]:
        reference, store = self.explainer.reference, self.e.store
        places, distances = self.nearest
        nearest = [
            {
                "sequence": reference.store.sequence_ids[int(p)],
                "entity": reference.store.entity_ids[int(p)],
                "length": int(reference.store.lengths[p]),
                "distance": float(d),
            }
            for p, d in zip(places[n], distances[n], strict=True)
            if np.isfinite(d)
        ]
        edit = self.edits[n]
        return {
            "usual": usual_rows(reference, store, n, self._text),
            "nearest": nearest,
            "edit": {
                "dropped": [p - int(self.e.past_n[n]) for p in edit.dropped],
                "replaced": [
                    {
                        "position": p - int(self.e.past_n[n]),
                        "field": name,
                        "value": self._text(name, c),
                    }
                    for p, name, c in edit.replaced
                ],
                "p_value": edit.p_value,
                "enough": edit.enough,
            },
        }


def _carriers(part_T: Floats, context: int, most: int = 5) -> list[int]:
    """Return the positions of the events that carry at least a fifth of what the largest does."""
    order = np.argsort(-part_T, kind="stable")[:most]
    return sorted(int(k) - context for k in order if part_T[k] > 0.2 * part_T[order[0]] and part_T[k] > 0)
