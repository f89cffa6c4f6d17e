"""The smallest edit that would make a case unremarkable, found greedily and verified by scoring again.

Shapes: T events, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anomaly.explain.deletion import without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

TRIED = 6
"""Events that are tried at each step, those that carry most."""
STEPS = 4
UNREMARKABLE = 0.05
"""An edited case is unremarkable from this p-value on."""


@dataclass(frozen=True)
class Edit:
    """What would have to be otherwise.

    Attributes
    ----------
    dropped : positions of the events that are left out
    replaced : (position, field, code) of the values that are others
    p_value : after the edit
    enough : whether the case is unremarkable then
    """

    dropped: tuple[int, ...]
    replaced: tuple[tuple[int, str, int], ...]
    p_value: float
    enough: bool


Replacement = tuple[int, int, int]
"""A flat place, the field's column and the code that is put there."""


def smallest_edits(
    ensemble: CalibratedEnsemble,
    X: SequenceStore,
    p_value_n: Floats,
    event_T: Floats,
    replacements: Sequence[Replacement] = (),
) -> list[Edit]:
    """Return one edit per sequence.

    At each step every sequence that is still remarkable tries to lose one of the events that carry most, or to take one
    of the replacements; what helps most is kept. Where single steps are not enough, half of what carries the case is
    taken at once, if that is.

    Parameters
    ----------
    p_value_n : of the sequences as they are
    event_T : what each event carries
    """
    search = _Search(ensemble, X, p_value_n, event_T, replacements)
    for _ in range(STEPS):
        if not search.step():
            break
    search.halve()
    return [search.edit(n) for n in range(len(X))]


class _Search:
    """Where each sequence stands: the events it has lost, the values it has changed, its p-value then."""

    def __init__(
        self,
        ensemble: CalibratedEnsemble,
        X: SequenceStore,
        p_value_n: Floats,
        event_T: Floats,
        replacements: Sequence[Replacement],
    ) -> None:
        self.ensemble, self.X = ensemble, X
        self.order = [self._ranked(n, event_T) for n in range(len(X))]
        self.p = p_value_n.copy()
        self.changes: list[tuple[Replacement, ...]] = [() for _ in range(len(X))]
        self.options: list[list[Replacement]] = [[(int(t), -1, 0) for t in order] for order in self.order]
        owner = X.sequence_of_event()
        for place, field, code in replacements:
            self.options[owner[place]].append((place, field, code))

    def _ranked(self, n: int, event_T: Floats) -> NDArray[np.int64]:
        places = np.arange(self.X.offsets[n] + self.X.context[n], self.X.offsets[n + 1])
        ranked: NDArray[np.int64] = places[np.argsort(-event_T[places], kind="stable")]
        return ranked

    def step(self) -> bool:
        """Try every option of every open sequence once; return whether any sequence got better."""
        tried = [(n, self.changes[n] + (option,)) for n in self._open() for option in self._candidates(n)]
        return self._keep_best(tried)

    def halve(self) -> None:
        """Give sequences that are still open the loss of their first 2, 4, 8 ... events, up to half of them."""
        tried = []
        for n in self._open():
            k = 2
            while k <= len(self.order[n]) // 2:
                tried.append((n, tuple((int(t), -1, 0) for t in self.order[n][:k])))
                k *= 2
        p = self._score(tried)
        for (n, changes), value in zip(tried, p, strict=True):
            if self.p[n] < UNREMARKABLE <= value:
                self.p[n], self.changes[n] = value, changes

    def edit(self, n: int) -> Edit:
        """Return what was done to a sequence."""
        start, names = int(self.X.offsets[n]), self.X.field_names
        dropped = tuple(sorted(t - start for t, field, _ in self.changes[n] if field < 0))
        replaced = tuple((t - start, names[field], code) for t, field, code in self.changes[n] if field >= 0)
        return Edit(dropped, replaced, float(self.p[n]), bool(self.p[n] >= UNREMARKABLE))

    def _open(self) -> list[int]:
        return [n for n in range(len(self.X)) if self.p[n] < UNREMARKABLE and len(self.order[n]) > 1]

    def _candidates(self, n: int) -> list[Replacement]:
        gone = {place for place, field, _ in self.changes[n] if field < 0}
        touched = {(place, field) for place, field, _ in self.changes[n]}
        left = len(self.order[n]) - len(gone)
        drops = [o for o in self.options[n] if o[1] < 0 and o[0] not in gone][: TRIED if left > 1 else 0]
        return drops + [o for o in self.options[n] if o[1] >= 0 and o[0] not in gone and o[:2] not in touched]

    def _keep_best(self, tried: list[tuple[int, tuple[Replacement, ...]]]) -> bool:
        better = False
        for (n, changes), value in zip(tried, self._score(tried), strict=True):
            if value > self.p[n]:
                self.p[n], self.changes[n], better = value, changes, True
        return better

    def _score(self, tried: list[tuple[int, tuple[Replacement, ...]]]) -> Floats:
        """Return the p-values of edited sequences."""
        if not tried:
            return np.zeros(0)
        rows = np.array([n for n, _ in tried])
        store = self.X.take(rows).for_edits()
        codes, kept = np.array(store.codes), np.ones(store.n_events, bool)
        for k, (n, changes) in enumerate(tried):
            shift = int(store.offsets[k] - self.X.offsets[n])
            for place, field, code in changes:
                if field < 0:
                    kept[place + shift] = False
                else:
                    codes[place + shift, field] = code
        return self.ensemble.score(without(replace(store, codes=codes), kept)).p_value
