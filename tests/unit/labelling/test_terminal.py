"""The session in a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from anomaly.active.labels import Label
from anomaly.active.learner import ActiveLearner
from anomaly.active.member_weights import MemberWeights
from anomaly.active.session import LabelSession
from anomaly.labelling.links import Link
from anomaly.labelling.terminal import Terminal


@pytest.fixture
def talk(desk):
    def say(*lines: str, lead: bool = False) -> str:
        source, sink = io.StringIO("".join(f"{line}\n" for line in lines)), io.StringIO()
        Terminal(desk, "ann", lead=lead, source=source, sink=sink).run()
        return sink.getvalue()

    return say


def test_a_letter_judges_and_the_next_case_comes(talk, desk):
    shown = talk("a card_testing // five cards", "n", "q")
    rows = desk.session.log.read()
    assert [(row.verdict, row.typology, row.note) for row in rows] == [
        ("anomalous", "card_testing", "five cards"),
        ("normal", None, None),
    ]
    assert rows[0].item in shown and rows[1].item in shown and "1 label · 1 found" in shown


def test_a_kind_that_is_too_long_is_refused(talk, desk):
    assert "at most 100 characters" in talk(f"a {'k' * 101}", f"a {'k' * 100} // {'n' * 200}", "q")
    assert [row.typology for row in desk.session.log.read()] == ["k" * 100]


def test_undo_skip_escalate_and_the_score(talk, desk):
    shown = talk("x", "s", "e", "z", "u", "?", "f u7", "o s9-0", "n", "o nothing")
    verdicts = [row.verdict for row in desk.session.log.read()]
    assert verdicts == ["asked", "skipped", "escalated", "withdrawn", "unsure", "normal"]
    assert "p-value" in shown and "taken back" in shown and "s7-0" in shown and "no such item" in shown
    assert desk.session.log.read()[-1].item == "s9-0"
    assert desk.session.leases.held() == []


def test_a_lead_sees_what_waits_and_what_was_said(talk, desk):
    desk.session.log.extend([Label("s9-0", "anomalous", "bob", note="five cards"), Label("s9-0", "normal", "eve")])
    assert "settle" not in talk("d", "q")
    shown = talk("d", "o s9-0", "n", "d", lead=True)
    assert "s9-0  bob: anomalous, eve: normal" in shown and "  bob: anomalous // five cards" in shown
    assert "nothing waits" in shown and desk.session.log.read()[-1].policy == "lead"


def test_names_of_columns_command_no_terminal(talk, desk, monkeypatch):
    shown, name = desk.book.case, "ca\x1b[2J\x07rd"

    def case(*arguments):
        case = shown(*arguments)
        events = [replace(e, field=name, mark=1, values=[(name, "x", False)]) for e in case.events]
        return replace(case, events=events, links=[Link(name, "c1", 1, ["u0"], 0)])

    monkeypatch.setattr(desk.book, "case", case)
    told = talk("q")
    assert "\x1b" not in told and "\x07" not in told and told.count("ca\ufffd[2J\ufffdrd") > 2


def test_what_the_labels_have_decided(talk, desk):
    assert "one curve over all of them" in talk("w")
    weights = ActiveLearner(desk.book.items, MemberWeights())
    desk = replace(desk, session=LabelSession(weights, desk.session.log))
    shown = io.StringIO()
    Terminal(desk, "ann", source=io.StringIO("a\nn\nw\n"), sink=shown).run()
    assert "weights: " in shown.getvalue()


def test_the_end_of_the_input_ends_the_session(talk, desk):
    assert "[" in talk() and desk.session.log.read() == []


def test_until_nothing_is_left(talk, desk):
    ids = [str(item) for item in desk.book.items.ids]
    desk.session.log.append(Label(ids[3], "anomalous", "bank"))
    desk.session.log.extend([Label(item, "normal", "bank") for item in ids[4:]])
    told = talk("n", "n", "n")
    assert "nothing is left" in told and "it is time to stop: the last 50 labels found nothing" in told
    assert desk.session.progress().labels == 90
