"""Older sequences beside new ones, for a training that shall not forget them.

Shapes: N sequences, F fields.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.sequences.store import FLAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore


def recoded(store: SequenceStore, maps: Sequence[NDArray[np.int64]], like: SequenceStore) -> SequenceStore:
    """Return a store in other codes, with the fields and the entities of `like`.

    What was learnt of it another ensemble has learnt, and is left open.

    Parameters
    ----------
    maps : for each field, the other code of every code
    """
    codes = np.stack([codes[store.codes[:, k]] for k, codes in enumerate(maps)], axis=1)
    entity = np.where(store.entity < like.n_entities, store.entity, 0).astype(np.int32)
    return replace(
        store,
        codes=codes.astype(like.codes.dtype),
        fields=like.fields,
        entity=entity,
        n_entities=like.n_entities,
        learnt=None,
    )


def appended(first: SequenceStore, second: SequenceStore) -> SequenceStore:
    """Return the sequences of both, in the codes that they share; what named them is left out."""
    flat: dict[str, Any] = {n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in FLAT}
    n = len(first) + len(second)
    numbers = pl.Series(np.arange(n))
    return replace(
        first,
        **flat,
        offsets=np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        entity=np.concatenate([first.entity, second.entity]),
        context=np.concatenate([first.context, second.context]),
        sequence_ids=numbers,
        entity_ids=numbers,
        event_ids=None,
        pause=_both(first.pause, second.pause),
        silence=_both(first.silence, second.silence),
        learnt=_both(first.learnt, second.learnt),
    )


def _both(first: Any | None, second: Any | None) -> Any | None:
    return None if first is None or second is None else np.concatenate([first, second])
