"""Who may come in, what is refused, and what every answer carries."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from anomaly.active.labels import Label
from anomaly.errors import ArtifactError, DataError
from anomaly.labelling.app import create_app
from anomaly.labelling.casebook import Casebook
from anomaly.labelling.guard import is_loopback
from anomaly.labelling.identity import Annotator, Gate
from anomaly.labelling.reasons import Reasons
from anomaly.labelling.server import serve

LOCAL = "http://127.0.0.1:8765"
KEY = "k" * 16


class Visitor(TestClient):
    """A browser on one page of the session."""

    def enter(self, name: str = "ann", token: str = "") -> Visitor:
        assert self.post("/enter", data={"name": name, "token": token}).status_code == 200
        self.headers["x-form-token"] = re.search(r'name="form-token" content="(\w+)"', self.get("/").text)[1]
        return self

    @property
    def item(self) -> str:
        return re.search(r'<article class="case" data-item="([^"]+)"', self.get("/case").text)[1]


@pytest.fixture
def visit(desk):
    def begin(*, guarded: bool = False, base_url: str = LOCAL) -> Visitor:
        gate = Gate(bytes(32), guarded=guarded, leads=("eve",))
        return Visitor(create_app(desk, gate, port=8765), base_url=base_url)

    return begin


def test_a_name_is_enough_on_this_machine(visit):
    visitor = visit()
    answer = visitor.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    cookie = visitor.post("/enter", data={"name": "ann"}, follow_redirects=False).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "<article" in visitor.get("/").text


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\x00b"])
def test_a_name_is_a_name(visit, name):
    assert visit().post("/enter", data={"name": name}).status_code == 400


def test_a_token_is_needed_beyond_this_machine(visit):
    visitor = visit(guarded=True, base_url="http://labels.example:8765")
    gate = Gate(bytes(32), guarded=True)
    for token in ("", "wrong", gate.token[:-1]):
        assert visitor.post("/enter", data={"name": "eve", "token": token}).status_code == 403
    assert visitor.get("/case").status_code == 401
    visitor.enter("eve", gate.token)
    assert visitor.get("/disputes").status_code == 403
    assert visit(guarded=True).enter("ann", gate.lead_token).get("/disputes").status_code == 200
    assert visit(guarded=True).get(f"/enter?token={gate.token}").text.count(gate.token) == 1


@pytest.mark.parametrize(("length", "shown"), [(100, True), (101, False)])
def test_only_a_kind_that_can_be_said_again_is_filled_in(desk, visit, length, shown):
    visitor = visit().enter()
    item = visitor.item
    # Kinds of the table of labels are of any length.
    said = desk.session.say("ann", item, "anomalous", key=KEY, typology="q" * length)
    assert said and visitor.post("/undo", json={"key": "u" * 16}).status_code == 200
    page = visitor.post("/open", json={"item": item}).text
    assert (f'value="{"q" * length}"' in page) == shown and 'maxlength="100"' in page


def test_the_progress_tells_what_labels_have_decided(desk, visit, monkeypatch):
    monkeypatch.setattr(desk.session.learner.learner, "told", lambda: ["weights: <b>ngram</b> 60%"])
    assert '<p class="note">weights: &lt;b&gt;ngram&lt;/b&gt; 60%</p>' in visit().enter().get("/case").text


def test_only_leads_see_what_is_to_be_settled(visit):
    assert visit().enter("ann").get("/disputes").status_code == 403
    assert visit().enter("eve").get("/disputes").status_code == 200


@pytest.mark.parametrize(("host", "guarded"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_the_server_tells_its_address_and_beyond_this_machine_the_tokens(desk, monkeypatch, host, guarded):
    said, gate = [], Gate(bytes(32), guarded=not is_loopback(host))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: said.append(sockets[0].getsockname()[0]))
    serve(desk, gate, host=host, port=0, say=said.append)
    assert [gate.token in line for line in said] == ([True, False, False] if guarded else [False, False])
    assert [gate.lead_token in line for line in said] == ([False, True, False] if guarded else [False, False])
    assert said[0].startswith("label at http://") and said[-1] == host


def test_whoever_has_the_token_of_a_lead_settles_and_nobody_by_name_alone(visit, desk):
    gate = Gate(bytes(32), guarded=True)
    ann, zoe = visit(guarded=True).enter("ann", gate.token), visit(guarded=True).enter("zoe", gate.lead_token)
    eve = visit(guarded=True).enter("eve", gate.token)
    item = ann.item
    ann.post("/say", json={"key": KEY, "item": item, "verdict": "escalated"})
    for person, settled in ((eve, False), (zoe, True)):
        person.post("/open", json={"item": item})
        person.post("/say", json={"key": f"{KEY}{settled}", "item": item, "verdict": "normal"})
        assert (desk.session.disputes() == []) is settled


def test_pages_read_what_was_said_while_nobody_writes(visit, desk):
    session = desk.session

    class Watched:
        def __init__(self, watched):
            self.watched = watched

        def __getattr__(self, name):
            assert session._lock._is_owned(), name
            return getattr(self.watched, name)

    ann, eve = visit().enter("ann"), visit().enter("eve")
    item = ann.item
    session.ledger, session.learner = Watched(session.ledger), Watched(session.learner)
    ann.post("/say", json={"key": KEY, "item": item, "verdict": "escalated"})
    assert "opinions" in eve.post("/open", json={"item": item}).text
    assert "with labels" in eve.post("/ask", json={"item": item}).text
    assert "p-value" in eve.get("/case").text


def test_a_second_opinion_is_not_told_of_the_first_by_a_score(visit, desk):
    desk.session.double = 1.0
    ann = visit().enter("ann")
    item = ann.item
    ann.post("/say", json={"key": KEY, "item": item, "verdict": "anomalous"})
    bob = visit().enter("bob")
    assert bob.item == item
    told = bob.post("/ask", json={"item": item}).text
    assert "p-value" in told and "with labels" not in told and "with labels" not in bob.get("/case").text
    bob.post("/say", json={"key": KEY + "2", "item": item, "verdict": "normal"})
    assert "with labels" in ann.post("/ask", json={"item": item}).text
    eve = visit().enter("eve")
    assert "with labels" in eve.post("/ask", json={"item": item}).text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "10.0.0.1", "[::2]"]
)
def test_a_rebound_name_is_refused(visit, host):
    visitor = visit().enter()
    answer = visitor.get("/case", headers={"host": host})
    assert answer.status_code == 421 and "<article" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "127.0.0.2:8765", "[::1]:8765"])
def test_this_machine_has_several_names(visit, host):
    assert visit().enter().get("/case", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/say", "/undo", "/open", "/ask", "/renew", "/spares", "/leave"])
def test_forms_of_other_sites_are_refused(visit, path):
    visitor = visit().enter()
    body = {"key": KEY, "item": visitor.item, "verdict": "normal"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        assert visitor.post(path, json=body, headers={"origin": origin}).status_code == 403
    assert visitor.post(path, json=body, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    token = visitor.headers.pop("x-form-token")
    assert visitor.post(path, json=body).status_code == 403
    bob = visit().enter("bob")
    bob.headers["x-form-token"] = token
    assert bob.post(path, json=body).status_code == 403
    assert visitor.get("/case").text.count("<article") == 1


def test_entering_from_another_site_is_refused(visit):
    answer = visit().post("/enter", data={"name": "ann"}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_forged_cookie_is_nobody(visit):
    gate = Gate(bytes(32), guarded=True)
    cookie = gate.cookie(Annotator("ann", False))
    assert gate.who(cookie) == Annotator("ann", False)
    for forged in (cookie.replace(".", "!"), cookie[:-1] + "0", "", "x", "é" * 70, cookie[1:]):
        assert gate.who(forged) is None
    assert Gate(bytes(31) + b"1", guarded=True).who(cookie) is None


def test_every_answer_is_strict(visit):
    visitor = visit().enter()
    for path in ("/", "/enter", "/case", "/static/session.js", "/none", "/search?q=s"):
        answer = visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
    page = visitor.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", page)
    assert visitor.get("/docs").status_code == visitor.get("/openapi.json").status_code == 404
    assert visitor.get("/static/../app.py").status_code == visitor.get("/static/..%2fapp.py").status_code == 404


def test_too_much_is_refused(visit):
    visitor = visit().enter()
    word = {"key": KEY, "item": visitor.item, "verdict": "normal", "note": "x" * 4001}
    assert visitor.post("/say", json=word).status_code == 422
    assert visitor.post("/say", json=word | {"note": "x" * 70_000}).status_code == 413
    assert visitor.post("/say", content=(b"x" for _ in range(3))).status_code == 413


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"item": "nothing"}, 400),
        ({"verdict": "withdrawn"}, 400),
        ({"verdict": "odd"}, 400),
        ({"confidence": 2}, 422),
        ({"key": "short"}, 422),
    ],
)
def test_what_is_no_word_is_refused(visit, desk, change, status):
    visitor = visit().enter()
    word = {"key": KEY, "item": visitor.item, "verdict": "normal"}
    assert visitor.post("/say", json=word | change).status_code == status
    assert desk.session.log.read() == []


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000"])
@pytest.mark.parametrize("place", ["key", "item", "note", "typology"])
def test_text_that_cannot_be_kept_is_refused_for_good(visit, desk, place, text):
    visitor = visit().enter()
    word = {"key": KEY, "item": visitor.item, "verdict": "normal", "note": "a", "typology": "b"}
    body = json.dumps(word | {place: "?" + word[place]}).replace("?", text)
    answer = visitor.post("/say", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and desk.session.log.read() == []


def test_a_long_id_is_an_id(visit, desk):
    visitor = visit().enter()
    item = desk.session.places.setdefault("x" * 20_000, desk.session.places.pop("s9-0")) and "x" * 20_000
    assert visitor.post("/open", json={"item": item}).status_code == 200
    word = {"key": KEY, "item": item, "verdict": "normal"}
    assert visitor.post("/say", json=word | {"stay": item}).status_code == 204
    assert desk.session.log.read()[0].item == item


def test_a_word_brings_the_next_case_and_counts_once(visit, desk):
    visitor = visit().enter()
    first = visitor.item
    word = {"key": KEY, "item": first, "verdict": "anomalous", "typology": "x", "confidence": 0.5, "duration_ms": 9}
    one, two = visitor.post("/say", json=word), visitor.post("/say", json=word)
    assert one.status_code == 200 and f'data-item="{first}"' not in one.text
    assert re.findall('data-item="[^"]+"', one.text) == re.findall('data-item="[^"]+"', two.text)
    assert len(desk.session.log.read()) == 1
    stay = visitor.item
    word = {"key": KEY + "2", "item": "s9-0", "verdict": "normal", "stay": stay}
    assert visitor.post("/say", json=word).status_code == 204 and visitor.item == stay


def test_a_word_whose_stay_is_no_case_is_refused_whole(visit, desk):
    visitor = visit().enter()
    word = {"key": KEY, "item": visitor.item, "verdict": "normal", "stay": "nothing"}
    assert visitor.post("/say", json=word).status_code == 400 and desk.session.log.read() == []


def test_only_kinds_that_can_be_said_are_offered(visit, desk):
    long, longest = "x" * 101, "y" * 100
    desk.session.log.extend(
        [Label(f"s{k}-0", "anomalous", "bank", typology=kind) for k, kind in enumerate((long, longest))]
    )
    visitor = visit().enter()
    word = {"key": KEY, "item": visitor.item, "verdict": "anomalous"}
    page = visitor.get("/").text
    assert longest in page and long not in page and 'value="card_testing"' in page
    assert visitor.post("/say", json=word | {"typology": long}).status_code == 422
    assert visitor.post("/say", json=word | {"typology": longest}).status_code == 200


def test_an_undone_case_comes_back_with_what_was_written_also_after_a_reload(visit):
    ann, bob = visit().enter(), visit().enter("bob")
    item = ann.item
    written = {"typology": "odd kind", "note": "five cards", "confidence": 0.5}
    ann.post("/say", json={"key": KEY + "0", "item": item, "verdict": "normal", "note": "an earlier word"})
    ann.post("/say", json={"key": KEY + "1", "item": item, "verdict": "anomalous"} | written)
    for key, pressed in (("2", "normal"), ("3", None)):
        ann.post("/undo", json={"key": KEY + key})
        for shown in (ann.get("/case").text, ann.get("/").text):
            assert f'data-item="{item}"' in shown and "five cards</textarea>" in shown
            assert 'value="odd kind"' in shown and 'value="0.5" checked' in shown
            assert re.findall(r'data-say="(\w+)" aria-pressed', shown) == ([pressed] if pressed else [])
    ann.post("/leave", json={})
    assert "five cards" not in bob.post("/open", json={"item": item}).text


def test_the_score_is_shown_to_who_asked(visit, desk):
    ann = visit().enter()
    item = ann.item
    assert "p-value" not in ann.get("/case").text
    assert "p-value" in ann.post("/ask", json={"item": item}).text
    assert "p-value" in ann.get("/case").text
    assert ann.post("/ask", json={"item": "nothing"}).status_code == 404
    ann.post("/leave", json={})
    assert "p-value" not in visit().enter("bob").post("/open", json={"item": item}).text


def test_reasons_come_after_the_case_and_are_kept(visit, desk, run):
    desk = replace(desk, book=Casebook(run, desk.book.items, Reasons(run)))
    visitor = Visitor(create_app(desk, Gate(bytes(32), guarded=False), port=8765), base_url=LOCAL)
    assert visitor.get("/reasons?item=s1-0").status_code == 401
    visitor.enter()
    first = visitor.get("/case").text
    told = visitor.get("/reasons", params={"item": visitor.item})
    assert "data-late" in first and "data-code" not in first
    assert told.status_code == 200 and "data-code" in told.text and "data-late" not in told.text
    assert told.text.split("<ol>")[1].split("</ol>")[0] in visitor.get("/case").text
    assert visitor.get("/reasons?item=nobody").status_code == 404
    assert 'class="part"' not in visitor.get("/case").text
    shares = re.findall(r"<dd>([\d.]+)%</dd>", visitor.post("/ask", json={"item": visitor.item}).text)
    assert shares and 0 < sum(map(float, shares)) <= 100.1
    assert 'class="part"' in visitor.get("/case").text


def test_the_page_says_what_the_random_draws_tell_and_when_to_stop(visit, desk):
    visitor = visit().enter()
    assert "anomalous among all" not in visitor.get("/case").text
    n, items = len(desk.book.items), [str(item) for item in desk.book.items.ids]
    rows = [Label(item, "normal", "ann", policy="audit", probability=1 / (n - k)) for k, item in enumerate(items[1:])]
    desk.session.log.extend([replace(rows[0], verdict="anomalous"), *rows[1:-1]])
    page = visitor.get("/case").text
    assert "anomalous among all" in page and "found of these, at least" in page
    assert '<dd data-figure="found">1</dd>' in page and "It is time to stop:" in page


def test_few_random_draws_give_an_interval_alone(visit, desk):
    visitor = visit().enter()
    n, items = len(desk.book.items), [str(item) for item in desk.book.items.ids]
    rows = [Label(item, "normal", "ann", policy="audit", probability=1 / (n - k)) for k, item in enumerate(items[1:11])]
    desk.session.log.extend([replace(rows[0], verdict="anomalous"), *rows[1:9]])
    figure = re.compile(r'<dd data-figure="prevalence"[^>]*>(.*?)</dd>')
    page = visitor.get("/case").text
    assert "too few drawn at random to say more" in page
    assert re.fullmatch(r"<small>[\d.]+% to [\d.]+%</small>", figure.findall(page)[0])
    desk.session.log.append(rows[9])
    page = visitor.get("/case").text
    assert "too few" not in page and re.match(r"[\d.]+% <small>", figure.findall(page)[0])


def test_a_case_of_another_cannot_be_opened(visit):
    ann, bob = visit().enter("ann"), visit().enter("bob")
    assert bob.post("/open", json={"item": ann.item}).status_code == 409
    assert bob.post("/open", json={"item": "nothing"}).status_code == 400


def test_spares_come_once(visit):
    visitor = visit().enter()
    current = visitor.item
    spares = visitor.post("/spares", json={}).json()
    assert len({current, *(spare["item"] for spare in spares)}) == 3 and all(s["html"] for s in spares)
    again = visitor.post("/spares", json={"have": [spares[0]["item"]]}).json()
    assert [spare["html"] is None for spare in again] == [True, False]


def test_a_database_that_refuses_says_so_and_is_asked_again(visit, desk, monkeypatch):
    visitor = visit().enter()

    def refuse(_):
        raise ArtifactError("the disk is full")

    word = {"key": KEY, "item": visitor.item, "verdict": "normal"}
    with monkeypatch.context() as patch:
        patch.setattr(desk.session.log, "append", refuse)
        answer = visitor.post("/say", json=word)
    assert (answer.status_code, answer.json()) == (503, {"detail": "the disk is full"})
    assert visitor.post("/say", json=word).status_code == 200


def test_text_is_escaped_wherever_it_stands(visit, desk):
    hostile = "\"'><script>alert(1)</script>"
    ann, eve = visit().enter(hostile), visit().enter("eve")
    item = ann.item
    word = {"key": KEY, "item": item, "verdict": "escalated", "typology": hostile, "note": hostile}
    ann.post("/say", json=word)
    pages = [ann.get("/").text, ann.get("/search", params={"q": hostile}).text, eve.get("/disputes").text]
    pages += [eve.post("/open", json={"item": item}).text, ann.get("/enter", params={"token": hostile}).text]
    for page in pages:
        assert "<script>alert" not in page
    assert "&lt;script&gt;" in pages[3] and "opinions" in pages[3]


def test_the_secret_is_kept_for_its_owner_alone(tmp_path):
    one, two = Gate.open(tmp_path, guarded=True), Gate.open(tmp_path, guarded=True)
    assert one.token == two.token != one.lead_token
    path = tmp_path / "labels.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(ArtifactError, match="damaged"):
        Gate.open(tmp_path, guarded=True)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("labels.example", False),
    ],
)
def test_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_a_name_without_letters_is_refused():
    with pytest.raises(DataError, match="a name has"):
        Gate(bytes(32), guarded=False).admit("\u202e", "")
