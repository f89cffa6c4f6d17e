"""What the evidence would nearly be without some events, at a small part of what it costs to score such copies.

What is dear stands still. A network is asked anew only of the few events that follow the one that is left out, going
on from the state before it, where that state is all that it remembers: what a recurrent network remembers of an event
fades within a few. Members of PyOD, those that see a sequence as a whole, and those of little weight stay as they are.
The others are asked anew.

Shapes: T events, N sequences, n copies, m statistics.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from anomaly.base import Statistics
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.neural import NeuralDetector
from anomaly.explain.deletion import without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from anomaly.base import Detector
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.explain.explainer import Reasoned
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

LEAST_WEIGHT = 0.05
"""What a member's statistics have to count in all for it to be asked."""
AFTER = 2
"""Events after the one that is left out of which a network is asked anew."""
_BLOCK = 200_000
"""Events of copies that are read at a time."""


class Foresight:
    """The evidence of copies of some explained sequences.

    Parameters
    ----------
    e : the sequences, with what neural members say of them
    """

    def __init__(self, ensemble: CalibratedEnsemble, e: Reasoned) -> None:
        self.ensemble = ensemble
        self.e = e
        self.store = e.store.for_edits()
        self.columns = {name: k for k, name in enumerate(e.statistics)}
        bank = ensemble.bank_
        self.event_members = _weighty(ensemble, bank.event_members_)
        self.table_members = _weighty(ensemble, bank.table_members_)

    def falls(self, asked_T: NDArray[np.bool_], gone_T: NDArray[np.bool_]) -> Floats:
        """Return (T,) how far the evidence falls without an event and what is gone already; NaN where not asked."""
        out = np.full(len(asked_T), np.nan)
        owner = self.store.sequence_of_event()
        events = np.flatnonzero(asked_T)
        for part in _parts(self.store.lengths[owner[events]]):
            some, rows = events[part], owner[events[part]]
            copies = _Copies.of(self.store, rows, some, gone_T)
            out[some] = self.e.evidence_n[rows] - self.evidence(copies)
        return out

    def evidence(self, copies: _Copies) -> Floats:
        """Return (n,) the evidence of copies."""
        values, moved = np.zeros((len(copies.rows), len(self.columns))), []
        for member, found in self._statistics(copies).items():
            at = [self.columns[f"{member}.{name}".rstrip(".")] for name in found.names]
            values[:, at] = found.values
            moved += at
        p_nm = self.e.p_nm[copies.rows]
        found = Statistics(values, self.e.statistics)
        anew = self.ensemble.calibrator_.p_values(found, self.ensemble.buckets(copies.left))
        p_nm[:, moved] = anew[:, moved]
        evidence_n: Floats = self.ensemble.combiner_.combine(p_nm)
        return evidence_n

    def _statistics(self, copies: _Copies) -> dict[str, Statistics]:
        """Return the statistics of the members that do not stand still."""
        found: dict[str, Statistics] = {}
        left = copies.left
        for name, member in self.event_members.items():
            if isinstance(member, NeuralDetector):
                residuals = self.e.residuals[name].take(copies.rows, copies.places, left.offsets)
                if member.open:
                    own_TD, population_TD = self.states[name]
                    population_ND = None if population_TD is None else population_TD[copies.events]
                    after = member.residuals_from(copies.after(), own_TD[copies.events], population_ND)
                    residuals = residuals.patched(np.flatnonzero(copies.near), after, left.ends_with(copies.near))
                found[name] = member.analyse_residuals(left, residuals).statistics
            else:
                found[name] = member.statistics(left)
        if self.table_members:
            # What the network made of the whole sequences stands still.
            known = {name: residuals.embedding_ND[copies.rows] for name, residuals in self.e.residuals.items()}
            features = self.ensemble.bank_.features(left, self.ensemble.bank_.embedding(left, known))
            found |= {name: member.statistics(features) for name, member in self.table_members.items()}
        return found

    @cached_property
    def states(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """States of open networks before every event, those without the entities' profiles second."""
        found: dict[str, tuple[Tensor, Tensor | None]] = {}
        for name, member in self.event_members.items():
            if isinstance(member, NeuralDetector) and member.open:
                profiles = self.e.residuals[name].contrast_T is not None
                population = member.states(self.store, population=True) if profiles else None
                found[name] = member.states(self.store), population
        return found


class _Copies(NamedTuple):
    """Copies of sequences that have each lost an event, and those that are gone already.

    Attributes
    ----------
    rows, events : of each copy, its sequence, and the flat place of the event that is left out
    places : the flat places that the events of the copies come from
    near : of these events, those that follow soon after the one that is left out
    left : the copies
    """

    rows: NDArray[np.int64]
    events: NDArray[np.int64]
    places: NDArray[np.int64]
    near: NDArray[np.bool_]
    left: SequenceStore

    @classmethod
    def of(
        cls, store: SequenceStore, rows: NDArray[np.int64], events: NDArray[np.int64], gone_T: NDArray[np.bool_]
    ) -> Self:
        places = store.events_of(rows)[0] - store.offsets[0]
        since = places - np.repeat(events, store.lengths[rows])
        kept = ~gone_T[places] & (since != 0)
        near = (since > 0) & (since <= AFTER)
        return cls(rows, events, places[kept], near[kept], without(store.take(rows), kept))

    def after(self) -> SequenceStore:
        """Return the events that follow soon, each run as a sequence."""
        Z = self.left.keep_events(self.near)
        # Where the first event is left out the next one has no gap, but is no beginning.
        begins = (self.left.position() == 0)[self.near]
        delta = np.where(begins, np.float32(np.nan), Z.delta)
        return replace(Z, delta=delta, context=np.zeros_like(Z.context))


def _weighty(ensemble: CalibratedEnsemble, members: Mapping[str, Detector]) -> dict[str, Detector]:
    """Return the members that are quick and count for something."""
    weights = dict.fromkeys(members, 0.0)
    for name, weight in ensemble.weights_.items():
        member = name.split(".", 1)[0]
        weights[member] = weights.get(member, 0.0) + weight
    quick = {name: member for name, member in members.items() if not isinstance(member, PyODDetector)}
    return {name: member for name, member in quick.items() if weights[name] >= LEAST_WEIGHT}


def _parts(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of copies that hold about as many events as are read at a time."""
    at_once = (np.cumsum(lengths) - lengths) // _BLOCK
    edges = np.flatnonzero(np.diff(at_once, prepend=-1))
    for begin, end in zip(edges, np.append(edges, len(lengths))[1:], strict=True):
        yield slice(begin, end)
