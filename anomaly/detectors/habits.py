"""Each entity's own habits against everybody else's.

Shapes: R rows (events of a column), N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.contexts import Rows
from anomaly.detectors.counts import ConditionalCounts, Float, Own, hash_columns, multiplicity

_UNIFORM = 0.2
"""Share of the uniform distribution in what an entity without history is expected to do. Some of it keeps what is usual
for the crowd from being as likely as what nobody does, when the entity has done neither."""


class Contrast(NamedTuple):
    """Log-likelihood ratio, in nats, of everybody else's habits to the entity's own, and the weight in a mean."""

    ratio: Float
    weight: Float


@dataclass(frozen=True)
class Habits:
    """Damped counts of one column: everybody's and, within each entity, its own; one table per order.

    The k-th repetition of a value within a sequence counts less (all k together count as sqrt(k)), in learning and in
    scoring: commands come in bursts, and a burst is one decision (Rennie et al. 2003, section 4.1).
    """

    everybody: list[ConditionalCounts]
    entities: list[ConditionalCounts]
    size: int

    @classmethod
    def of(cls, rows: Rows, entity: NDArray[Any], size: int, orders: int = 2) -> Self:
        """Count the rows of `fit`; `entity` (N,) is 0 where there is none."""
        rows = rows.counted()
        owner = entity[rows.sequence]
        known = owner > 0
        everybody, entities = [], []
        for context in rows.contexts[:orders]:
            weight = _damped(context, rows)
            mine = hash_columns(owner[known], context[known])
            everybody.append(ConditionalCounts.of(context, rows.value, weight))
            entities.append(ConditionalCounts.of(mine, rows.value[known], weight[known]))
        return cls(everybody, entities, size)

    def contrast(self, rows: Rows, entity: NDArray[Any], known: NDArray[np.bool_]) -> list[Contrast]:
        """Return one contrast per order; 0 for an entity without a profile once the sequence itself is left out.

        `known` (N,) names the sequences that were in `fit`.
        """
        owner = entity[rows.sequence]
        others: Float = np.full(len(rows.value), 1.0 / (self.size + 1))
        self_: Float = others
        profile = owner > 0
        out: list[Contrast] = []
        for everybody, mine, context in zip(self.everybody, self.entities, rows.contexts, strict=False):
            weight = _damped(context, rows)
            keys = hash_columns(owner, context)
            full = mine.look_up(keys, rows.value)
            plain = rows.own(known)
            kept = mine.look_up(keys, rows.value, Own(plain.events, plain.sequence, weight[plain.events]))
            every = everybody.look_up(context, rows.value)
            types = np.maximum(every.types, 1.0)
            rest = np.maximum(every.total - full.total, 0.0)
            others = (np.maximum(every.joint - full.joint, 0.0) + types * others) / (rest + types)
            # An entity that has shown nothing in this context is expected to do what the shorter context says.
            prior = (1 - _UNIFORM) * others + _UNIFORM / (self.size + 1) if not out else self_
            mass = np.maximum(kept.types, 1.0)
            self_ = (kept.joint + mass * prior) / (kept.total + mass)
            if not out:
                profile &= kept.total > 0
            out.append(Contrast(np.where(profile, np.log(others) - np.log(self_), 0.0), weight))
        return out


def _damped(context: NDArray[np.uint64], rows: Rows) -> Float:
    return np.asarray(1.0 / np.sqrt(multiplicity(context, rows.value, rows.sequence)))
