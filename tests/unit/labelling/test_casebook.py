"""What a case shows is what the events hold."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.active.items import Items
from anomaly.active.labels import Label
from anomaly.artifact.items import items_of_run
from anomaly.base import FeatureMatrix
from anomaly.events.binning import quantity
from anomaly.explain.words import duration
from anomaly.labelling.casebook import Casebook
from anomaly.labelling.figures import Figures
from anomaly.labelling.links import _tells
from anomaly.labelling.neighbours import Neighbours
from anomaly.labelling.reasons import Reasons
from anomaly.labelling.timeline import LEFT, WIDTH, Strand, draw, places

from .conftest import events, train


def place(book: Casebook, item: str) -> int:
    return book.items.ids.to_list().index(item)


def test_a_case_holds_its_events(book):
    case = book.case(place(book, "s0-2"))
    assert (case.item, case.entity, case.n_events) == ("s0-2", "u0", 10)
    assert [event.number for event in case.events] == list(range(1, 11))
    first, last = dict((n, t) for n, t, _ in case.events[4].values), dict((n, t) for n, t, _ in case.events[-1].values)
    assert (first["event"], first["card"], last["card"], last["device"]) == ("pay", "c0", "c5", "d7")
    assert last["amount"] == "5" and case.events[0].values[-1] == ("amount", "", False)
    assert case.events[5].gap.startswith("1 d") or "h" in case.events[5].gap
    assert [name for name, _, changed in case.events[5].values if changed] == ["device", "card"]
    assert case.surprises and case.first < case.last and case.zone == ""


def test_the_most_surprising_events_are_marked_in_order(book):
    case = book.case(place(book, "s0-2"))
    marked = sorted((event for event in case.events if event.mark), key=lambda event: event.mark)
    assert [event.mark for event in marked] == list(range(1, len(marked) + 1)) and marked
    assert [event.share for event in marked] == sorted((e.share for e in marked), reverse=True) and marked[0].share == 1
    assert {dot.mark for dot in case.timeline.dots} - {0} == {event.mark for event in marked}


def test_the_timeline_shows_lanes_gaps_amounts_and_changes(book):
    timeline = book.case(place(book, "s0-2")).timeline
    assert [lane.name for lane in timeline.lanes] == ["login", "browse", "cart", "pay"]
    assert [lane.name for lane in timeline.change_lanes] == ["device changes", "card changes"]
    assert "device: d0 → d7" in [text for _, _, text in timeline.changes]
    assert len(timeline.gaps) == 1 and timeline.amount == "amount" and len(timeline.bars) == 6
    assert all(LEFT <= dot.x <= WIDTH and 0 < dot.y < timeline.height for dot in timeline.dots)


def test_a_number_beyond_what_is_kept_is_told_as_a_bound(tmp_path):
    table = events().with_columns(
        amount=pl.when((pl.col("session") == "s3-1") & (pl.col("event") == "pay")).then(1e9).otherwise(pl.col("amount"))
    )
    run = anomaly.Run.load(train(tmp_path, "events.sequence=session", table=table))
    book = Casebook(run, items_of_run(run))
    case = book.case(place(book, "s3-1"))
    assert dict((n, t) for n, t, _ in case.events[-1].values)["amount"].startswith("≥ ")
    found = {figure.name: figure.text for figure in book.figures.of(place(book, "s3-1"), 99)}
    assert found["largest amount"].startswith("≥ ") and found["total amount"].startswith("≥ ")
    others = {figure.name: figure.text for figure in book.figures.of(place(book, "s5-0"), 99)}
    assert not others["largest amount"].startswith("≥")


def test_times_are_those_of_the_clock_that_the_data_goes_by(tmp_path):
    """Berlin is an hour ahead in winter: what the file says is shown, and what is kept is the moment itself."""
    run = anomaly.Run.load(train(tmp_path, "events.sequence=session", "events.timezone=Europe/Berlin"))
    book = Casebook(run, items_of_run(run))
    case, said = book.case(place(book, "s0-2")), events().filter(pl.col("session") == "s0-2")["time"]
    assert (case.first, case.last, case.zone) == (str(said.min()), str(said.max()), "Europe/Berlin")
    assert case.timeline.ends == (case.first, case.last) and case.events[-1].time == case.last
    hour = 3_600_000_000
    assert book.end_times()[place(book, "s0-2")] == said.dt.timestamp("us").max() - hour


def test_figures_stand_against_the_crowd(book):
    found = {figure.name: figure for figure in book.case(place(book, "s0-2")).figures}
    assert found["events"].text == "10" and found["events"].odd and found["events"].percentile > 0.98
    assert found["different card values"].text == "6"
    usual = {figure.name: figure for figure in book.figures.of(place(book, "s5-0"))}
    assert not usual["events"].odd


def test_equal_figures_are_counted_half():
    figures = Figures({"a": np.array([1.0, 1.0, 1.0, 2.0]), "same": np.ones(4), "none": np.full(4, np.nan)})
    assert [f.percentile for f in figures.of(0)] == [3 / 8] and [f.percentile for f in figures.of(3)] == [7 / 8]


def test_linked_entities_are_those_that_share_a_value(book):
    links = {(link.field, link.value): link for link in book.case(place(book, "s0-2")).links}
    assert links["device", "d7"].names == ["u7"] and links["device", "d7"].anomalous == 0
    judged = [(place(book, "s7-1"), Label("s7-1", "anomalous", "ann"))]
    links = {(link.field, link.value): link for link in book.case(place(book, "s0-2"), judged).links}
    assert links["device", "d7"].anomalous == 1


def test_what_few_share_comes_first_and_what_many_share_accuses_nobody(tmp_path):
    # A visit keeps to its ware as it does to its device, but so do many others.
    table = events(60)
    wares = np.random.default_rng(1).integers(16, size=len(table))
    table = table.with_columns(ware=pl.format("w{}", pl.Series(wares)).first().over("session"))
    run = anomaly.Run.load(
        train(tmp_path, "events.sequence=session", "events.categorical=[event,ware,device,card]", table=table)
    )
    book = Casebook(run, items_of_run(run))
    assert book.links.steady == ["device", "card"]
    everybody = {f"u{k}" for k in range(60)}
    holders = dict(table.group_by("ware").agg(pl.col("user").n_unique()).iter_rows())
    last = next(r["ware"] for r in table.iter_rows(named=True) if r["session"] == "s0-2")
    assert holders[last] > 6
    judged = [(place(book, f"s{k}-1"), Label(f"s{k}-1", "anomalous", "ann")) for k in (7, 20, 30)]
    links = book.case(place(book, "s0-2"), judged).links
    assert (links[0].field, links[0].value, links[0].telling) == ("device", "d7", True)
    assert "ware" not in {link.field for link in links}
    # Where most are judged anomalous, that another is says nothing.
    sequence = place(book, "s0-2")
    assert not any(link.telling for link in book.links.of(sequence, everybody))


@pytest.mark.parametrize(
    ("bad", "others", "usual", "looked", "tells"),
    [
        (0, 1, 0.0, 1, False),
        (1, 1, 0.05, 1, True),
        (1, 13, 0.05, 1, False),
        (3, 5, 0.05, 30, True),
        (1, 5, 0.05, 30, False),
        (1, 19, 0.001, 1, True),
        (1, 1, 1.0, 1, False),
    ],
)
def test_judged_anomalous_ones_tell_where_chance_would_hardly_put_them(bad, others, usual, looked, tells):
    assert _tells(bad, others, usual, looked) == tells


def test_the_nearest_judged_cases_leave_out_the_case_itself(book):
    names = ["s0-2", "s1-0", "s2-0", "s3-0"]
    judged = [(place(book, name), Label(name, "normal", "ann", typology="x")) for name in names]
    near = book.case(place(book, "s0-2"), judged).neighbours
    assert {n.item for n in near} == set(names) - {"s0-2"} and all(0 <= n.likeness <= 1 for n in near)


def test_cases_are_alike_by_what_is_known_of_them():
    looks = np.array([[0, np.nan], [0.1, np.nan], [5, np.nan], [np.nan, np.nan]], np.float32)
    items = Items(pl.Series(list("abcd")), np.zeros(4), {"table": FeatureMatrix(looks, ("x", "never"))})
    judged = [(k, Label(name, "normal", "ann")) for k, name in ((1, "b"), (2, "c"), (3, "d"))]
    assert [near.item for near in Neighbours(items).of(0, judged)] == ["b", "d", "c"]
    bare = Neighbours(Items(pl.Series(list("abcd")), np.array([0.0, 0.1, 5.0, 1.0])))
    assert [near.item for near in bare.of(0, judged)] == ["b", "d", "c"]


def test_reasons_are_those_of_the_explanation_told_once(run):
    book = Casebook(run, items_of_run(run), Reasons(run, kept=2))
    assert book.case(3).reasons is None and book.case(3).surprises
    told = book.tell(3)
    story = run.explain([book.items.ids[3]], contrast=False)[0]
    assert [(reason.code, reason.sentence) for reason in told] == [
        (reason.code, text) for reason, text in zip(story.reasons, story.sentences(), strict=True)
    ]
    assert book.case(3).reasons is told and book.tell(3) is told
    chinese = Casebook(run, book.items, Reasons(run, language="zh")).tell(3)
    assert [reason.sentence for reason in chinese] == run.explain(story.item, contrast=False, language="zh")[
        0
    ].sentences()
    book.tell(4), book.tell(5)
    assert [book.reasons.known(place) is None for place in (3, 4, 5)] == [True, False, False]


def test_a_case_goes_without_reasons_where_others_take_too_long(run):
    reasons = Reasons(run, patience=0.01)
    with reasons._lock:
        assert Casebook(run, items_of_run(run), reasons).tell(3) == []
    assert reasons.known(3) is None


def test_reasons_of_an_event_know_what_came_before_it_alone(tmp_path):
    run = anomaly.Run.load(train(tmp_path, "events.sequence=session", "unit=event"))
    book = Casebook(run, items_of_run(run), Reasons(run))
    at = int(np.argmax(run.scores["score"].to_numpy()))
    row = run.scores.row(at, named=True)
    assert book.case(at).place == f"event {row['position'] + 1} of {row['sequence']}"
    story = run.explain([book.items.ids[at]], contrast=False)[0]
    assert [reason.sentence for reason in book.tell(at)] == story.sentences() != []


def test_a_search_finds_cases_and_owners_exact_ones_first(book):
    assert [item for _, item, _ in book.search("U7")][:3] == ["s7-0", "s7-1", "s7-2"]
    assert book.search("s1-0")[0][1] == "s1-0" and len(book.search("s1")) == 20
    assert book.search("  ") == [] and book.search("nobody") == [] and book.search(".*[") == []


def test_an_exact_id_is_found_behind_many_that_hold_it(book):
    ids = pl.Series([f"a{k}1" for k in range(2000)] + ["1"])
    crowd = copy.copy(book)
    crowd.__dict__.pop("_names", None)
    crowd.items, crowd.scores = Items(ids, np.zeros(2001)), pl.DataFrame({"entity": ids})
    assert crowd.search("1")[0] == (2000, "1", "1")


def test_long_cases_list_what_surprises_most(book, monkeypatch):
    whole = book.case(place(book, "s0-2"))
    monkeypatch.setattr("anomaly.labelling.casebook.LISTED", 3)
    monkeypatch.setattr("anomaly.labelling.casebook.DRAWN", 6)
    case = book.case(place(book, "s0-2"))
    assert len(case.events) == 3 and len(case.timeline.dots) == 6 and case.left_out == 7
    assert any(event.skipped for event in case.events)
    told = (case.n_events, case.span, case.first, case.last, case.timeline.ends)
    assert told == (10, whole.span, whole.first, whole.last, whole.timeline.ends)


def test_times_that_count_from_a_zero_of_their_own_are_shown_whole(tmp_path):
    seconds = pl.col("time").dt.epoch("s") - 1_698_000_000
    run = anomaly.Run.load(train(tmp_path, "events.sequence=session", table=events().with_columns(time=seconds)))
    book = Casebook(run, items_of_run(run))
    assert book.end_times() is None
    assert [event.clock for event in book.case(0).events] == [event.time for event in book.case(0).events]


def test_of_a_date_the_clock_stands_beside_the_events(book):
    event = book.case(place(book, "s0-2")).events[0]
    assert event.time.endswith(f" {event.clock}") and len(event.clock) == 8


def test_an_event_is_shown_with_its_past_and_without_its_future(tmp_path):
    import anomaly

    run = anomaly.Run.load(train(tmp_path, "unit=event", "events.sequence=session"))
    book = Casebook(run, items_of_run(run))
    where = int(
        np.flatnonzero((run.scores["sequence"] == "s0-2").to_numpy() & (run.scores["position"] == 6).to_numpy())[0]
    )
    case = book.case(where)
    assert [event.number for event in case.events] == list(range(1, 8))
    assert [event.here for event in case.events] == [False] * 6 + [True]
    assert {(link.field, link.value) for link in case.links} == {("device", "d7"), ("card", "c1"), ("card", "c2")}
    assert book.case(where - 2).links == []
    assert case.entity == "u0" and {f.name for f in case.figures} >= {"place in its sequence", "amount"}


@pytest.mark.parametrize("n", [1, 2, 500])
def test_any_number_of_events_stays_on_the_page(n):
    delta = np.concatenate([[np.nan], np.random.default_rng(0).exponential(1e5, n - 1)])
    x = places(delta)
    assert len(x) == n and (np.diff(x) > 0).all() and x[0] >= LEFT and x[-1] <= WIDTH
    kinds = [f"k{i % 30}" for i in range(n)]
    nothing = np.zeros(n, np.int64)
    strand = Strand(kinds, delta, kinds, nothing, nothing > 0, ("amount", np.full(n, np.nan)), {}, ("", ""))
    timeline = draw(strand)
    assert len(timeline.dots) == n and len(timeline.lanes) <= 8 and timeline.amount is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.5, "0.5 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3661, "1 h 1 min"),
        (86400 * 3 + 5, "3 d"),
        (np.nan, "–"),
    ],
)
def test_durations_have_two_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345678, "12,345,678"), (3.14159, "3.14"), (0.012345, "0.0123"), (-5.0, "-5"), (1e12, "1e+12")],
)
def test_quantities_are_short(value, text):
    assert quantity(value) == text
