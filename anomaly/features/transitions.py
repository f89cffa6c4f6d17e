"""Steps from one code to the next: the usual ones counted, the new ones as a share.

Shapes: T events, N sequences, P known transitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.features.segments import distinct, segment_sum
from anomaly.features.summaries import Columns, chosen_counts

Ints = NDArray[np.int64]

_LOW = (1 << 32) - 1


class Steps(NamedTuple):
    """The steps within sequences: (M,) both codes packed into 64 bits, and (N + 1,) offsets."""

    pairs: Ints
    offsets: Ints

    @classmethod
    def of(cls, codes: NDArray[Any], offsets: Ints) -> Self:
        """Return every event's step from the one before it in its sequence."""
        inside = np.ones(len(codes), bool)
        inside[offsets[:-1][np.diff(offsets) > 0]] = False
        places = np.flatnonzero(inside)
        pairs = codes[places - 1].astype(np.int64) << 32 | codes[places].astype(np.int64)
        return cls(pairs, np.concatenate([[0], np.cumsum(np.maximum(np.diff(offsets) - 1, 0))]))


@dataclass(frozen=True)
class Transitions:
    """Transitions of one field.

    Attributes
    ----------
    pairs : (P,) packed, sorted
    seen_in : (P,) number of sequences that hold each
    chosen : places of those that get a column
    """

    pairs: Ints
    seen_in: Ints
    chosen: Ints

    @classmethod
    def of(cls, codes: NDArray[Any], offsets: Ints, most: int) -> Self:
        """Count the transitions of some sequences and choose the `most` frequent."""
        steps = Steps.of(codes, offsets)
        pairs, place, counts = np.unique(steps.pairs, return_inverse=True, return_counts=True)
        sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(steps.offsets))
        width = max(len(pairs), 1)
        seen_in = np.bincount(distinct(sequence * width + place) % width, minlength=len(pairs))
        return cls(pairs, seen_in, np.sort(np.argsort(-counts, kind="stable")[:most]))

    def codes(self) -> list[tuple[int, int]]:
        """Return both codes of every chosen transition."""
        return [(int(pair >> 32), int(pair & _LOW)) for pair in self.pairs[self.chosen]]

    def columns(
        self, codes: NDArray[Any], offsets: Ints, own: NDArray[np.bool_], field: str, names: list[str]
    ) -> Columns:
        """Return counts of the chosen transitions, and the shares of repeated and of new ones.

        `own` (N,) names the sequences that were counted, which are looked at as if they had not been.
        """
        steps = Steps.of(codes, offsets)
        lengths = np.diff(steps.offsets)
        slots = np.full(len(self.pairs) + 1, len(self.chosen))
        slots[self.chosen] = np.arange(len(self.chosen))
        counts = chosen_counts(slots[self._places(steps.pairs)], len(self.chosen), steps.offsets)
        new = self.new(steps.pairs, np.repeat(own, lengths))
        repeated = steps.pairs >> 32 == (steps.pairs & _LOW)
        columns = {name: np.log1p(count) for name, count in zip(names, counts.T, strict=True)}
        columns[f"{field}.repeat_share"] = segment_sum(repeated, steps.offsets) / np.maximum(lengths, 1)
        columns[f"{field}.new_transition_share"] = segment_sum(new, steps.offsets) / np.maximum(lengths, 1)
        return columns

    def new(self, pairs: Ints, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return (M,) whether no other sequence holds a packed step; `own`: whether the step's sequence was counted."""
        found: NDArray[np.bool_] = np.append(self.seen_in, 0)[self._places(pairs)] <= own
        return found

    def _places(self, pairs: Ints) -> Ints:
        """Return where steps stand among those that are known, behind them where they are not."""
        place = np.searchsorted(self.pairs, pairs)
        place[np.append(self.pairs, -1)[place] != pairs] = len(self.pairs)
        return place
