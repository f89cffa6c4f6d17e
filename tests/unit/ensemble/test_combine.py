"""The combiner: non-negative weights that reward what finds trouble, and trust by agreement on the same question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.ensemble.combine import LESSONS, CorruptionMixture, FisherCombiner
from anomaly.metrics.ranking import auroc

Floats = np.ndarray[Any, np.dtype[np.float64]]


def clean(n: int = 600, m: int = 4, seed: int = 0) -> Floats:
    return 1 - np.random.default_rng(seed).random((n, m))


def damaged(seed: int = 1) -> tuple[Floats, Any]:
    """Return two kinds: the first is seen by statistic 0, the second by statistic 1, none by 2 and 3."""
    p, kinds = clean(400, seed=seed), np.arange(400) % 2
    p[kinds == 0, 0] **= 6
    p[kinds == 1, 1] **= 6
    return p, kinds


@pytest.mark.parametrize("learns", [True, False])
def test_weights_are_shares(learns: bool) -> None:
    found = CorruptionMixture().fit(clean(), *(damaged() if learns else ()))
    assert (found.weights_ >= 0).all() and found.weights_.sum() == pytest.approx(1)
    assert [view.shape for view in found.views_] == ([(2, 4), (1, 4)] if learns else [])
    assert all((view >= 0).all() for view in [*found.views_, *found.untaught_])
    assert len(found.shares_) == (3 if learns else 1) and found.shares_.max() == 1


def test_what_finds_trouble_counts_more() -> None:
    found = CorruptionMixture(least_trust=1.0).fit(clean(), *damaged())
    kinds, pooled = found.views_
    assert kinds[0, 0] > 3 * kinds[0, 1] and kinds[1, 1] > 3 * kinds[1, 0], "each kind has weights of its own"
    assert pooled[0, :2].min() > 3 * pooled[0, 2:].max()


def test_many_weak_signs_of_a_trouble_like_none_count() -> None:
    combiner = CorruptionMixture(doubt=1.0).fit(clean(), *damaged())
    weak = clean(400, seed=8)
    weak[:, 2:] **= 3
    labels = np.repeat([0, 1], [600, 400])
    fresh = np.concatenate([clean(seed=6), weak])
    sure = CorruptionMixture(doubt=1e-9).fit(clean(), *damaged())
    assert auroc(labels, combiner.combine(fresh)) > auroc(labels, sure.combine(fresh)) + 0.05


def test_it_ranks_damage_above_the_plain_sum() -> None:
    combiner = CorruptionMixture(least_trust=1.0).fit(clean(), *damaged())
    plain = FisherCombiner().fit(clean())
    p, _ = damaged(seed=5)
    fresh = np.concatenate([clean(seed=6), p])
    labels = np.repeat([0, 1], [600, 400])
    assert auroc(labels, combiner.combine(fresh)) > auroc(labels, plain.combine(fresh)) + 0.01


@pytest.mark.parametrize("combiner", [CorruptionMixture(), FisherCombiner()], ids=["mixture", "fisher"])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), k=st.integers(0, 3), factor=st.floats(1e-6, 1.0))
def test_a_smaller_p_value_is_never_less_evidence(combiner: Any, seed: int, k: int, factor: float) -> None:
    combiner.fit(clean(), *damaged())
    p = clean(20, seed=seed)
    smaller = p.copy()
    smaller[:, k] *= factor
    assert (combiner.combine(smaller) >= combiner.combine(p) - 1e-12).all()


def test_without_doubt_the_untaught_view_is_left_out() -> None:
    found, little = (CorruptionMixture(doubt=doubt).fit(clean(), *damaged()) for doubt in (0.0, 1e-12))
    fresh = clean(50, seed=9)
    np.testing.assert_allclose(found.combine(fresh), little.combine(fresh), atol=1e-6)
    np.testing.assert_allclose(found.contributions(fresh).sum(1), found.combine(fresh), atol=1e-9)


def test_without_corruptions_all_start_alike() -> None:
    found = CorruptionMixture().fit(clean(20_000))
    np.testing.assert_allclose(found.weights_, 0.25, atol=0.01)


def test_many_that_say_the_same_count_for_less_where_nothing_was_taught() -> None:
    p = clean(5_000, m=3)
    found = CorruptionMixture().fit(np.column_stack([p[:, 0], p[:, 0], p[:, 0], p[:, 1:]]))
    np.testing.assert_allclose(found.untaught_[0] ** 2, [1 / 3, 1 / 3, 1 / 3, 1, 1], atol=0.05)


def test_lessons_count_where_what_they_call_odd_is_odd_without_them() -> None:
    p, worn, kinds = clean(m=8), clean(400, m=8, seed=1), np.zeros(400, np.int64)
    worn[:, :2] **= 6
    apart = CorruptionMixture().fit(p, worn, kinds)
    p[:30, :6] *= 1e-3
    agreed = CorruptionMixture().fit(p, worn, kinds)
    assert agreed.shares_[:2].tolist() == [1.0, 1.0] and agreed.shares_[2] < 1e-2
    assert apart.shares_[2] > 10 * agreed.shares_[2]


def test_each_question_has_an_untaught_view_of_its_own() -> None:
    found = CorruptionMixture().fit(clean(), *damaged(), questions=np.array([0, 0, 0, 1]))
    crowd, owner = found.untaught_
    assert crowd[3] == 0 and (crowd[:3] > 0).all() and owner[3] > 0 and (owner[:3] == 0).all()
    assert len(found.shares_) == len(found.references_) == 6


def test_one_odd_statistic_is_heard_among_usual_ones_where_nothing_was_taught() -> None:
    found = CorruptionMixture().fit(clean(m=8))
    one, many = np.full((2, 8), 0.5)
    one[0], many[:] = 1e-4, 0.1
    assert np.diff(found.combine(np.stack([many, one])))[0] > 0
    assert np.diff(FisherCombiner().fit(clean(m=8)).combine(np.stack([many, one])))[0] < 0


def test_who_agrees_with_the_others_is_trusted() -> None:
    p, odd = clean(m=6), np.arange(30)
    p[odd, :3] *= 1e-3
    worn = clean(400, m=6, seed=1)
    worn[:, [0, 1, 3]] **= 4
    pooled = CorruptionMixture().fit(p, worn, np.zeros(400, np.int64)).views_[1][0]
    assert pooled[:2].min() > 2 * pooled[3], "what finds damage as well, but agrees with nobody"


def test_a_question_of_its_own_keeps_its_trust() -> None:
    p = clean(m=5)
    p[:30, :3] *= 1e-3
    p[20:50, 4] *= 1e-3
    worn = clean(400, m=5, seed=1) ** 4
    kinds = np.zeros(400, np.int64)
    crowd = CorruptionMixture().fit(p, worn, kinds)
    asked = CorruptionMixture().fit(p, worn, kinds, questions=np.array([0, 0, 0, 0, 1]))
    assert crowd.views_[1][0, 4] < 0.5 * crowd.views_[1][0, :3].min()
    assert asked.views_[3][0, 4] > 2 * crowd.views_[1][0, 4]


def test_an_answer_to_one_question_is_enough() -> None:
    found = CorruptionMixture().fit(clean(), *damaged(), questions=np.array([0, 0, 0, 1]))
    assert len(found.views_) == 4
    assert all((view[:, 3] == 0).all() for view in found.views_[:2])
    assert all((view[:, :3] == 0).all() for view in found.views_[2:])
    plain, odd_for_the_crowd, odd_for_its_owner = np.full((3, 4), 0.5)
    odd_for_the_crowd[:3] = odd_for_its_owner[3] = 1e-5
    rest, crowd, owner = found.combine(np.stack([plain, odd_for_the_crowd, odd_for_its_owner]))
    assert min(crowd, owner) > rest + 3


def test_one_member_alone_does_not_decide_beyond_the_ceiling() -> None:
    found = CorruptionMixture(ceiling=10.0).fit(clean(), *damaged())
    p = np.full((2, 4), 0.5)
    p[:, 0] = np.exp(-10.0), 1e-300
    first, second = found.combine(p)
    assert first == pytest.approx(second)


def test_fisher_is_the_mean_log() -> None:
    p = clean(9)
    found = FisherCombiner().fit(p)
    np.testing.assert_allclose(found.weights_, 0.25)
    np.testing.assert_allclose(found.combine(p), -np.log(p).mean(axis=1))


def test_a_part_of_very_many_untouched_items_teaches() -> None:
    few, many = (CorruptionMixture().fit(clean(n), *damaged()) for n in (LESSONS, 4 * LESSONS))
    np.testing.assert_allclose(few.weights_, many.weights_, atol=0.03)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_items(n: int) -> None:
    p, kinds = damaged()
    found = CorruptionMixture().fit(clean(n), p[:n], kinds[:n])
    assert found.weights_.sum() == pytest.approx(1)
    assert np.isfinite(found.combine(clean(3))).all()


def test_members_that_all_say_nothing() -> None:
    found = CorruptionMixture().fit(np.ones((50, 3)), np.ones((20, 3)), np.zeros(20, np.int64))
    assert found.weights_.sum() == pytest.approx(1)
    assert np.isfinite(found.combine(np.ones((2, 3)))).all()
