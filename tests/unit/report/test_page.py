import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.errors import ArtifactError
from anomaly.report import Case, CaseEvent, ReportData, Told, write_report
from anomaly.report.page import render

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>x</script>",
    "</title><b>",
    "'; DROP TABLE--",
    "{{ 7 * 7 }}{% for %}",
    "$\\frac{1}{0}$",
    "\x00\x1b[31m\u202eevil",
    "&lt;b&gt;",
    "javascript:alert(1)",
]


class Page(HTMLParser):
    """Elements, their attributes and their text; fails on a tag that is closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(data):
    return render(data)


def test_every_section_is_there(page):
    ids = [attrs["id"] for attrs in Page(page).all("section")]
    assert ids == ["data", "scores", "top", "members", "power", "training", "labels", "reproduce"]
    links = [attrs["href"] for attrs in Page(page).all("a")]
    assert {f"#{name}" for name in ids} | {"#main"} == set(links)


def test_it_loads_nothing_and_runs_one_script(page):
    parsed = Page(page)
    names = {name for name, _ in parsed.tags}
    assert not names & {"link", "img", "iframe", "object", "base", "image", "foreignobject"}
    assert parsed.all("script") == [{}]
    for _, attrs in parsed.tags:
        assert not [key for key in attrs if key.startswith("on") or key in ("src", "style")]
        for key in ("href", "xlink:href"):
            assert attrs.get(key, "#").startswith("#")
    assert not re.findall(r"url\((?!#)|@import", page)
    assert not re.findall(r"https?://(?!www\.w3\.org/)", page)


def test_policy_allows_this_style_sheet_and_no_other(page):
    policy = next(m["content"] for m in Page(page).all("meta") if "Security" in m.get("http-equiv", ""))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    expected = f"default-src 'none'; style-src 'sha256-{digest}'; script-src 'sha256-{allowed}'; "
    assert policy == expected + "base-uri 'none'; form-action 'none'"
    assert page.count("<style") == 1


def test_ids_are_unique_and_references_resolve(page):
    ids = [attrs["id"] for _, attrs in Page(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', page)) <= set(ids)


def test_pictures_speak_and_tables_are_headed(page):
    parsed = Page(page)
    plots = [attrs for attrs in parsed.all("svg") if attrs.get("class") == "plot"]
    assert len(plots) == 7
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in plots)
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 50
    assert all(attrs.get("scope") in ("col", "row") for attrs in parsed.all("th"))
    assert len(parsed.all("h1")) == 1


def test_same_data_same_bytes(data, page):
    assert render(data) == page


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_is_text(data, text):
    row = data.scores.sort("rank").row(0, named=True)
    scores = data.scores.with_columns(
        sequence=pl.when(pl.col("rank") == 1).then(pl.lit(text)).otherwise("sequence"), entity=pl.lit(text)
    )
    hostile = replace(
        data,
        title=text,
        scores=scores,
        run={text: text},
        data={text: text},
        findings=[{text: text, "level": text}],
        schema=[text],
        training=[{"epoch": k, f"loss {text}": 1.0 / (k + 1)} for k in range(3)],
        event_scores=scores.select("sequence", score="score", field=pl.lit(text)),
        timelines=[
            Case(
                text,
                text,
                1,
                row["score"],
                row["p_value"],
                [CaseEvent(0, text, {text: text}, 1.0, text, text)],
                reasons=[Told("RARE_EVENT", text, "high", 0.5, text)],
                usual=[{"field": text, "value": text, "here": 1.0, "usual": 0.0, "whose": "own"}],
                nearest=[text],
                edit=text,
            )
        ],
        clusters=[{"members": [text], "typical": [text], "reasons": [(text, 0.5)], "where": [(text, 0.4)]}],
        drift=[{"field": text, "change": text, "message": text}],
        groups=[{"group": text, "n": 4, "flagged": 1, "normal": 2, "false": 1}],
        grouped_by=text,
        members=[{"member": text, "weight": 1.0}],
        power=[{"kind": text, "found": 0.5, "n": 4}],
        warnings=[text],
        reproduce=[text],
        metrics={**data.metrics, "split": text, "typology": [{**data.metrics["typology"][0], "typology": text}]},
        item="sequence",
    )
    html = render(hostile)
    parsed = Page(html)
    assert [name for name, _ in parsed.tags].count("h1") == 1
    assert parsed.all("script") == [{}] and not parsed.all("img")
    shown = text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\u202e", "\ufffd")
    assert "".join(parsed.text).count(shown) > 12
    assert "\x00" not in html
    assert "\u202e" not in html


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=20)
def test_any_title_gives_a_page(text):
    data = ReportData(
        title=text, scores=pl.DataFrame(schema=dict(sequence=pl.Int64, score=pl.Float64, p_value=pl.Float64))
    )
    render(data).encode()


def test_bare_data_give_a_short_page(bare):
    parsed = Page(render(bare))
    assert [attrs["id"] for attrs in parsed.all("section")] == ["data", "scores", "top", "reproduce"]


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("value", [0.0, 7.5])
def test_few_or_equal_scores(n, value):
    scores = pl.DataFrame(
        {"sequence": list(range(n)), "entity": [None] * n, "score": [value] * n, "p_value": [10**-value] * n}
    ).with_columns(flagged=pl.lit(False), rank=pl.int_range(1, n + 1), length=pl.lit(1))
    text = "".join(Page(render(ReportData(title="few", scores=scores))).text)
    assert f"{n} sequence{'' if n == 1 else 's'}" in text
    assert "nan" not in text.lower()


def test_whole_numbers_and_ids_keep_their_form(data):
    scores = pl.DataFrame({"sequence": [20240101], "score": [3.0], "p_value": [0.001], "flagged": [True]})
    text = "".join(Page(render(ReportData(title="ids", scores=scores, data={"rows": 20240101}))).text)
    assert "20240101" in text
    assert "20,240,101" in text


def test_cases_are_in_order_of_rank_and_cut_where_flags_end(data):
    scores = data.scores.with_columns(flagged=pl.col("rank") <= 7)
    html = render(replace(data, scores=scores.sample(fraction=1, shuffle=True, seed=0)))
    ranks = [int(k) for k in re.findall(r"rank </span>(\d+)", html)]
    assert ranks == list(range(1, 301))
    assert html.index('class="cut"') > html.index("rank </span>7<")
    assert html.index('class="cut"') < html.index("rank </span>8<")


def test_written_whole_or_not_at_all(data, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    assert write_report(data, path) == path
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ArtifactError, match="disk full"):
        write_report(replace(data, title="other"), path)
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "report_files"}


def test_beside_the_page_lies_nothing_of_an_earlier_one(data, bare, tmp_path):
    write_report(data, tmp_path / "report.html")
    folder = tmp_path / "report_files"
    (folder / "mine.csv").write_text("a")
    before = {path.name for path in folder.iterdir()}
    assert json.loads((folder / "metrics.json").read_text()) == data.metrics
    write_report(bare, tmp_path / "report.html")
    after = {path.name for path in folder.iterdir()}
    assert {"mine.csv", "ranking.csv"} <= after < before and not {"budgets.csv", "metrics.json"} & after


def test_normal_ones_that_are_flagged_are_told_where_the_largest_group_has_none(data):
    rows = [
        {"group": "a", "n": 90, "flagged": 3, "normal": 0, "false": 0},
        {"group": "b", "n": 10, "flagged": 2, "normal": 8, "false": 1},
    ]
    page = render(replace(data, groups=rows, grouped_by="country"))
    assert "normal ones flagged" in page and "12.5%" in page


def test_patterns_tell_among_how_many_they_were_sought(data):
    flagged = data.scores.filter("flagged")["sequence"].to_list()
    row = {"members": flagged[:5], "typical": flagged[:1], "reasons": [("burst", 0.9)]}
    every = replace(data, clusters=[row], reasons=dict.fromkeys(flagged, ()))
    some = replace(every, reasons=dict.fromkeys(flagged[:5], ()))
    assert f"Sought among the 5 highest of {len(flagged)}." in render(some) and "Sought among" not in render(every)


def test_a_threshold_beyond_all_scores_is_drawn_as_none(data):
    assert "<svg" in render(replace(data, threshold={**data.threshold, "threshold": float("inf")}))


def test_large_runs_are_quick_and_small(data, tmp_path):
    n = 100_000
    rng = np.random.default_rng(0)
    p = 1 - rng.random(n)
    scores = pl.DataFrame({"sequence": np.arange(n), "entity": np.arange(n) % 5000, "length": rng.integers(1, 90, n)})
    scores = scores.with_columns(score=-np.log10(p), p_value=p, flagged=p < 0.01, rank=p.argsort().argsort() + 1)
    events = pl.DataFrame({"sequence": np.repeat(np.arange(n), 5), "score": rng.random(5 * n)})
    fields = {f"field{k}": "x" * 60 for k in range(8)}
    many = [CaseEvent(k, "2024-01-01 00:00:00", fields, float(e), "field1") for k, e in enumerate(rng.random(300))]
    top = scores.sort("rank").head(50)
    cases = [Case(row["sequence"], row["entity"], row["rank"], 1.0, 0.1, many) for row in top.iter_rows(named=True)]
    large = replace(
        data, scores=scores, event_scores=events.with_columns(field=pl.lit("device")), timelines=cases, metrics=None
    )
    start = time.process_time()
    path = write_report(large, tmp_path / "report.html")
    assert time.process_time() - start < 15
    assert path.stat().st_size < 3_000_000


def test_times_are_those_of_the_clock_that_is_named(data):
    there = pl.col("first_time", "last_time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    scores = data.scores.with_columns(there)
    page = render(replace(data, scores=scores, timezone="Asia/Tokyo"))
    first = scores.sort("rank")["first_time"][0]
    assert "Times are those of Asia/Tokyo." in page and "last event (Asia/Tokyo)" in page
    assert first.strftime("%Y-%m-%d %H:%M") in page
    assert "Times are those" not in render(data)
