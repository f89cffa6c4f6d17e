"""Explanations to stories: parts with names, values, sentences, and what would have been usual instead.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.detectors.neural import NextEventDetector
from anomaly.explain.contrast import compound, usual_rows
from anomaly.explain.edits import Edit, smallest_edits
from anomaly.explain.expected import Expected, expected
from anomaly.explain.reasons import Reason, constant, severity
from anomaly.explain.story import Likelier, StatisticPart, Story, StoryEvent
from anomaly.explain.words import duration, moment, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.explain.explainer import EnsembleExplainer, Reasoned

    Floats = NDArray[np.float64]

EVENTS = 8
"""Events of a case that are told, those that carry most."""
REPLACED = 3
"""Columns of an event that are tried with another value, those that carry most."""
LEAST = 0.03
"""Share of the evidence below which a reason is not told."""


class Narrator:
    """Tell explained sequences.

    Parameters
    ----------
    explainer : with the reference that tells what is usual
    events : events of a case that are told
    contrast : tell also what the owner usually does, the nearest usual sequences and the smallest edit
    """

    def __init__(self, explainer: EnsembleExplainer, *, events: int = EVENTS, contrast: bool = True) -> None:
        self.explainer = explainer
        self.events = events
        self.contrast = contrast

    def tell(self, e: Reasoned) -> list[Story]:
        """Return a story for every sequence."""
        return _Telling(self, e).stories()


class _Telling:
    """One batch of stories, with what is worked out for all of them together."""

    def __init__(self, narrator: Narrator, e: Reasoned) -> None:
        self.narrator, self.e = narrator, e
        self.explainer, self.encoder = narrator.explainer, narrator.explainer.encoder
        self.top = [self._ranked(n)[: narrator.events] for n in range(len(e.store))]
        self.texts: dict[tuple[str, int], str] = {}

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
        if not isinstance(lead, NextEventDetector) or not len(places):
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
    def distinct(self) -> list[NDArray[Any]]:
        """The codes of each field that are there."""
        return [np.unique(column) for column in np.asarray(self.e.store.codes).T]

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
            **contrast,
        )

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
            position=int(t - e.offsets[n] - e.store.context[n]),
            time=moment(e.store, t),
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

    def _value(self, t: int, name: str) -> str:
        return self._text(name, int(self.e.store.codes[t, self.e.store.field_names.index(name)]))

    def _text(self, name: str, code: int) -> str:
        """Return what a code stands for; each is looked up once."""
        if (name, code) not in self.texts:
            self.texts[name, code] = self.encoder.decode(name, np.array([code]))[0]
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
        return compound(found, self.explainer.reference, e.store, n, self._value)

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
            "n": t - start - int(store.context[n]) + 1,
            "positions": _carriers(part_T, int(store.context[n])),
            "about": about.removesuffix(".entities"),
            "value": self._value(t, about) if about else "",
            "time": moment(store, t),
            "entity": str(store.entity_ids[n]),
            "length": length,
            **self._usual(n, code, about),
        }
        facts |= self._gaps(n, t)
        row, likely = self.instead
        if about in likely and t in row and likely[about].p[row[t], 0] > likely[about].own[row[t]]:
            found, k = likely[about], row[t]
            facts |= {"own": percent(found.own[k]), "p": percent(found.p[k, 0])}
            facts["instead"] = self._text(about, int(found.codes[k, 0]))
        return facts

    def _usual(self, n: int, code: str, about: str) -> dict[str, Any]:
        """Return the usual length, and how often the value that a rate is about is there."""
        e, sample = self.e, self.explainer.reference.sample
        facts: dict[str, Any] = {"usual_length": int(np.median(sample.lengths - sample.context))}
        if code in ("REPEATED_STEP", "MISSING_STEP"):
            return facts | {"step": self.explainer.counted(e, n, about, steps=True)}
        if not code.endswith("_RATE") or about not in e.store.field_names:
            return facts
        f = e.store.field_names.index(about)
        texts = {c: self._text(about, int(c)) for c in self.distinct[f]}
        if code == "VALUE_RATE":
            counted = self.explainer.counted(e, n, about)
            codes = [c for c, text in texts.items() if text == counted]
        else:
            codes = [c for c, text in texts.items() if f"{constant(text)}_RATE" == code]
        here = np.isin(e.store.codes[e.offsets[n] + e.store.context[n] : e.offsets[n + 1], f], codes)
        usual = float(np.isin(sample.codes[:, f], codes).mean()) if sample.n_events else 0.0
        rated = texts[codes[0]] if codes else ""
        return facts | {"count": int(here.sum()), "rated": rated, "usual_count": f"{usual * max(len(here), 1):.1f}"}

    def _gaps(self, n: int, t: int) -> dict[str, str]:
        e, store = self.e, self.e.store
        delta = np.asarray(store.delta[e.offsets[n] + 1 : e.offsets[n + 1]], np.float64)
        delta = delta[np.isfinite(delta)]
        if not store.has_time or not len(delta):
            return {}
        usual = self.explainer.reference.gap
        found = {"gap": duration(float(np.median(delta))), "usual_gap": "" if math.isnan(usual) else duration(usual)}
        if t > e.offsets[n]:
            found["wait"] = duration(float(store.delta[t]))
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
                "dropped": [p - int(store.context[n]) for p in edit.dropped],
                "replaced": [
                    {
                        "position": p - int(store.context[n]),
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
