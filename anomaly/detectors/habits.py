"""Each entity's own habits against everybody else's.

Shapes: R rows (events of a column), N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.contexts import Chain, Rows
from anomaly.detectors.counts import ConditionalCounts, Float, Own, group
from anomaly.detectors.dictionary import Dictionary, Ints

_UNIFORM = 0.2
"""Share of the uniform distribution in what an entity without history is expected to do. Some of it keeps what is usual
for the crowd from being as likely as what nobody does, when the entity has done neither."""


class Contrast(NamedTuple):
    """Log-likelihood ratios, in nats, of everybody else's habits to the entity's own, and the weight in a mean."""

    ratios: list[Float]
    weight: Float


@dataclass(frozen=True)
class Habits:
    """Damped counts of one column: everybody's and, within each entity, its own; one table per order.

    The k repetitions of a value within a fold, most often a sequence, count as sqrt(k) together, in learning and in
    scoring: commands come in bursts, and a burst is one decision (Rennie et al. 2003, section 4.1, with a root for the
    logarithm).

    Attributes
    ----------
    chain : the column and the context of order 1
    everybody, entities : counts per order; the contexts of `entities` are the entity, and a place in `seen`
    seen : the seen pairs of an entity and a context of order 1
    n_entities : entities that may have a profile, with the unknown one
    """

    chain: Chain
    everybody: list[ConditionalCounts]
    entities: list[ConditionalCounts]
    seen: Dictionary
    n_entities: int

    @classmethod
    def of(cls, chain: Chain, rows: Rows, entity: NDArray[Any]) -> Self:
        """Count the rows of `fit`; `entity` (N,) is 0 where there is none."""
        rows = rows.counted()
        n_entities, n_values = int(entity.max(initial=0)) + 1, chain.n_values
        weight, owner = _damped(rows, n_values), entity[rows.sequence].astype(np.int64)
        known = owner > 0
        width = chain.n_contexts()[-1] + 1
        seen = Dictionary.of((owner * width + rows.contexts[-1])[known], n_entities * width)
        everybody, entities = [], []
        for order, context in enumerate(rows.contexts):
            mine = owner if order == 0 else seen.places(owner * width + context)
            n_mine = n_entities if order == 0 else len(seen)
            n = chain.n_contexts()[order]
            everybody.append(ConditionalCounts.of(context, n, rows.value, n_values, weight))
            counted = ConditionalCounts.of(mine[known], n_mine, rows.value[known], n_values, weight[known])
            entities.append(counted)
        return cls(chain, everybody, entities, seen, n_entities)

    def contrast(self, rows: Rows, entity: NDArray[Any], counted: NDArray[np.bool_]) -> Contrast:
        """Return one ratio per order; 0 for an entity without a profile once the fold itself is left out.

        `counted` names the rows that were counted in `fit`.
        """
        owner = np.where(entity < self.n_entities, entity, 0)[rows.sequence].astype(np.int64)
        weight = _damped(rows, self.chain.n_values)
        plain = rows.own(counted)
        own = Own(plain.events, plain.fold, weight[plain.events])
        others: Float = np.full(len(rows.value), 1.0 / (self.chain.n_values - 1))
        prior: Float = others
        profile, ratios = owner > 0, []
        for order, context in enumerate(rows.contexts):
            mine = self._own_context(owner, context, order)
            every = self.everybody[order].look_up(context, rows.value)
            full = self.entities[order].look_up(mine, rows.value)
            types, rest = np.maximum(every.types, 1.0), np.maximum(every.total - full.total, 0.0)
            others = (np.maximum(every.joint - full.joint, 0.0) + types * others) / (rest + types)
            kept = self.entities[order].look_up(mine, rows.value, own) if len(own.events) else full
            if order == 0:
                profile &= kept.total > 0
                prior = (1 - _UNIFORM) * others + _UNIFORM * prior
            # An entity that has shown nothing in this context is expected to do what the shorter context says.
            mass = np.maximum(kept.types, 1.0)
            prior = (kept.joint + mass * prior) / (kept.total + mass)
            ratios.append(np.where(profile, np.log(others) - np.log(prior), 0.0))
        return Contrast(ratios, weight)

    def _own_context(self, owner: Ints, context: Ints, order: int) -> Ints:
        if order == 0:
            return owner
        return self.seen.places(owner * (self.chain.n_contexts()[-1] + 1) + context)


def _damped(rows: Rows, n_values: int) -> Float:
    return np.asarray(1.0 / np.sqrt(group(rows.fold, rows.value, n_values).sums()))
