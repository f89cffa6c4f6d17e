"""What has been found of the evidence so far.

Shapes: T events, N sequences, F fields of the axis, Q reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.explain.reasons import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.explain.axis import Axis

    Floats = NDArray[np.float64]

LEAD = 4.0
"""What the leading member's surprise counts against the parts, where all of the evidence speaks of surprise."""
SURPRISES = ("UNEXPECTED_EVENT", "UNEXPECTED_EVENTS", "RARE_EVENT", "RARE_COMBINATION", "NEW_STEP", OTHER)

Key = tuple[str, str]
"""A reason's code, and the field that it is about."""


class Ledger:
    """Parts of the evidence as they are found: by event and field, and by the reason that they speak for."""

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.part_TF = axis.zeros()
        self.surprise_T: Floats | None = None
        self.reasons: dict[Key, Floats] = {}
        self.p_values: dict[Key, Floats] = {}

    def rank(self) -> Floats:
        """Return (T,) where to look first: what an event carries, and what it tells a member that reads all the past.

        Members that see the event before alone find what follows an odd event as odd as the event itself. So the more
        of the evidence speaks of surprise, the more the surprise of that member counts.
        """
        ragged = self.axis.ragged
        shares: Floats = self.axis.shares(self.part_TF).sum(axis=1)
        if self.surprise_T is None:
            return shares
        spoken = sum((part for (code, _), part in self.reasons.items() if code in SURPRISES), np.zeros(len(shares)))
        total = np.maximum(ragged.sum(self.part_TF.sum(axis=1)), 1e-12)
        weight = LEAD * (ragged.sum(spoken) / total) ** 2 / np.maximum(ragged.sum(self.surprise_T), 1e-12)
        rank: Floats = shares + weight[ragged.owner] * self.surprise_T
        return rank

    def book(self, key: Key, part_TF: Floats, p_n: Floats, rows_N: NDArray[np.bool_]) -> None:
        """Add parts of some sequences, and the p-value behind them."""
        if not rows_N.all():
            part_TF = part_TF * rows_N[self.axis.ragged.owner][:, None]
        self.part_TF += part_TF
        self._note(key, part_TF.sum(axis=1), p_n, rows_N)

    def book_kinds(self, keys: Sequence[Key], part_TF: Floats, part_TQ: Floats, p_n: Floats) -> None:
        """Add parts of several reasons at once, those of each in its column."""
        self.part_TF += part_TF
        spoken_nQ = self.axis.ragged.sum(part_TQ) > 0
        for key, part_T, rows_N in zip(keys, part_TQ.T, spoken_nQ.T, strict=True):
            self._note(key, part_T, p_n, rows_N)

    def _note(self, key: Key, part_T: Floats, p_n: Floats, rows_N: NDArray[np.bool_]) -> None:
        self.reasons[key] = self.reasons.get(key, 0.0) + part_T
        self.p_values[key] = np.minimum(self.p_values.get(key, np.ones(len(p_n))), np.where(rows_N, p_n, 1.0))
