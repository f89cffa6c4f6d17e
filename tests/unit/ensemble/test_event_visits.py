"""Single events of entities that come several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

Make = Callable[..., Any]

ENTITIES, VISITS, LENGTH, VALUES = 60, 20, 8, 300


def test_events_of_visits_to_come_are_as_usual_as_those_of_the_past(ensemble_of: Make) -> None:
    """A visit stays with a few of many items, so that its beginning says much of its end and little of the next."""
    rng = np.random.default_rng(0)
    n = ENTITIES * VISITS
    item = rng.integers(0, VALUES, (n, 2))[np.arange(n)[:, None], rng.integers(0, 2, (n, LENGTH))]
    store = SequenceStore.from_codes(
        FIRST_VALUE + item.reshape(-1, 1),
        np.full(n, LENGTH),
        fields=(Field("item", "categorical", FIRST_VALUE + VALUES),),
        entity=(1 + np.arange(n) % ENTITIES).astype(np.int32),
        closed=False,
    )
    known, to_come = np.arange(n // 2), np.arange(n // 2, n)
    members = {"ngram": NGramDetector(), "rarity": RarityDetector()}
    fitted = ensemble_of(unit="event", members=members).fit(store.take(known))
    for visits in (known, to_come):
        scored = fitted.score(store.take(visits))
        assert 0.02 < np.mean(scored.p_value <= 0.05) < 0.08
        assert 0.02 < np.mean(scored.event_p_value <= 0.05) < 0.08
