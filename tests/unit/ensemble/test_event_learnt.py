"""Single events that were learnt from, scored as if they were new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.base import clone

from anomaly.artifact import codec
from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.ownpast import OwnPastDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.explain.explainer import EnsembleExplainer
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

Make = Callable[..., Any]

N, VALUES, LENGTH, ONCE = 150, 200, 80, 80
EARLY = 16
"""Events whose past is shorter than that of any event that calibrates."""


@pytest.fixture(scope="module")
def clean() -> SequenceStore:
    """Return entities with favourites among many values; each of the last `ONCE` values occurs once."""
    rng = np.random.default_rng(0)
    total = N * LENGTH
    entity = 1 + np.arange(N)
    favourites = rng.integers(0, VALUES, (N + 1, 8))[np.repeat(entity, LENGTH), rng.integers(0, 8, total)]
    crowd = np.minimum((2 * rng.pareto(0.7, total)).astype(np.int64), VALUES - 1)
    item = np.where(rng.random(total) < 0.5, favourites, crowd)
    item[_places(total)] = VALUES + np.arange(ONCE)
    shop = (item + rng.integers(0, 6, total)) % 40
    fields = (
        Field("item", "categorical", FIRST_VALUE + VALUES + ONCE),
        Field("shop", "categorical", FIRST_VALUE + 40),
    )
    return SequenceStore.from_codes(
        FIRST_VALUE + np.stack([item, shop], 1),
        np.full(N, LENGTH),
        fields=fields,
        values=rng.normal(size=(total, 1)).astype(np.float32),
        entity=entity.astype(np.int32),
        closed=False,
    )


def _places(total: int) -> Any:
    """Return where the values lie that occur once: every second one of them in what is not learnt."""
    sequence = np.arange(ONCE) * (total // LENGTH // ONCE)
    return sequence * LENGTH + np.where(np.arange(ONCE) % 2, LENGTH - 3, 20)


@pytest.fixture(scope="module")
def fitted(ensemble_of: Make, clean: SequenceStore) -> Any:
    members = {"ngram": NGramDetector(), "rarity": RarityDetector(), "own_past": OwnPastDetector()}
    return ensemble_of(unit="event", members=members).fit(clean)


@pytest.fixture(scope="module")
def scored(fitted: Any, clean: SequenceStore) -> Any:
    return fitted.score(clean)


def test_what_occurs_once_is_as_odd_among_the_learnt_as_after_them(scored: Any, clean: SequenceStore) -> None:
    once = _places(clean.n_events)
    for name in ("ngram.order0", "rarity.value"):
        score = scored.member_scores[once, scored.member_names.index(name)]
        assert score[::2].mean() == pytest.approx(score[1::2].mean(), rel=0.05), name


def test_learnt_and_new_events_have_the_same_p_values(scored: Any, clean: SequenceStore) -> None:
    position = clean.position()
    new, learnt = position >= 0.8 * LENGTH, (position >= EARLY) & (position < 0.8 * LENGTH)
    columns = dict(zip(scored.member_names, scored.member_scores.T, strict=True))
    columns |= {"evidence": scored.score, "event": scored.event_score}
    apart = {name: ks_2samp(column[learnt], column[new]).statistic for name, column in columns.items()}
    assert max(apart.values()) < 0.06, apart


def test_events_with_a_short_past_are_not_odd_for_that(scored: Any, clean: SequenceStore) -> None:
    position = clean.position()
    for part in (position == 0, (position > 0) & (position < EARLY), position >= EARLY):
        assert 0.01 < np.mean(scored.p_value[part] <= 0.05) < 0.07
        assert 0.01 < np.mean(scored.event_p_value[part] <= 0.05) < 0.07


def test_a_longer_file_changes_no_score_of_what_was_learnt(fitted: Any, scored: Any, clean: SequenceStore) -> None:
    rng = np.random.default_rng(1)
    place = np.repeat(np.arange(N) * LENGTH, LENGTH + 5) + np.tile(np.arange(LENGTH + 5), N)
    old = np.tile(np.arange(LENGTH + 5) < LENGTH, N)
    place = np.where(old, place, rng.integers(0, clean.n_events, len(place)))
    flat = {name: getattr(clean, name)[place] for name in ("codes", "values", "delta", "time", "row")}
    grown = replace(clean, **flat, offsets=np.arange(N + 1) * (LENGTH + 5))
    np.testing.assert_allclose(fitted.score(grown).score[old], scored.score, atol=1e-9)


def test_a_reloaded_ensemble_knows_what_it_learnt(
    fitted: Any, scored: Any, clean: SequenceStore, tmp_path: Path
) -> None:
    codec.dump(fitted, tmp_path / "ensemble")
    again = codec.load(tmp_path / "ensemble")
    np.testing.assert_allclose(again.score(clean).score, scored.score, atol=1e-9)


def test_reasons_add_up_to_the_score_that_the_event_has(fitted: Any, scored: Any, clean: SequenceStore) -> None:
    places = np.array([3, 21, LENGTH - 1, 5 * LENGTH + 20, 5 * LENGTH + 30, clean.n_events - 1])
    found = EnsembleExplainer(ensemble=fitted, reference=None, encoder=None).split(clean, places)
    np.testing.assert_allclose(found.score_n, scored.score[places], atol=1e-9)
    np.testing.assert_allclose(found.statistic_nm.sum(1), found.evidence_n, atol=1e-9)
    parts = np.add.reduceat(found.part_TF.sum(1), found.offsets[:-1])
    np.testing.assert_allclose(parts, found.evidence_n, atol=1e-9)


@pytest.mark.parametrize(("member", "name"), [(RarityDetector(), "pair"), (NGramDetector(max_order=0), "order0")])
def test_a_fold_is_scored_as_if_it_had_not_been_counted(member: Any, name: str, clean: SequenceStore) -> None:
    learnt = replace(clean, learnt=clean.lengths)
    here = learnt.fold_of_event() == learnt.fold_of_event()[7 * LENGTH + 12]
    assert here.sum() == LENGTH // 4
    without = clone(member).fit(learnt.keep_events(~here)).event_statistics(replace(learnt, learnt=0 * clean.lengths))
    found = clone(member).fit(learnt).event_statistics(learnt)
    column = found.names.index(name)
    np.testing.assert_allclose(found.values[here, column], without.values[here, column])


def test_sequences_are_left_out_whole_where_they_are_the_items(ensemble_of: Make, clean: SequenceStore) -> None:
    fitted = ensemble_of(members={"ngram": NGramDetector()}).fit(clean)
    assert fitted.keys_ is None and fitted.seen(clean).learnt is None
