"""Which events to try to leave out first: by what is foreseen of each, and by the reasons.

Shapes: T events, N sequences, K reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.explain.foresight import Foresight
from anomaly.scores.statistics import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.explain.explainer import Reasoned
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

FORESEEN, LEAST_FORESEEN = 1 / 2, 6
"""Share, and least number, of a sequence's events of which is foreseen what it would be without each; of a later step
half of them."""
COPIED = 1 << 20
"""Events that the copies of one sequence hold in all: of a very long one fewer than that share are foreseen."""
ANGLES = 4
"""Largest reasons of a sequence whose events are candidates to be left out."""


class Rankings:
    """Rankings of the events of some explained sequences, for one step of `anomaly.explain.deletion.delete` at a time.

    The first is what is foreseen, the others are the reasons.
    """

    def __init__(self, ensemble: CalibratedEnsemble, e: Reasoned) -> None:
        self.foresight, self.ragged = Foresight(ensemble, e), Ragged(e.offsets)
        self.rank_T = self.worth_T = e.rank_T
        self.reasons = [e.rank_T, alike_together(e.store, e.rank_T), *_by_reason(e)]
        lengths = self.ragged.lengths
        most_N = np.minimum(FORESEEN * lengths, COPIED // np.maximum(lengths, 1))
        self.foreseen_N = np.maximum(most_N, LEAST_FORESEEN)

    def __call__(self, open_T: NDArray[np.bool_], gone_T: NDArray[np.bool_]) -> list[Floats]:
        """Return rankings (T,) of the events that are open once some are gone, the largest first."""
        owner = self.ragged.owner
        first_T = open_T & (self.ragged.places(self.worth_T, open_T) < self.foreseen_N[owner])
        fall_T = self.foresight.falls(first_T, gone_T)
        lowest_T = -self.ragged.largest(np.nan_to_num(-fall_T, nan=-np.inf))[owner]
        self.worth_T = np.where(np.isnan(fall_T), lowest_T, fall_T) + 1e-6 * self.rank_T
        # The next step's candidates are among the best of these.
        self.foreseen_N = self.foreseen_N / 2
        return [self.worth_T, *self.reasons]


def alike_together(X: SequenceStore, rank_T: Floats) -> Floats:
    """Return (T,) a ranking that keeps a sequence's identical events together, by what they have in all."""
    owner = X.sequence_of_event()
    kind_T = np.unique(np.column_stack([owner, X.codes]), axis=0, return_inverse=True)[1].ravel()
    total_T = np.bincount(kind_T, rank_T)[kind_T]
    ranks = np.empty(len(rank_T))
    ranks[np.lexsort((-rank_T, kind_T, -total_T))] = -np.arange(len(rank_T), dtype=np.float64)
    return ranks


def _by_reason(e: Reasoned) -> list[Floats]:
    """Return a ranking of the events by each of their sequence's largest reasons."""
    ragged, part_TK = Ragged(e.offsets), np.stack(list(e.reasons.values()), axis=1)
    total_nK = ragged.sum(part_TK)
    largest_nK = np.argsort(-total_nK, axis=1, kind="stable")[:, :ANGLES]
    found = []
    for k in largest_nK[ragged.owner].T:
        part_T = np.take_along_axis(part_TK, k[:, None], axis=1)[:, 0]
        total_T = total_nK[ragged.owner, k]
        # Among events of which the reason says nothing the first ranking decides.
        found.append(part_T / np.maximum(total_T, 1e-12) + 1e-6 * e.rank_T)
    return found
