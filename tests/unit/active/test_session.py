"""A session: who holds which case, what counts, what is undone, who settles what."""

from __future__ import annotations

import copy
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.active.estimates import Reach
from anomaly.active.items import Items
from anomaly.active.labels import Label
from anomaly.active.labels_log import LabelLog
from anomaly.active.learner import ActiveLearner
from anomaly.active.leases import Leases
from anomaly.active.ledger import BLIND, LEAD, Ledger, kappa
from anomaly.active.session import SEARCH, SPARE, LabelSession
from anomaly.active.strategies import Audited, Random, Top
from anomaly.base import FeatureMatrix
from anomaly.errors import DataError

N = 60


@pytest.fixture(scope="module")
def learner() -> ActiveLearner:
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(N, 4)).astype(np.float32)
    ids = pl.Series([f"s{k:02}" for k in range(N)])
    return ActiveLearner(Items(ids, looks[:, 0].astype(np.float64), {"table": FeatureMatrix(looks, tuple("abcd"))}))


@pytest.fixture
def start(learner, tmp_path):
    """Return what starts the session of one folder, again and again, as a restarted server would."""
    logs: list[LabelLog] = []

    def begin(**options) -> LabelSession:
        if logs:
            logs.pop().close()
        logs.append(LabelLog(tmp_path / "labels.sqlite"))
        own = copy.deepcopy(learner)
        own.strategy = options.pop("query", own.strategy)
        return LabelSession(own, logs[0], **{"double": 0.0, **options})

    yield begin
    logs.pop().close()


def keys():
    return (f"key{k}" for k in range(10_000))


def judge(session, annotator, verdict, key):
    lease = session.next(annotator)
    session.say(annotator, lease.item, verdict, key=key)
    return lease.item


def test_a_case_is_held_until_it_is_judged(start):
    session = start()
    first = session.next("ann")
    assert session.next("ann") == first
    assert first.item == str(session.learner.items.ids[int(np.argmax(session.learner.items.scores))])
    session.say("ann", first.item, "normal", key="k")
    assert session.next("ann").item != first.item
    assert session.progress().labels == 1


def test_an_id_that_no_label_can_hold_is_not_asked_about(tmp_path):
    items = Items(pl.Series(["", "a\0b", "c", "d"]), np.array([4.0, 3.0, 2.0, 1.0]))
    with LabelLog(tmp_path / "l") as log:
        session = LabelSession(ActiveLearner(items), log, double=1.0)
        assert session.nameless == {"", "a\0b"}
        assert [judge(session, "ann", "normal", f"k{k}") for k in range(2)] == ["c", "d"]
        assert session.next("ann") is None and session.spares("ann", 2) == []


def test_nobody_holds_the_case_of_another(start):
    session = start()
    held = {session.next(f"a{k}").item for k in range(20)}
    assert len(held) == 20


def test_an_abandoned_case_comes_back(start):
    session = start(lease=0.2)
    first = session.next("ann")
    assert session.next("bob").item != first.item
    session.leave("bob")
    time.sleep(0.25)
    assert session.next("bob").item == first.item


def test_signs_of_life_keep_a_case(start):
    session = start(lease=0.4)
    first = session.next("ann")
    for _ in range(3):
        time.sleep(0.2)
        session.leases.renew("ann")
    assert session.next("bob").item != first.item


def test_what_was_held_and_said_survives_a_restart(start):
    session = start()
    key = keys()
    for verdict in ("anomalous", "normal", "normal"):
        judge(session, "ann", verdict, next(key))
    mine, theirs = session.next("ann"), session.next("bob")
    again = start()
    assert again.next("bob") == theirs and again.next("ann") == mine
    assert np.array_equal(again.learner.posterior_, session.learner.posterior_)


def test_the_next_case_is_the_same_after_a_kill_before_it_was_handed_out(start):
    session, key = start(), keys()
    item = session.next("ann").item
    session.say("ann", item, "anomalous", key=next(key))
    again = start()
    again.say("ann", item, "anomalous", key="key0")
    found = again.next("ann")
    again.leave("ann")
    assert start().next("ann").item == found.item == session.learner.query(1)[0]


class Killed(BaseException):
    """The server ends here."""


def killed(*_, **__):
    raise Killed


def test_a_kill_between_a_word_and_the_giving_back_of_its_case_shows_no_judged_case(start, monkeypatch):
    session = start()
    item, spare = session.next("ann").item, session.spares("ann", 1)[0].item
    for judged, key in ((item, "k"), (spare, "l")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(session.leases, "release", killed)
            session.say("ann", judged, "normal", key=key)
    again = start(double=1.0)
    assert again.next("ann").item not in (item, spare)
    assert not {lease.item for lease in again.spares("ann", 1)} & {item, spare}
    # Nor does the case wait for its second opinion until the hold has run out.
    assert again.next("bob").item in (item, spare)
    # Who looks a judged case up keeps it, to correct it.
    assert again.open("ann", spare) and again.next("ann").item == spare


def test_a_kill_between_an_undo_and_the_handing_back_of_its_case_hands_it_back(start, monkeypatch):
    session, key = start(), keys()
    session.learner.strategy = Audited(strategy=Top(), share=1.0)
    lease = session.next("ann")
    judge(session, "ann", "normal", next(key))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(session.leases, "take", killed)
        session.undo("ann", key="u")
    again = start()
    assert again.undo("ann", key="u") == lease.item
    found = again.next("ann")
    assert (found.item, found.policy, found.probability) == (lease.item, "audit", lease.probability)


def test_a_draw_that_is_undone_and_said_again_after_a_second_opinion_is_still_a_draw(start):
    session, key = start(double=1.0), keys()
    session.learner.strategy = Audited(strategy=Top(), share=1.0)
    item = judge(session, "ann", "normal", next(key))
    session.say("bob", session.next("bob").item, "normal", key=next(key))
    assert session.undo("ann", key=next(key)) == item
    session.say("ann", item, "normal", key=next(key))
    assert session.progress().estimate.n_audited == 1


def test_a_word_sent_twice_counts_once(start):
    session = start()
    item = session.next("ann").item
    one = session.say("ann", item, "anomalous", key="k")
    assert session.say("ann", item, "anomalous", key="k") == one
    assert len(session.log.read()) == 1


def test_a_second_word_on_a_case_corrects_the_first(start):
    session = start()
    item = session.next("ann").item
    session.say("ann", item, "anomalous", key="k")
    session.say("ann", item, "normal", key="l", note="on second thoughts")
    assert [row.verdict for row in session.judged()] == ["normal"]
    assert session.log.read()[1].supersedes == 1


def test_undo_goes_to_any_depth_and_brings_the_cases_back(start):
    session, key = start(), keys()
    prior = session.learner.posterior_
    order = [judge(session, "ann", v, next(key)) for v in ("anomalous", "skipped", "normal", "escalated")]
    back = [session.undo("ann", key=f"u{k}") for k in range(4)]
    assert back == order[::-1]
    assert session.undo("ann", key="u5") is None
    assert session.next("ann").item == order[0]
    assert session.progress().labels == 0
    assert np.array_equal(session.learner.posterior_, prior)


def test_an_undo_sent_twice_undoes_once(start):
    session, key = start(), keys()
    order = [judge(session, "ann", "normal", next(key)) for _ in range(2)]
    assert session.undo("ann", key="u") == session.undo("ann", key="u") == order[1]
    assert session.progress().labels == 1


def test_undoing_a_correction_brings_back_what_it_corrected(start):
    session = start()
    item = session.next("ann").item
    session.say("ann", item, "anomalous", key="k")
    session.say("ann", item, "normal", key="l")
    session.undo("ann", key="m")
    assert [row.verdict for row in session.judged()] == ["anomalous"]


def test_nobody_undoes_the_word_of_another(start):
    session = start()
    judge(session, "ann", "normal", "k")
    assert session.undo("bob", key="u") is None
    assert session.progress().labels == 1


def test_what_is_put_off_goes_to_others_and_comes_back_last(start):
    session, key = start(), keys()
    item = judge(session, "ann", "skipped", next(key))
    assert session.next("bob").item == item
    session.leave("bob")
    seen = [judge(session, "ann", "normal", next(key)) for _ in range(N - 1)]
    assert item not in seen
    assert session.next("ann").item == item
    session.say("ann", item, "normal", key=next(key))
    assert session.next("ann") is None and session.next("bob") is None


def test_the_asking_for_a_score_is_kept(start):
    session = start()
    item = session.next("ann").item
    session.ask("ann", item)
    session.ask("ann", item)
    again = start()
    assert again.has_asked("ann", item) and not again.has_asked("bob", item)
    assert again.say("ann", item, "normal", key="k").score_seen
    assert len(again.log.read()) == 2
    assert again.undo("ann", key="u") == item


def test_a_share_goes_blind_to_a_second_analyst(start):
    session, key = start(double=1.0), keys()
    item = judge(session, "ann", "anomalous", next(key))
    assert session.next("ann").item != item
    second = session.next("bob")
    assert (second.item, second.policy) == (item, BLIND)
    assert session.next("eve").item != item
    session.say("bob", item, "anomalous", key=next(key))
    assert session.progress().doubled == 1 and session.progress().waiting == 0
    assert session.progress().labels == 1


def test_the_blind_share_is_about_what_was_asked(start):
    session = start(double=0.3)
    share = np.mean([session._doubled(str(k)) for k in range(4000)])
    assert abs(share - 0.3) < 0.03


def test_a_disagreement_waits_for_a_lead_and_teaches_nothing_until_then(start):
    session, key = start(double=1.0), keys()
    prior = session.learner.posterior_
    item = judge(session, "ann", "anomalous", next(key))
    session.say("bob", session.next("bob").item, "normal", key=next(key))
    assert [found for found, _ in session.disputes()] == [item]
    assert session.progress().waiting == 1 and session.progress().labels == 0
    assert np.array_equal(session.learner.posterior_, prior)
    assert session.open("eve", item, lead=True).policy == LEAD
    session.say("eve", item, "normal", key=next(key), lead=True)
    assert session.disputes() == [] and [row.verdict for row in session.judged()] == ["normal"]
    session.undo("eve", key=next(key))
    assert [found for found, _ in session.disputes()] == [item]


def test_an_escalated_case_waits_for_a_lead(start):
    session, key = start(), keys()
    item = judge(session, "ann", "escalated", next(key))
    assert session.next("bob").item != item
    assert [found for found, _ in session.disputes()] == [item]
    session.open("eve", item, lead=True)
    session.say("eve", item, "anomalous", key=next(key), lead=True)
    assert [row.verdict for row in session.judged()] == ["anomalous"]


def test_the_name_of_a_lead_does_not_settle(start):
    session, key = start(double=1.0), keys()
    item = judge(session, "ann", "anomalous", next(key))
    session.say("bob", session.next("bob").item, "normal", key=next(key))
    session.open("eve", item, lead=True)
    assert session.say("eve", item, "normal", key=next(key)).policy != LEAD
    assert [found for found, _ in session.disputes()] == [item]


def test_a_lead_corrects_what_they_settled(start):
    session, key = start(), keys()
    item = judge(session, "ann", "escalated", next(key))
    for verdict in ("anomalous", "normal"):
        session.open("eve", item, lead=True)
        session.say("eve", item, verdict, key=next(key), lead=True)
    assert [row.verdict for row in session.judged()] == ["normal"] and session.disputes() == []


@pytest.mark.parametrize("first", ["escalated", "normal"])
def test_what_a_lead_settles_still_counts_as_the_random_draw_that_it_was(start, first):
    session, key = start(double=1.0), keys()
    session.learner.strategy = Audited(strategy=Top(), share=1.0)
    item = judge(session, "ann", first, next(key))
    if first == "normal":
        session.say("bob", session.next("bob").item, "anomalous", key=next(key))
    session.open("eve", item, lead=True)
    session.say("eve", item, "anomalous", key=next(key), lead=True)
    found = session.progress().estimate
    assert (found.n_labels, found.n_found, found.n_audited) == (1, 1, 1) and found.prevalence == pytest.approx(1.0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob"]),
            st.sampled_from("ab"),
            st.sampled_from(["normal", "anomalous", "skipped", "escalated", "undo", "undo"]),
        ),
        max_size=20,
    )
)
def test_undoing_amounts_to_a_log_without_it(steps):
    ledger, said = Ledger(), []
    for seq, (annotator, item, what) in enumerate(steps, 1):
        before = ledger.last(annotator) if what == "undo" else ledger.word(item, annotator)
        if what != "undo":
            said.append(Label(item, what, annotator, seq=seq, supersedes=before.seq if before else None))
            ledger.add(said[-1:])
        elif before is not None:
            said.remove(before)
            ledger.add([Label(before.item, "withdrawn", annotator, seq=seq, supersedes=before.seq)])
        without = Ledger.of(said)
        assert ledger.decisions() == without.decisions() and ledger.chosen == without.chosen
        assert set(ledger.disputes()) == set(without.disputes()) and sorted(ledger.pairs()) == sorted(without.pairs())


def test_labels_of_what_is_not_here_count_nowhere(start):
    session = start(double=1.0)
    session.log.extend([Label(f"other {k}", "anomalous", "bank") for k in range(2 * N)])
    session.log.append(Label("elsewhere", "escalated", "bank"))
    found = session.progress()
    assert (found.labels, found.found, found.waiting) == (0, 0, 0) and session.disputes() == []
    assert session.judged() == [] and session.undo("bank", key="u") is None
    assert session.next("ann") is not None and session.log.append(Label("other 0", "normal", "ann")).seq == 2 * N + 2


def test_a_doubtful_label_is_doubtful_down_to_nothing(start):
    session = start()
    prior, place = session.learner.posterior_, session.places["s07"]
    session.say("ann", "s07", "anomalous", key="k", confidence=0.0)
    doubtful = session.learner.posterior_[place] - prior[place]
    session.say("ann", "s07", "anomalous", key="l", confidence=1.0)
    assert doubtful < 0.1 * (session.learner.posterior_[place] - prior[place])


def test_chance_is_new_for_each_case_that_is_handed_out(start):
    session = start()
    session.learner.strategy = Audited(strategy=Top(), share=0.5)
    policies = []
    for k in range(24):
        policies.append(session.next("ann").policy)
        session.say("ann", session.next("ann").item, "skipped", key=f"k{k}")
    assert set(policies) == {"top", "audit"}
    assert {session.next(f"a{k}").policy for k in range(12)} == {"top", "audit"}
    again = start()
    again.learner.strategy = session.learner.strategy
    assert again.next("ann") == session.next("ann")


@pytest.mark.parametrize("lease", [0, -1])
def test_a_lease_takes_time(start, lease):
    with pytest.raises(DataError, match=f"lease={lease}"):
        start(lease=lease)


def test_a_case_can_be_looked_for(start):
    session = start()
    shown = session.next("ann").item
    assert session.open("ann", "s07").policy == SEARCH
    assert session.next("ann").item == "s07"
    assert session.next("bob").item == shown
    assert session.open("bob", "s07") is None
    with pytest.raises(DataError, match="no such item"):
        session.open("ann", "s99")


def test_spares_are_held_and_become_the_next_cases(start):
    session = start()
    first = session.next("ann")
    spares = [lease.item for lease in session.spares("ann", 2)]
    assert len({first.item, *spares}) == 3
    assert [lease.item for lease in session.spares("ann", 2)] == spares
    assert session.next("bob").item not in {first.item, *spares}
    assert session.next("ann") == first
    session.say("ann", spares[0], "normal", key="k")
    assert session.next("ann") == first


def test_a_spare_is_no_draw_until_it_is_wanted_for_the_screen(start):
    session = start()
    judge(session, "ann", "normal", "k0")
    session.next("ann")
    spare, other = session.spares("ann", 2)
    assert {spare.policy, other.policy} == {SPARE} and spare.probability is None
    session.say("ann", other.item, "normal", key="k1")
    assert spare.item in [judge(session, "ann", "anomalous", f"{k}") for k in range(N - 2)]
    offline, shown = (next(r for r in session.judged() if r.item == lease.item) for lease in (other, spare))
    assert (offline.policy, offline.probability, offline.taken_at) == (SPARE, None, other.taken_at)
    assert shown.policy != SPARE and shown.probability is not None
    assert shown.taken_at == spare.taken_at < shown.chosen_at


def test_what_is_taken_back_and_said_again_was_chosen_when_it_was_first(start):
    session = start()
    item = judge(session, "ann", "normal", "k0")
    first = session.judged()[0]
    judge(session, "bob", "normal", "k1")
    assert session.undo("ann", key="u") == item
    assert judge(session, "ann", "anomalous", "k2") == item
    again = session.judged()[-1]
    assert again.item == item and again.chosen_at == first.chosen_at and again.probability == first.probability
    assert again.taken_at == first.taken_at
    assert session.ledger.choices()[0] == ["bob", "ann"]


def test_a_spare_that_is_searched_for_is_a_search(start):
    session = start()
    session.next("ann")
    (spare,) = session.spares("ann", 1)
    assert session.open("ann", spare.item).policy == SEARCH
    drawn = session.next("bob")
    again = session.open("bob", drawn.item)
    assert (again.policy, again.probability, again.chosen_at) == (drawn.policy, drawn.probability, drawn.chosen_at)


def test_a_draw_from_another_run_says_nothing_of_this_one(start):
    session = start(model_version="1")
    for k, version in enumerate(["0", "1"]):
        row = Label(f"s0{k}", "anomalous", "x", policy="audit", probability=0.5, model_version=version)
        session.log.append(row)
    found = session.progress().estimate
    assert (found.n_labels, found.n_audited) == (2, 1)


def test_what_is_brought_in_later_could_be_drawn_until_then(start):
    session = start(query=Random())
    first = judge(session, "ann", "normal", "k0")
    old = Label("s00" if first != "s00" else "s01", "anomalous", "x", recorded_at=1)
    session.log.append(old)
    estimate, row = session.progress().estimate, session.judged()[0]
    assert row.item == first and estimate.n_labels == 2
    assert estimate.prevalence == pytest.approx(0), "nothing was found before the only draw, which was normal"


def test_what_another_held_at_a_draw_counts_as_found_before(start):
    session = start(query=Random())
    held = [session.next(name).item for name in ("bob", "cid")]
    mine = session.next("ann")
    session.say("ann", mine.item, "normal", key="k0")
    assert session.progress().estimate.prevalence == pytest.approx(0)
    for name, item in zip(("bob", "cid"), held, strict=True):
        session.say(name, item, "anomalous", key=f"k{name}")
    rows = {row.annotator: row for row in session.judged()}
    # To ann both were out of reach, to cid what bob held, and neither to bob.
    before = {"ann": 2, "bob": 0, "cid": 1}
    each = [before[name] + (row.verdict == "anomalous") / row.probability for name, row in rows.items()]
    assert session.progress().estimate.prevalence == pytest.approx(np.mean(each) / N)


def test_one_may_draw_what_one_holds_back(start):
    session = start(query=Random())
    session.next("ann")
    spares = {lease.item for lease in session.spares("ann", 2)}
    said = [judge(session, "ann", "anomalous", f"k{k}") for k in range(N)]
    rows = session.judged()
    assert spares < set(said) and any(row.taken_at < row.chosen_at for row in rows)
    known = [(k, row.probability) for k, row in enumerate(rows) if row.probability < 1]
    # All before were judged, and no more: the spares are there until they are.
    expected = np.mean([k + 1 / q for k, q in known]) / N
    assert session.progress().estimate.prevalence == pytest.approx(expected)


def test_what_another_held_at_a_draw_was_out_of_reach(start):
    session = start()
    theirs = session.next("bob")
    mine = session.next("ann")
    session.say("ann", mine.item, "anomalous", key="k0")
    session.say("bob", theirs.item, "anomalous", key="k1")
    who, taken, chosen = session.ledger.choices()
    assert who == ["ann", "bob"] and taken == chosen and chosen[1] < chosen[0]
    reach = Reach.of([1, 1], who, taken, chosen)
    assert reach.gone.tolist() == reach.found.tolist() == [1, 0]


def test_a_late_word_counts_though_another_has_the_case(start):
    session = start(lease=0.1)
    item = session.next("ann").item
    time.sleep(0.15)
    session.leave("bob")
    assert session.next("bob").item == item
    session.say("bob", item, "normal", key="b")
    session.say("ann", item, "anomalous", key="a")
    assert [found for found, _ in session.disputes()] == [item]


def test_every_word_says_how_it_came_about(start):
    session = start(model_version="v1", times=[10 * k for k in range(N)])
    lease = session.next("ann")
    row = session.say("ann", lease.item, "anomalous", key="k", typology="x", confidence=0.9, note="n", duration_ms=1200)
    assert (row.policy, row.probability, row.model_version) == (lease.policy, lease.probability, "v1")
    assert row.event_time == 10 * session.places[lease.item]
    assert (row.typology, row.confidence, row.note, row.duration_ms, row.source) == ("x", 0.9, "n", 1200, "analyst")
    assert row.known_at is not None


def test_what_is_normal_is_no_kind_of_anomaly(start):
    session = start()
    item = session.next("ann").item
    session.say("ann", item, "anomalous", key="a", typology="x")
    assert session.say("ann", item, "normal", key="b", typology="x", note="n").typology is None
    assert session.undo("ann", key="c") == item and session.words(item)["ann"].typology == "x"
    assert session.say("ann", item, "unsure", key="d", typology="x").typology == "x"


def test_progress_counts_what_counts(start):
    session, key = start(), keys()
    for verdict in ["anomalous"] * 5 + ["normal"] * 15 + ["unsure"] + ["anomalous"]:
        judge(session, "ann", verdict, next(key))
    found = session.progress()
    assert (found.labels, found.found, found.estimate.precision) == (22, 6, 4 / 20)


def test_agreement_is_beyond_chance():
    a, n = "anomalous", "normal"
    assert kappa([(a, a)] * 20 + [(a, n)] * 5 + [(n, a)] * 10 + [(n, n)] * 15) == pytest.approx(0.4)
    assert kappa([]) is None and kappa([(a, a)]) is None


def test_another_server_on_the_same_database_is_heard(start):
    session = start()
    session.log.extend([Label("s03", "anomalous", "bank", source="chargeback")])
    assert session.progress().found == 1
    assert Leases(session.log).take("s04", "ann") is not None
    assert Leases(session.log).take("s04", "bob") is None


@pytest.mark.parametrize("verdict", ["asked", "withdrawn", "odd"])
def test_what_is_no_verdict_is_refused(start, verdict):
    session = start()
    with pytest.raises(DataError, match=f"verdict={verdict}"):
        session.say("ann", "s01", verdict, key="k")
