"""The labelling page in a real browser, as analysts use it and as networks and servers fail them."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import polars as pl
import pytest

from anomaly.active.ledger import Ledger

pytestmark = pytest.mark.browser
VERDICTS = {"a": "anomalous", "n": "normal", "u": "unsure", "s": "skipped", "e": "escalated"}


def stood(server) -> dict[str, str]:
    return {row.item: row.verdict for row in Ledger.of(server.rows()).decisions()}


def test_a_whole_session_by_keyboard_alone(serve, sit):
    server = serve()
    screen = sit(server)
    page, key = screen.page, screen.page.keyboard
    seen = {}
    for letter in "anaus":
        seen[screen.item] = VERDICTS[letter]
        screen.press(letter)
    judged = {item: verdict for item, verdict in seen.items() if verdict != "skipped"}
    assert stood(server) == judged
    assert (screen.figure("labels"), screen.figure("found")) == (4, 2)

    # Reasons are worked out while the case is on screen.
    page.wait_for_selector(".reasons li[data-code]")
    assert not page.query_selector(".reasons[data-late]")

    # The score stays hidden until it is asked for, and the asking is kept.
    assert not page.query_selector("dl.score")
    key.press("x")
    page.wait_for_selector("dl.score")
    key.press("c")
    key.type("five cards, one device: anu?")
    key.press("Escape")
    key.press("2")
    key.press("k")
    asked = screen.item
    screen.press("a")
    last = server.rows()[-1]
    assert (last.item, last.verdict, last.score_seen) == (asked, "anomalous", True)
    assert (last.typology, last.note, last.confidence) == ("click_fraud", "five cards, one device: anu?", 0.75)
    assert last.annotator == "ann" and last.duration_ms > 0 and last.policy and last.probability

    # Another kind is written once and offered from then on.
    key.press("t")
    key.type("refund ring")
    key.press("Enter")
    screen.press("a")
    assert server.rows()[-1].typology == "refund ring"
    assert page.get_attribute("label:nth-of-type(3) input[name=kind]", "value") == "refund ring"

    # Help, then a search for nothing that is left at once, and one for the first case, whose verdict can be corrected.
    key.press("?")
    assert page.is_visible("#help")
    key.press("Escape")
    key.press("/")
    key.type("nothing")
    key.press("Escape")
    assert not page.is_visible("#search")
    first = next(iter(seen))
    key.press("/")
    key.type(first)
    page.wait_for_selector(f"#results [data-open='{first}']")
    assert screen.press("Enter") == first
    assert page.get_attribute("[data-say=anomalous]", "aria-pressed") == "true"
    screen.press("n")
    assert stood(server)[first] == "normal"
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_who_types_fast_finds_what_they_typed(serve, sit):
    screen = sit(serve())
    first = screen.item
    screen.press("s")
    # What was found before, and is late, is not what was typed since.
    screen.page.route("**/search?q=", lambda route: (screen.page.wait_for_timeout(1500), route.continue_()))
    screen.page.keyboard.press("/")
    screen.page.keyboard.type(first)
    assert screen.press("Enter") == first
    screen.page.keyboard.press("/")
    screen.page.keyboard.type(first)
    screen.page.wait_for_timeout(2500)
    assert screen.page.get_attribute("#results button", "data-open") == first


def test_keys_work_on_other_layouts_and_leave_composed_text_alone(serve, sit):
    server = serve()
    screen = sit(server)
    page, before = screen.page, screen.item
    pressed = "(keys) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...keys}))"
    page.evaluate(pressed, {"key": "ф", "code": "KeyA"})
    page.wait_for_function("before => document.querySelector('[data-item]').dataset.item !== before", arg=before)
    assert stood(server) == {before: "anomalous"}
    page.keyboard.press("t")
    for key in ("Enter", "Escape"):
        page.evaluate(pressed, {"key": key, "isComposing": True})
        assert page.evaluate("document.activeElement.id") == "kind"
    page.evaluate(pressed, {"key": "Enter"})
    assert page.evaluate("document.activeElement.id") == "case-title"


def test_undo_to_any_depth(serve, sit):
    server = serve()
    screen = sit(server)
    order = []
    for letter in "ansa":
        order.append(screen.item)
        screen.press(letter)
    for item in reversed(order):
        assert screen.press("z") == item
    assert stood(server) == {}
    screen.page.keyboard.press("z")
    screen.page.wait_for_function("() => document.querySelector('#news').textContent.startsWith('Nothing to undo')")
    assert screen.item == order[0] and screen.figure("labels") == 0
    # What is said again is what counts; the log has kept every word.
    assert screen.press("n") != order[0]
    assert stood(server) == {order[0]: "normal"} and len(server.rows()) == 9


def test_an_undo_gives_back_what_was_written(serve, sit):
    screen = sit(serve("typologies=[card_testing,other]"))
    first, page = screen.item, screen.page
    page.keyboard.press("2")
    page.keyboard.press("k")
    page.keyboard.press("c")
    page.keyboard.type("five cards in a minute")
    page.keyboard.press("Escape")
    assert screen.press("n") != first and page.input_value("#note") == ""
    assert screen.press("z") == first
    assert page.input_value("#note") == "five cards in a minute"
    assert page.input_value("input[name=kind]:checked") == "other"
    assert page.input_value("input[name=sure]:checked") == "0.75"


def test_two_browsers_on_one_queue(serve, sit):
    server = serve("double=0.5", "leads=[eve]")
    ann, bob = sit(server, "ann"), sit(server, "bob")
    for _ in range(8):
        assert ann.item != bob.item
        ann.press("n")
        assert ann.item != bob.item
        bob.press("a")
    said = Counter(row.item for row in server.rows())
    assert set(said.values()) == {1, 2} and sum(said.values()) == 16
    # Nobody knows of the first opinion; whoever leads sees both, and settles it.
    assert not bob.page.query_selector(".opinions")
    eve = sit(server, "eve")
    eve.page.keyboard.press("d")
    eve.page.wait_for_selector("#dispute-list .verdict.normal")
    disputed = eve.page.get_attribute("#dispute-list button", "data-open")
    assert eve.press("Enter") == disputed
    assert eve.page.locator(".opinions p").count() == 2
    waiting = [item for item in said if {r.verdict for r in server.rows() if r.item == item} >= {"normal", "anomalous"}]
    eve.press("n")
    last = server.rows()[-1]
    assert (last.item, last.verdict, last.policy) == (disputed, "normal", "lead")
    assert disputed in waiting
    assert "κ" in eve.page.inner_text(".progress")


def test_a_server_that_is_told_to_end_keeps_what_it_learnt(serve_apart, sit):
    server = serve_apart()
    sit(server).press("a")
    server.process.terminate()
    assert server.process.wait() == 0
    assert (server.run / "learner").is_dir()


def said_into_the_void(screen, key):
    """Press a key until the page says that a word waits; once it does, or is on its way, a key has no case to judge."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    for _ in range(3):
        screen.page.keyboard.press(key)
        with suppress(PlaywrightTimeout):
            screen.page.wait_for_selector("#waiting:not([hidden])", timeout=25_000)
            return
    raise AssertionError("no word waits")


def test_a_server_killed_in_the_middle_of_a_label_loses_and_doubles_nothing(serve_apart, sit):
    server = serve_apart("spares=0")
    screen = sit(server)
    undisturbed = [screen.item, *(screen.press(letter) for letter in "an")]
    for _ in "an":
        screen.press("z")
    assert stood(server) == {}

    # It dies after the label is on its disk and before the page hears of it.
    screen.page.route("**/say", lambda route: (route.fetch(), server.kill(), route.abort()), times=1)
    said_into_the_void(screen, "a")
    assert len(server.rows()) == 5
    server.start()
    screen.page.wait_for_selector(f"[data-item='{undisturbed[1]}']")
    assert stood(server) == {undisturbed[0]: "anomalous"} and len(server.rows()) == 5

    # It dies before it hears of the label; the page is closed meanwhile, and opened again.
    screen.page.route("**/say", lambda route: (server.kill(), route.abort()), times=1)
    said_into_the_void(screen, "n")
    screen.page.close()
    server.start()
    screen.page = screen.context.new_page()
    screen.page.goto(server.url)
    screen.page.wait_for_selector(f"[data-item='{undisturbed[2]}']")
    screen.sent()
    assert stood(server) == {undisturbed[0]: "anomalous", undisturbed[1]: "normal"} and len(server.rows()) == 6


def test_words_wait_in_the_page_while_the_network_is_cut_and_arrive_once(serve, sit):
    server = serve("spares=2")
    screen = sit(server)
    screen.press("n")
    screen.page.wait_for_selector("main[data-spares='2']")
    screen.context.set_offline(True)
    said = {}
    for letter in "ana":
        said[screen.item] = VERDICTS[letter]
        screen.press(letter)
    assert screen.item == "" and "Waiting for the network" in screen.page.inner_text("main h1")
    assert screen.page.inner_text("#waiting") == "3 words wait here"
    assert len(server.rows()) == 1
    screen.context.set_offline(False)
    screen.sent()
    screen.page.wait_for_selector(".case:not([data-item=''])")
    assert {row.item: row.verdict for row in server.rows()[1:]} == said
    assert len(server.rows()) == 4 and screen.figure("labels") == 4
    assert screen.item not in said
    assert screen.page.is_hidden("#waiting")


def test_a_word_waits_for_its_own_name(serve, sit):
    server = serve("spares=0")
    screen = sit(server)
    other = screen.context.new_page()

    def enter(name: str) -> None:
        other.goto(f"{server.url}/enter")
        other.fill("#name", name)
        other.press("#name", "Enter")
        other.wait_for_selector("html[data-ready]")

    enter("bob")
    item = screen.item
    screen.page.keyboard.press("a")
    screen.page.wait_for_selector("#waiting:not([hidden])")
    assert "Enter again as ann" in screen.page.inner_text("#trouble") and server.rows() == []
    enter("ann")
    screen.sent()
    assert [(row.item, row.annotator, row.verdict) for row in server.rows()] == [(item, "ann", "anomalous")]


def test_a_word_waits_for_its_own_run(serve_apart, sit):
    server = serve_apart("spares=0")
    screen = sit(server)
    screen.page.route("**/say", lambda route: route.abort())
    said_into_the_void(screen, "a")
    screen.page.close()
    server.kill()
    # Another run at the same address, with cases of the same names.
    (server.run / "labels.key").unlink()
    server.start()
    again = type(screen)(screen.context, server.url, "ann")
    again.press("n")
    assert [row.verdict for row in server.rows()] == ["normal"]


def test_text_from_the_data_stays_text(serve, sit):
    server = serve()
    screen = sit(server, '<b onclick="1">ann')
    page = screen.page
    page.keyboard.press("/")
    page.keyboard.type("script>")
    page.wait_for_selector("#results button")
    assert "<script>" in page.inner_text("#results button")
    hostile = screen.press("Enter")
    assert hostile == '"><script>document.title="owned"</script>'
    assert "<img src=x onerror=" in page.inner_text("table.events")
    page.keyboard.press("t")
    page.keyboard.type("</span><script>document.title='owned'</script>")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.type("</textarea><svg onload=document.title='owned'>")
    page.keyboard.press("Escape")
    screen.press("a")
    page.wait_for_selector(".near .say")
    assert "<svg onload=" in page.inner_text(".near .say")
    assert page.title().endswith("labelling") and not page.query_selector("main img, main script, .near svg")
    assert server.rows()[-1].annotator == '<b onclick="1">ann'


@pytest.mark.parametrize("begins", ["line one", "long xxx"])
def test_an_id_is_sent_to_the_letter(serve, sit, begins):
    server = serve()
    item = next(i for i in pl.read_parquet(server.run / "scores.parquet")["sequence"] if i.startswith(begins))
    screen = sit(server)
    screen.page.keyboard.press("/")
    screen.page.keyboard.type(begins)
    screen.page.wait_for_selector(f"#results button:has-text('{begins}')")
    assert screen.press("Enter") == item
    screen.press("n")
    assert stood(server) == {item: "normal"}


def test_a_screen_reader_finds_its_way(serve, sit):
    screen = sit(serve("leads=[ann]"))
    page = screen.page
    for role, name in (("main", None), ("banner", None), ("navigation", "Session"), ("complementary", "Your verdict")):
        assert page.get_by_role(role, name=name).count() == 1
    for heading in ("What stands out", "Timeline", "Events", "Against the crowd", "Progress"):
        assert page.get_by_role("heading", name=heading).count() == 1
    assert page.get_by_role("img", name="Timeline of").count() == 1
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, textarea, meter, progress')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.title)).map(e => e.outerHTML)"
    )
    assert nameless == []
    # Who speaks to the page says what is written on a button.
    unlike = page.evaluate(
        "[...document.querySelectorAll('button[aria-label]')].filter(e => !e.ariaLabel.toLowerCase().includes("
        "[...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join(' ').toLowerCase()))"
        ".map(e => e.outerHTML)"
    )
    assert unlike == []
    assert page.evaluate("document.activeElement.id") == "case-title"
    screen.press("n")
    assert page.inner_text("#news").startswith("Saved: normal.")
