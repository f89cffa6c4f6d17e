"""Held-out sequences damaged in every known way: what the combiner learns from and the power report counts.

Shapes: k damaged items, m statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.sequences.past import with_past, without_past

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly.ensemble.bank import Unit
    from anomaly.sequences.corrupt import Corruption
    from anomaly.sequences.store import SequenceStore

    Judged = tuple[NDArray[np.float64], NDArray[np.int64]]
    """P-values (k, m) of the items of a store, and the lengths that name their buckets."""
    Judge = Callable[[SequenceStore, NDArray[np.bool_]], Judged]
    """Takes a damaged store and which of its events were touched."""


def damage(
    corruptions: Mapping[str, Corruption],
    stores: Sequence[SequenceStore],
    judge: Judge,
    *,
    unit: Unit,
    n_events: int,
    random_state: int,
) -> dict[str, Judged]:
    """Return what is judged of damaged items, by the name of the kind; kinds that cannot exist here are left out.

    Parameters
    ----------
    corruptions : by name; a kind with variants is told apart as ``name.variant``, and they share its events
    stores : of each a sample is damaged
    n_events : about so many are damaged for each kind
    """
    rng = np.random.default_rng(random_state)
    found: dict[str, Judged] = {}
    for name, corruption in corruptions.items():
        if unit not in corruption.units:
            continue
        variants = corruption.variants(stores[-1])
        for variant, kind in variants.items():
            events = n_events // (len(variants) * len(stores))
            parts = [
                part for store in stores if (part := _judge_damaged(kind, sample_of(store, events, rng), judge, rng))
            ]
            if parts:
                p_values, lengths = zip(*parts, strict=True)
                found[f"{name}.{variant}".rstrip(".")] = np.concatenate(p_values), np.concatenate(lengths)
    return found


def _judge_damaged(kind: Corruption, whole: SequenceStore, judge: Judge, rng: np.random.Generator) -> Judged | None:
    past, sample = without_past(whole)
    if not kind.applies(sample):
        return None
    corrupted = kind.corrupt(sample, rng)
    if not corrupted.touched.any():
        return None
    return judge(with_past(past, sample, corrupted.store), corrupted.touched)


def sample_of(store: SequenceStore, events: int, rng: np.random.Generator) -> SequenceStore:
    """Draw sequences until they hold about `events` events."""
    order = rng.permutation(len(store))
    total = np.cumsum(store.lengths[order])
    return store.take(np.sort(order[: max(int(np.searchsorted(total, events)), 2)]))
