from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from anomaly.explain.axis import Axis
from anomaly.explain.clusters import ContributionClusters
from anomaly.explain.deletion import without
from anomaly.explain.events import parts
from anomaly.explain.explainer import EnsembleExplainer
from anomaly.scores.statistics import Ragged


def sums(e, x):
    return Ragged(e.offsets).sum(x)


def test_parts_add_up_to_the_evidence_in_every_way(explained):
    e = explained
    np.testing.assert_allclose(e.statistic_nm.sum(axis=1), e.evidence_n, atol=1e-6)
    np.testing.assert_allclose(sums(e, e.event_T), e.evidence_n, atol=1e-6)
    np.testing.assert_allclose(sums(e, np.sum(list(e.reasons.values()), axis=0)), e.evidence_n, atol=1e-6)
    assert (e.part_TF >= 0).all() and (e.statistic_nm >= 0).all()
    assert e.exact_m.any() and not e.exact_m.all()


def test_the_score_is_that_of_the_ensemble_and_grows_with_the_evidence(explained, fitted, odd):
    score = fitted[0].score(fitted[1].take(odd)).score
    np.testing.assert_allclose(explained.score_n, score, atol=1e-9)
    same = explained.store.lengths <= 64
    order = np.argsort(explained.evidence_n[same])
    assert (np.diff(explained.score_n[same][order]) >= -1e-9).all() or len(set(explained.store.lengths)) > 1


@pytest.mark.parametrize("company", [1, 5])
def test_an_explanation_does_not_depend_on_the_batch(explainer, fitted, odd, explained, company):
    alone = explainer.explain(fitted[1], odd[:company])
    T = alone.offsets[-1]
    np.testing.assert_allclose(alone.part_TF, explained.part_TF[:T], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(alone.rank_T, explained.rank_T[:T], rtol=1e-4, atol=1e-4)


def test_of_nothing_there_is_nothing_to_explain(explainer, fitted):
    assert len(explainer.explain(fitted[1], np.zeros(0, np.int64)).score_n) == 0


def test_taking_rows_is_explaining_them(explainer, explained, fitted, odd):
    rows = np.array([3, 1])
    taken, again = explained.take(rows), explainer.explain(fitted[1], odd[rows])
    np.testing.assert_allclose(taken.part_TF, again.part_TF, rtol=1e-4, atol=1e-4)
    assert taken.store.sequence_ids.to_list() == again.store.sequence_ids.to_list()


def test_a_tiny_change_of_the_input_changes_little(explainer, fitted, odd):
    store = fitted[1].take(odd)

    def moved(by: float):
        # Both are new to the members: a sequence of the fit, known by its content, is scored without its own counts.
        factor = np.float32(1 + by)
        return explainer.explain(replace(store, values=store.values * factor, delta=store.delta * factor))

    one, two = moved(1e-4), moved(2e-4)
    distance = np.abs(one.statistic_nm - two.statistic_nm).sum(axis=1) / one.evidence_n
    assert np.median(distance) < 0.02 and distance.max() < 0.25


def test_what_belongs_to_no_event_is_spread_evenly(fitted):
    axis = Axis.of(fitted[1].take([0]))
    shares = axis.shares(axis.zeros())
    assert shares.sum() == pytest.approx(1.0)
    assert np.ptp(shares[:, axis.fields.index("whole")]) < 1e-12


def test_n_grams_are_read_once(fitted, odd, monkeypatch):
    reads, member = [], fitted[0].bank_.event_members_["ngram"]
    read = type(member)._pass
    monkeypatch.setattr(type(member), "_pass", lambda self, X: reads.append(X) or read(self, X))
    found = parts(member, Axis.of(fitted[1].take(odd)))
    assert {"contrast.order0", "contrast.order1", "order1.mean"} <= set(found.high) and len(reads) == 1


def test_alike_reasons_make_a_cluster(explained):
    n = len(explained.evidence_n)
    twice = explained.take(np.tile(np.arange(n), 6))
    found = ContributionClusters().fit(twice)
    assert len(found.labels_) == 6 * n and found.labels_.max() >= 1
    for k, cluster in enumerate(found.clusters_):
        assert (found.labels_[cluster.members] == k).all() and set(cluster.typical) <= set(cluster.members)
        assert {name for name, _ in cluster.fields} <= set(twice.fields)
        assert all(0 <= code <= twice.store.fields[0].size for code, _ in cluster.values)
    assert (ContributionClusters().fit(explained.take(np.arange(3))).labels_ == -1).all()


def test_what_is_tried_is_scored_again_without_the_event(explained, fitted):
    e = explained
    short = e.store.lengths[e.store.sequence_of_event()] <= 10  # a tenth is one event
    known = np.flatnonzero(short & ~np.isnan(e.fall_T))
    assert len(known)
    for place in known[:3]:
        kept = np.ones(e.store.n_events, bool)
        kept[place] = False
        owner = e.store.sequence_of_event()[place]
        left = fitted[0].score(without(e.store, kept).take([owner])).score[0]
        assert e.fall_T[place] == pytest.approx(e.score_n[owner] - left, abs=1e-5)


def test_a_sequence_of_the_training_does_not_vouch_for_its_copies(fitted, odd):
    ensemble, store, _ = fitted
    X = store.take(odd)
    later = np.array(X.delta)
    later[X.offsets[1:] - 1] += np.float32(1e-3)
    own, copies = ensemble.score(X).score, ensemble.score(replace(X.for_edits(), delta=later)).score
    np.testing.assert_allclose(copies, own, atol=0.05)
    kept = np.ones(X.n_events, bool)
    np.testing.assert_array_equal(without(X, kept).keys(), X.keys())


def test_leaving_out_what_comes_first_lowers_the_score_more_than_the_parts_alone(explained, explainer, fitted, odd):
    parts = explainer.split(fitted[1], odd)

    def fall(order_T):
        ragged = Ragged(explained.offsets)
        rank = np.empty(len(order_T), np.int64)
        rank[np.lexsort((-order_T, ragged.owner))] = np.arange(len(order_T)) - ragged.offsets[ragged.owner]
        goal = np.minimum(np.maximum(np.ceil(0.2 * ragged.lengths), 1), ragged.lengths - 1)
        left = without(explained.store, rank >= goal[ragged.owner])
        return (explained.score_n - fitted[0].score(left).score).mean()

    assert fall(explained.cut_T) > fall(parts.rank_T)


def test_the_split_alone_tries_nothing(explainer, fitted, odd):
    e = explainer.split(fitted[1], odd[:3])
    assert np.isnan(e.fall_T).all()
    np.testing.assert_array_equal(e.cut_T, e.rank_T)


def test_features_are_those_that_the_leader_makes_whatever_else_has_an_embedding(explainer, fitted, odd):
    ensemble, store, encoder = fitted
    first, *others = ensemble.members
    members = {name: ensemble.members[name] for name in (*others, first)}
    led = clone(ensemble).set_params(members=members).fit(store)
    assert led.bank_.leader.embed(store) is None and led.bank_.table_members_
    found = EnsembleExplainer(ensemble=led, reference=explainer.reference, encoder=encoder).explain(store, odd[:3])
    assert found.features.names == led.bank_.features(store.take(odd[:3]), None).names
