"""A later file, all of entities that training never saw, with values of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomaly.artifact import codec
from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.sequences.store import FIRST_VALUE, UNKNOWN, Field, SequenceStore

Make = Callable[..., Any]

OWNERS, ITEMS = 150, 20


def log(seed: int, visits: int, length: int, *, entities: bool = True, known: bool = True) -> SequenceStore:
    """Return visits of owners, each with a device of its own; who is not known has one that is not known either."""
    rng = np.random.default_rng(seed)
    owner = np.tile(np.arange(OWNERS), visits)
    item = np.minimum(rng.geometric(0.25, len(owner) * length) - 1, ITEMS - 1)
    device = np.repeat(FIRST_VALUE + owner, length) if known else np.full(len(item), UNKNOWN)
    fields = (
        Field("device", "categorical", FIRST_VALUE + OWNERS),
        Field("item", "categorical", FIRST_VALUE + ITEMS),
    )
    return SequenceStore.from_codes(
        np.stack([device, FIRST_VALUE + item], axis=1),
        np.full(len(owner), length),
        fields=fields,
        values=rng.normal(size=(len(item), 1)).astype(np.float32),
        entity=((1 + owner) * (known and entities)).astype(np.int32),
        closed=False,
    )


@pytest.fixture(scope="module", params=["sequence", "visit", "history"])
def case(request: pytest.FixtureRequest, ensemble_of: Make) -> tuple[Any, SequenceStore, SequenceStore]:
    """Return an ensemble, what it was fitted on, and the log of strangers."""
    members = {"ngram": NGramDetector(), "rarity": RarityDetector()}
    history = request.param == "history"
    shape: dict[str, Any] = {"visits": 1, "length": 60, "entities": False} if history else {"visits": 8, "length": 6}
    X, new = log(0, **shape), log(1, **shape, known=False)
    new = replace(new, n_entities=X.n_entities)
    ensemble = ensemble_of(unit="sequence" if request.param == "sequence" else "event", members=members)
    return ensemble.fit(X), X, new


def test_they_are_not_odd_for_being_new(case: tuple[Any, SequenceStore, SequenceStore]) -> None:
    ensemble, X, new = case
    for scored in (ensemble.score(X), ensemble.score(new)):
        assert np.mean(scored.p_value <= 0.05) < 0.08
        assert np.mean(scored.event_p_value <= 0.05) < 0.08


def test_they_are_odd_where_they_do_what_nobody_does(case: tuple[Any, SequenceStore, SequenceStore]) -> None:
    ensemble, _, new = case
    codes = new.codes.copy()
    row = len(codes) // 2
    codes[row - 3 : row + 3, 1] = FIRST_VALUE + ITEMS - 1
    scored = ensemble.score(replace(new, codes=codes))
    at = slice(row - 3, row + 3)
    if scored.item_event is None:
        at = np.unique(new.sequence_of_event()[at])
    assert scored.p_value[at].min() < 0.02


def test_a_reloaded_ensemble_knows_whom_it_knows(case: tuple[Any, SequenceStore, SequenceStore], tmp_path: Any) -> None:
    ensemble, X, new = case
    codec.dump(ensemble, tmp_path / "ensemble")
    again = codec.load(tmp_path / "ensemble")
    for store in (X, new):
        np.testing.assert_allclose(again.score(store).score, ensemble.score(store).score)


def test_what_calibrated_scores_as_it_did(ensemble_of: Make) -> None:
    X = log(0, visits=2, length=6)
    few = X.take(np.arange(220))  # Of 80 owners one visit is left; some of these are held out.
    ensemble = ensemble_of(members={"ngram": NGramDetector(), "rarity": RarityDetector()}).fit(few)
    np.testing.assert_allclose(ensemble.score_fitted(few).score, ensemble.score(few).score)
