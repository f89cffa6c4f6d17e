"""From sequences to one calibrated score, end to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from anomaly.artifact import codec
from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.detectors.robust import IQRDetector
from anomaly.detectors.silence import SilenceDetector
from anomaly.ensemble import bank
from anomaly.ensemble.bank import MemberBank
from anomaly.ensemble.combine import FisherCombiner
from anomaly.ensemble.pipeline import lengths_vary
from anomaly.errors import ConfigError, DataError, NotFittedError
from anomaly.metrics.ranking import auroc
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

Make = Callable[..., Any]


def test_planted_anomalies_rank_first(fitted: Any, store_of: Make) -> None:
    X = store_of(200, planted=20, seed=7)
    scored = fitted.score(X)
    labels = np.arange(200) >= 180
    assert auroc(labels, scored.score) > 0.97
    assert auroc(labels, fitted.decision_function(X)) == auroc(labels, scored.score)
    owner = X.sequence_of_event()
    assert scored.event_score[labels[owner]].mean() > 2 * scored.event_score[~labels[owner]].mean()


def test_members_that_have_nothing_to_say_are_told_before_anything_is_combined(
    ensemble_of: Make, store_of: Make
) -> None:
    """Rows without times know no silence."""
    with pytest.raises(DataError, match="silence: nothing to tell of such rows"):
        ensemble_of(members={"silence": SilenceDetector()}).fit(store_of(60))


def test_trained_on_what_it_judges_it_still_finds_them(ensemble_of: Make, store_of: Make) -> None:
    order = np.random.default_rng(0).permutation(240)
    X = store_of(240, planted=8, seed=3).take(order)
    # The planted ones are spread over time; as the latest they would be a sixth of what is calibrated on.
    X = replace(X, time=np.arange(X.n_events) * 1_000_000)
    assert auroc(order >= 232, ensemble_of().fit(X).decision_function(X)) > 0.93


def test_a_value_that_a_third_have_is_not_odd_for_having_been_learnt(ensemble_of: Make) -> None:
    codes = FIRST_VALUE + np.random.default_rng(0).integers(0, 3, (1500, 1))
    X = SequenceStore.from_codes(
        codes,
        np.ones(1500, np.int64),
        fields=(Field("kind", "categorical", FIRST_VALUE + 3),),
        entity=1 + np.arange(1500, dtype=np.int32),
        closed=False,
    )
    p_value = ensemble_of(members={"ngram": NGramDetector(), "rarity": RarityDetector()}).fit(X).score(X).p_value
    assert np.mean(p_value <= 0.05) < 0.07


def test_a_record_of_scores_holds_together(fitted: Any, store_of: Make) -> None:
    X = store_of(60, planted=5, seed=8)
    scored = fitted.score(X)
    np.testing.assert_allclose(scored.score, -np.log10(scored.p_value))
    assert scored.member_scores.shape == (60, len(scored.member_names))
    assert scored.item_event is None
    assert scored.event_fields.shape == (X.n_events, len(scored.event_field_names))
    np.testing.assert_array_equal(scored.event_field, scored.event_fields.argmax(1))
    np.testing.assert_allclose(scored.event_score, -np.log10(scored.event_p_value))
    for p in (scored.p_value, scored.event_p_value):
        assert ((p > 0) & (p <= 1)).all()
    assert all(np.isfinite(x).all() for x in (scored.score, scored.member_scores, scored.event_score))
    assert len(np.unique(scored.score[-5:])) == 5, "no ties at the top"


def test_new_ordinary_sequences_have_uniform_p_values(fitted: Any, store_of: Make) -> None:
    p = np.concatenate([fitted.score(store_of(200, seed=seed)).p_value for seed in (11, 12, 13)])
    assert kstest(p, "uniform").statistic < 0.2
    assert (p <= 0.05).mean() < 0.12
    assert kstest(fitted.reference_p_values_, "uniform").statistic < 0.1


def test_a_subset_scores_as_in_the_whole(fitted: Any, store_of: Make) -> None:
    X = store_of(80, planted=10, seed=9)
    whole = fitted.score(X)
    rows = np.array([3, 77, 12, 79, 0])
    part = fitted.score(X.take(rows))
    np.testing.assert_allclose(part.score, whole.score[rows], atol=1e-9)
    np.testing.assert_allclose(part.member_scores, whole.member_scores[rows], atol=1e-9)
    places, _ = X.events_of(rows)
    np.testing.assert_allclose(part.event_score, whole.event_score[places], atol=1e-6)
    alone = np.concatenate([fitted.decision_function(X.take([k])) for k in rows])
    np.testing.assert_allclose(alone, whole.score[rows], atol=1e-9)


def test_one_seed_one_result(ensemble_of: Make, store_of: Make) -> None:
    train, X = store_of(100), store_of(40, planted=4, seed=2)
    first, second = (ensemble_of(random_state=3).fit(train) for _ in range(2))
    np.testing.assert_array_equal(first.decision_function(X), second.decision_function(X))
    np.testing.assert_array_equal(first.combiner_.weights_, second.combiner_.weights_)
    assert first.power(1.0) == second.power(1.0)
    other = ensemble_of(random_state=4).fit(train)
    assert (other.decision_function(X) != first.decision_function(X)).any()


def test_reloaded_scores_are_equal(fitted: Any, store_of: Make, tmp_path: Path) -> None:
    codec.dump(fitted, tmp_path / "ensemble")
    loaded, X = codec.load(tmp_path / "ensemble"), store_of(50, planted=5, seed=4)
    expected, found = fitted.score(X), loaded.score(X)
    for name in ("score", "p_value", "member_scores", "event_score"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
    assert found.member_names == expected.member_names
    assert loaded.weights_ == fitted.weights_ and loaded.power(1.0) == fitted.power(1.0)


def test_weights_name_every_statistic(fitted: Any, store_of: Make) -> None:
    assert tuple(fitted.weights_) == fitted.score(store_of(5)).member_names
    assert sum(fitted.weights_.values()) == pytest.approx(1)
    assert min(fitted.weights_.values()) >= 0
    assert any(name.startswith("robust_z") for name in fitted.weights_)


def test_power_is_a_share_that_grows_as_the_threshold_falls(fitted: Any) -> None:
    low, high = fitted.power(0.5), fitted.power(2.0)
    assert {row["kind"].partition(".")[0] for row in low} == set(fitted.corruptions)
    for less, more in zip(high, low, strict=True):
        assert 0 <= less["found"] <= more["found"] <= 1 and less["n"] > 0
    found = {row["kind"]: row["found"] for row in fitted.power(1.0)}
    false_alarms = float(np.mean(fitted.reference_scores_ > 1.0))
    assert found["shuffle"] > 3 * false_alarms


def test_without_corruptions_there_is_no_power(ensemble_of: Make, store_of: Make) -> None:
    found = ensemble_of(corruptions={}, combiner=FisherCombiner()).fit(store_of(100))
    assert found.power(1.0) == []
    assert auroc(np.arange(100) >= 90, found.decision_function(store_of(100, planted=10, seed=5))) > 0.9


@pytest.mark.parametrize("n", [0, 1, 18])
def test_too_few_sequences(n: int, ensemble_of: Make, store_of: Make) -> None:
    X = store_of(20).take(np.arange(n))
    with pytest.raises(DataError, match=f"{n} sequences are too few.*19") as error:
        ensemble_of().fit(X)
    assert len(str(error.value).splitlines()) == 1


def test_nineteen_sequences_are_enough(ensemble_of: Make, store_of: Make) -> None:
    found = ensemble_of().fit(store_of(19))
    scores = found.decision_function(store_of(30, planted=3, seed=6))
    assert np.isfinite(scores).all() and len(np.unique(scores)) > 1


def test_where_no_member_scores_events_column_tails_name_the_field(ensemble_of: Make, store_of: Make) -> None:
    X = store_of(40)
    scored = ensemble_of(members={"iqr": IQRDetector()}, corruptions={}).fit(X).score(X)
    assert {name.split(".")[0] for name in scored.member_names} == {"iqr"}
    assert scored.event_fields.shape == (X.n_events, len(scored.event_field_names))
    assert scored.event_fields.std() > 0


def test_no_member_that_scores_events_where_these_are_ranked(ensemble_of: Make, store_of: Make) -> None:
    with pytest.raises(ConfigError, match="no member scores events"):
        ensemble_of(members={"iqr": IQRDetector()}, unit="event").fit(store_of(40))


def test_unfitted(ensemble_of: Make, store_of: Make) -> None:
    with pytest.raises(NotFittedError):
        ensemble_of().score(store_of(5))


def test_nothing_to_score(fitted: Any, store_of: Make) -> None:
    scored = fitted.score(store_of(5).take(np.zeros(0, np.int64)))
    assert len(scored.score) == len(scored.event_score) == 0
    assert scored.member_scores.shape == (0, len(scored.member_names))


def test_identical_and_constant_sequences(ensemble_of: Make, store_of: Make) -> None:
    X = store_of(60)
    same = X.take(np.full(60, 3))
    flat = replace(X, codes=np.full_like(X.codes, 4), delta=X.delta * 0)
    for odd in (same, flat):
        found = ensemble_of().fit(odd)
        assert np.isfinite(found.decision_function(odd)).all()
        assert np.isfinite(found.decision_function(X)).all()


def test_windows_have_no_meaningful_end(ensemble_of: Make, store_of: Make) -> None:
    assert lengths_vary(np.array([3, 4, 5, 9])) and not lengths_vary(np.full(50, 20))
    assert not lengths_vary(np.array([20] * 99 + [7]))
    X = store_of(100)
    head = X.keep_events(X.position() < 6)
    found = ensemble_of().fit(head)
    assert not found.closed_
    # The end means nothing, at scoring as in training.
    Y = store_of(30, seed=5)
    np.testing.assert_array_equal(found.decision_function(Y), found.decision_function(replace(Y, closed=False)))


def test_inputs_are_left_alone(ensemble_of: Make, store_of: Make) -> None:
    X, ensemble = store_of(60), ensemble_of()
    before = X.keys()
    ensemble.fit(X).decision_function(X)
    np.testing.assert_array_equal(X.keys(), before)
    assert not any(name.endswith("_") for name in vars(ensemble.members["ngram"])), "members are cloned"


def test_the_bank_lays_members_side_by_side(store_of: Make) -> None:
    X = store_of(60)
    bank = MemberBank(members={"iqr": IQRDetector(), "ngram": NGramDetector(), "rarity": RarityDetector()})
    bank.fit(X, held_out=X)
    reading = bank.read(store_of(10, seed=1))
    names = reading.statistics.names
    assert len(set(names)) == len(names) == len(reading.statistics.tails) == reading.statistics.values.shape[1]
    assert {name.split(".")[0] for name in names} == {"iqr", "ngram", "rarity"}
    alone = NGramDetector().fit(X).statistics(store_of(10, seed=1))
    columns = [names.index(f"ngram.{name}") for name in alone.names]
    np.testing.assert_allclose(reading.statistics.values[:, columns], alone.values)
    assert bank.field_names == NGramDetector().fit(X).field_names, "the first that scores events leads"


def test_what_calibrates_is_not_read_again(ensemble_of: Make, store_of: Make, monkeypatch: Any) -> None:
    X = store_of(200, planted=10)
    fitted = ensemble_of().fit(X)
    expected, read, seen = fitted.score(X), MemberBank.read, []

    def counting(bank: MemberBank, block: Any) -> Any:
        seen.append(len(block))
        return read(bank, block)

    monkeypatch.setattr(MemberBank, "read", counting)
    found = fitted.score_fitted(X)
    assert sum(seen) == 160
    for name in ("score", "p_value", "member_scores", "event_score", "event_fields"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
    np.testing.assert_allclose(fitted.score_fitted(X).score, expected.score)


def test_blocks_are_one_reading(fitted: Any, store_of: Make, monkeypatch: Any) -> None:
    X = store_of(80, planted=10, seed=9)
    whole = fitted.score(X)
    monkeypatch.setattr(bank, "EVENTS_AT_ONCE", 100)
    parts = fitted.score(X)
    for name in ("score", "member_scores", "event_score", "event_fields"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-6)
